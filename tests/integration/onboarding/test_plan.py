"""The plan tells the truth: the calls it shows are those that are made, to the last byte, and it changes nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from services.ledger import pauses, waits
from services.onboarding import plan
from services.onboarding.plan import Step
from services.outbound.handlers import HANDLERS
from tests.support.exporting import (
    TENANT,
    Workbench,
    applied,
    credit_note,
    invoice,
    payment,
    voided,
)


def planned(bench: Workbench, **chosen: Any) -> list[Step]:
    """The plan of everything; that it leaves nothing behind is checked each time."""

    def rows() -> list[int]:
        with bench.fleet.transaction(TENANT) as connection:
            counted = (
                "SELECT (SELECT count(*) FROM {0}), (SELECT count(*) FROM {1}), (SELECT count(*) FROM {2})"
            )
            tables = counted.format("link", "timeline", "wait")
            return list(connection.execute(text(tables)).one())

    before = rows()
    with bench.fleet.transaction(TENANT) as connection:
        found = plan.steps(connection, TENANT, bench.company_id, HANDLERS, **chosen)
    assert rows() == before
    return found


def made(bench: Workbench) -> dict[str, tuple[str, str]]:
    """Request id and exact body of every call that was made, by document."""
    return {
        one.document_id: (one.call["requestid"], one.call["body"]) for one in bench.operations() if one.call
    }


def test_the_calls_of_the_plan_are_the_calls_that_are_made(workbench: Workbench) -> None:
    """Invoice, credit note, credit and payment that rest on each other: planned in one go, then made like that."""
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-1", number="P-1"))
    workbench.say("credit_note.finalized", credit_note("cn-1", number="P-2"))
    workbench.say("credit.applied", applied("ap-1", "cn-1", "inv-1", 8000))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 5500)))
    steps = {step.document_id: step for step in planned(workbench)}
    assert set(steps) == {"inv-1", "cn-1", "ap-1", "pay-1"}
    assert {(step.would, step.after) for step in steps.values()} == {("send", ("auto_sync",))}
    reads = workbench.reads
    found = plan.summary(list(steps.values()))
    assert found.totals == {
        "create CreditMemo": {"USD": Decimal("80.00")},
        "create Invoice": {"USD": Decimal("135.00")},
        "create Payment": {"USD": Decimal("55.00")},
    }
    assert (found.differing, found.metered_reads, workbench.reads) == (0, 0, reads)

    workbench.set("auto_sync", True, "tenant")
    with workbench.fleet.transaction(TENANT) as connection:
        waits.release(connection, TENANT, "auto_sync", "tenant")
    workbench.settle()
    ids = {
        f"{plan.PLACEHOLDER}{kind}/{id_}": link.external_id
        for kind, id_ in (("invoice", "inv-1"), ("credit_note", "cn-1"))
        if (link := workbench.link(kind, id_))
    }
    for id_, (requestid, body) in made(workbench).items():
        call = steps[id_].call
        assert call is not None
        expected = call.body
        for placeholder, real in ids.items():
            expected = expected.replace(f'"{placeholder}"', f'"{real}"')
        assert (call.requestid, expected) == (requestid, body)


def test_what_does_not_go_through_is_named_by_line(workbench: Workbench) -> None:
    """A mapping that lacks asks a person, with line and fix; a payment for that invoice waits; neighbours go."""
    line = invoice("x")["lines"][0]
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("bad", lines=[line | {"service_id": "new"}], terms="net_30"))
    workbench.say("payment.recorded", payment("pay-bad", ("bad", 13500)))
    workbench.say("invoice.finalized", invoice("good"))
    steps = {step.document_id: step for step in planned(workbench)}
    bad = steps["bad"]
    assert (bad.would, bad.code) == ("ask", "missing_service_mapping")
    assert [finding.where for finding in bad.findings] == ["line 1 (Managed workstation), item", "terms"]
    assert all("algasync mappings set" in finding.fix for finding in bad.findings)
    assert (steps["pay-bad"].would, steps["pay-bad"].code) == ("wait", "link")
    assert steps["good"].would == "send"
    by_period = planned(workbench, begin=bad.day, until=bad.day, kinds=["export_invoice"])
    assert {step.document_id for step in by_period} == {"bad", "good"}


def test_later_steps_of_a_document_follow_the_earlier(workbench: Workbench) -> None:
    """A void cancels an export that was not sent; behind a step that is stuck everything of its document waits."""
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("gone"))
    workbench.say("invoice.voided", voided("gone"))
    workbench.set("auto_sync", True, "tenant")
    workbench.say("invoice.finalized", invoice("stuck", terms="net_30"))
    workbench.say(
        "invoice.due_date_changed", {"id": "stuck", "date": "2026-12-24", "reason": "asked"} | _ACTOR
    )
    steps = {(step.document_id, step.kind): step for step in planned(workbench)}
    assert ("gone", "export_invoice") not in steps
    assert steps["stuck", "export_invoice"].would == "ask"
    assert steps["stuck", "change_due_date"].code == "step"


_ACTOR = {"actor": {"type": "system"}}


def test_an_unknown_outcome_shows_its_own_call(workbench: Workbench) -> None:
    """A call whose answer was lost is made again as it was written down, and says that it may stand already."""
    workbench.trouble("cut_after", entity="invoice", times=1)
    workbench.bill("inv-lost")
    (operation,) = workbench.operations("inv-lost")
    workbench.run(operation)
    (step,) = planned(workbench)
    assert (step.would, step.code) == ("send", "unknown_outcome")
    (now,) = workbench.operations("inv-lost")
    assert step.call is not None
    assert now.call is not None
    assert (step.call.requestid, json.loads(step.call.body)) == (now.requestid, json.loads(now.call["body"]))


def test_a_pause_and_a_lost_connection_are_named_first(workbench: Workbench) -> None:
    """The call is known, and so is what holds it: the stop switch, and the company that must be reconnected."""
    with workbench.fleet.transaction(TENANT) as connection:
        pauses.pause(connection, "tenant", tenant=TENANT, actor="test", reason="closing")
        connection.execute(
            text("UPDATE company SET state = 'expired', attention_reason = 'x', attention_since = now()")
        )
    workbench.bill("inv-1")
    (step,) = planned(workbench)
    assert (step.would, step.after) == ("send", ("pause", "company"))
