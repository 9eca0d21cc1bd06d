"""What billing took off an invoice makes way for what it puts on it next, whichever arrives and is done first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.exporting import Workbench, applied, credit_note, invoice, payment

REVERSED = {"id": "pay-1", "date": "2026-11-05", "reason": "keyed_in_error"}
PAID = ("payment.recorded", payment("pay-1", ("inv-1", 13500)))
APPLIED = ("credit.applied", applied("app-1", "cn-1", "inv-1", 13500))
AGAIN = ("payment.recorded", payment("pay-2", ("inv-1", 13500)))
AFRESH = ("credit.applied", applied("app-2", "cn-1", "inv-1", 13500))
HISTORIES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "reversed_and_paid": [PAID, ("payment.reversed", REVERSED), AGAIN],
    "moved_and_paid": [
        PAID,
        ("payment.reallocated", {"id": "pay-1", "allocations": [{"invoice_id": "inv-2", "amount": 13500}]}),
        AGAIN,
    ],
    "reversed_and_credited": [PAID, ("payment.reversed", REVERSED), AFRESH],
    "taken_back_and_paid": [APPLIED, ("credit.unapplied", APPLIED[1]), AGAIN],
    "taken_back_and_credited": [APPLIED, ("credit.unapplied", APPLIED[1]), AFRESH],
    "taken_back_and_used_elsewhere": [
        APPLIED,
        ("credit.unapplied", APPLIED[1]),
        ("credit.applied", applied("app-2", "cn-1", "inv-2", 13500)),
    ],
    "reversed_and_corrected": [
        PAID,
        ("payment.reversed", REVERSED),
        ("invoice.corrected", invoice("inv-1", net=9000)),
    ],
    "corrected_and_paid": [
        PAID,
        ("invoice.corrected", invoice("inv-1", net=18000)),
        ("payment.recorded", payment("pay-2", ("inv-1", 4500))),
    ],
}


@pytest.fixture(params=HISTORIES)
def history(request: pytest.FixtureRequest, workbench: Workbench) -> list[tuple[str, dict[str, Any]]]:
    """What comes before stands in QuickBooks; what frees, and what needs the room, is still to be told."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    first, *rest = HISTORIES[request.param]
    for document_id in ("inv-1", "inv-2"):
        workbench.say("invoice.finalized", invoice(document_id))
    workbench.say("credit_note.finalized", credit_note("cn-1", net=-13500))
    workbench.say(*first)
    return rest


def test_waits_for_what_is_being_taken_off(
    workbench: Workbench, history: list[tuple[str, dict[str, Any]]]
) -> None:
    """It is tried before the earlier step is done: it waits without a call or an exception, and goes when it is."""
    frees, needs = history
    workbench.say(*frees, settle=False)
    workbench.say(*needs, settle=False)
    waiting = workbench.operations()[-1]
    workbench.run(waiting)
    assert workbench.outcome(waiting.document_kind, waiting.document_id) == ("waiting", "step")
    workbench.settle()
    assert workbench.outcome(waiting.document_kind, waiting.document_id) == ("succeeded", None)
    assert workbench.exceptions() == []


def test_goes_on_by_itself_when_the_earlier_event_comes_late(
    workbench: Workbench, history: list[tuple[str, dict[str, Any]]]
) -> None:
    """Nobody could know what to wait for: refused and shown by name, then done as soon as there is room."""
    frees, needs = history
    workbench.say(*needs)
    refused = workbench.operations()[-1]
    assert refused.state == "failed"
    (code,) = workbench.codes()
    assert code in {"invoice_settled", "paid_more", "credit_not_applicable", "credit_applied_differently"}
    workbench.say(*frees)
    assert workbench.operation(refused.operation_id).state == "succeeded"
    assert workbench.exceptions() == []


def test_waiting_for_one_another_ends(workbench: Workbench) -> None:
    """Two payments change places while neither is done: only the later waits, so nobody waits in a circle."""
    for number in ("1", "2"):
        workbench.say("invoice.finalized", invoice(f"inv-{number}"))
        workbench.say("payment.recorded", payment(f"pay-{number}", (f"inv-{number}", 13500)))
    for number, other in (("1", "2"), ("2", "1")):
        moved = {"id": f"pay-{number}", "allocations": [{"invoice_id": f"inv-{other}", "amount": 13500}]}
        workbench.say("payment.reallocated", moved, settle=False)
    workbench.settle()
    assert [workbench.outcome("payment", f"pay-{number}")[0] for number in ("1", "2")] == [
        "failed",
        "waiting",
    ]
    assert workbench.codes() == ["invoice_settled"]
