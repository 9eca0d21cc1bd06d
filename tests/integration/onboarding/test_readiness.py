"""Readiness: what would fail is named before the invoice is finalized, from what is known, in milliseconds."""

from __future__ import annotations

import time
from typing import Any

import pytest

from services.connections import catalog
from services.database import Database, Role
from services.onboarding import readiness
from services.onboarding.readiness import Verdict
from tests.support.exporting import TENANT, Workbench, credit_note, invoice


def ask(bench: Workbench, data: dict[str, Any], kind: readiness.Kind = "invoice") -> Verdict:
    """The verdict of one draft."""
    (verdict,) = readiness.check(bench.fleet, TENANT, kind, [data])
    return verdict


def draft(**changes: Any) -> dict[str, Any]:
    """An invoice as it is before it is finalized: no number, no moment."""
    data = invoice("draft-1", **changes)
    return {name: value for name, value in data.items() if name not in {"number", "finalized_at", "actor"}}


def line(**changes: Any) -> dict[str, Any]:
    """The one line of an invoice, changed."""
    return {"lines": [invoice("x")["lines"][0] | changes]}


def test_what_is_fine_is_ready_and_exports(workbench: Workbench) -> None:
    """No finding, no metered read; finalized, it arrives."""
    before = workbench.reads
    verdict = ask(workbench, draft())
    assert (verdict.refuse, verdict.applies, verdict.checked, verdict.findings) == (False, True, True, ())
    assert workbench.reads == before
    workbench.say("invoice.finalized", invoice("draft-1"))
    assert workbench.outcome("invoice", "draft-1")[0] == "succeeded"


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        (line(service_id=None), ["missing_service"]),
        (line(service_id="new"), ["missing_service_mapping"]),
        (
            line(service_id="new") | {"terms": "net_30"},
            ["missing_service_mapping", "missing_payment_term_mapping"],
        ),
        ({"client": {"id": "cl-9", "name": "New", "tax_exempt": True}}, ["missing_customer_mapping"]),
        ({"currency": "EUR"}, ["single_currency_company"]),
    ],
)
def test_the_gate_says_what_the_export_would_say(
    workbench: Workbench, changes: dict[str, Any], codes: list[str]
) -> None:
    """Every finding of the gate is one of the failed export, in the same words."""
    verdict = ask(workbench, draft(**changes))
    assert verdict.refuse
    assert sorted(finding.code for finding in verdict.findings) == sorted(codes)
    workbench.say("invoice.finalized", invoice("draft-1", **changes))
    (failed,) = workbench.exceptions()
    assert [one["what"] for one in failed.details["findings"]] == [one.what for one in verdict.findings]


def test_a_heading_without_a_service_costs_nothing(workbench: Workbench) -> None:
    """The parent of consolidated lines names no service and is no finding."""
    heading = invoice("x")["lines"][0] | {
        "id": "l0", "service_id": None, "net_amount": 0, "unit_price": "0", "quantity": "1",
    }  # fmt: skip
    assert ask(workbench, draft(lines=[heading, invoice("x")["lines"][0]])).findings == ()


@pytest.mark.parametrize(
    ("setting", "value", "changes", "why"),
    [
        ("auto_sync", False, {}, "automatic sync is off"),
        ("cutover_date", "2027-01-01", {}, "before the cutover"),
        ("cutover_date", "2020-01-01", {"type": "prepayment"}, "prepayment"),
        ("cutover_date", "2020-01-01", {"target_company": "4711"}, "company 4711 is not connected"),
        ("entitled", False, {}, "edition"),
    ],
)
def test_what_is_not_exported_is_not_refused(
    workbench: Workbench, setting: str, value: Any, changes: dict[str, Any], why: str
) -> None:
    """Off, prepayment, before the cutover, no company: findings or not, finalizing goes on."""
    workbench.set(setting, value, "tenant")
    verdict = ask(workbench, draft(**line(service_id="new"), **changes))
    assert (verdict.refuse, verdict.applies) == (False, False)
    assert why in verdict.why


def test_what_became_inactive_is_found_before_quickbooks_refuses_it(workbench: Workbench) -> None:
    """The item of line 2 and the customer were switched off in QuickBooks: named from the lists as last read."""
    workbench.map("item", "svc-2", "5")
    workbench.bookkeeper("edit", entity="Item", id="5", changes={"Active": False})
    workbench.bookkeeper("edit", entity="Customer", id="2", changes={"Active": False})
    lists = ("Item", "Customer", "TaxCode")
    catalog.read(workbench.fleet, workbench.clients, TENANT, workbench.company_id, lists, refresh=True)
    lines = [invoice("x")["lines"][0], invoice("x")["lines"][0] | {"id": "l2", "service_id": "svc-2"}]
    verdict = ask(workbench, draft(lines=lines, subtotal=27000, total=27000))
    assert [(one.code, one.where) for one in verdict.findings] == [
        ("unusable_in_quickbooks", "customer"),
        ("unusable_in_quickbooks", "line 2, item"),
    ]
    assert verdict.lists_read_at is not None


def test_closed_books_are_a_finding(workbench: Workbench) -> None:
    """A date in the closed period is found before the export asks what to do about it."""
    workbench.know("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    verdict = ask(workbench, draft())
    assert [(one.code, one.where) for one in verdict.findings] == [("books_closed", "invoice date")]


def test_a_draft_that_breaks_the_contract_is_named_by_line(workbench: Workbench) -> None:
    """What emit would refuse is said here, as a person counts lines; amounts that do not add up too."""
    verdict = ask(workbench, draft(**line(quantity=1.5)))
    assert [(one.code, one.where) for one in verdict.findings] == [("invalid_document", "line 1, quantity")]
    assert "add up" in ask(workbench, draft(total=1)).findings[0].what
    assert ask(workbench, {}).refuse


def test_a_credit_note_is_judged_too(workbench: Workbench) -> None:
    """Same rules, other form."""
    assert ask(workbench, credit_note("cn-1"), "credit_note").findings == ()


def test_trouble_of_ours_refuses_nothing(workbench: Workbench) -> None:
    """No database: nothing is refused, and the answer says that nothing was checked."""
    with Database("postgresql://nobody@127.0.0.1:1/none", Role.FLEET) as away:
        verdicts = readiness.check(away, TENANT, "invoice", [draft(), draft()])
    assert [(one.refuse, one.checked, "not checked" in one.why) for one in verdicts] == [
        (False, False, True)
    ] * 2


def test_it_answers_in_milliseconds(workbench: Workbench) -> None:
    """A thousand items in the catalog, fifty lines: the median of twenty is far below what a person notices."""
    rows = [{"Id": str(number), "Name": f"Item {number}", "Type": "Service"} for number in range(1, 1_001)]
    with workbench.fleet.transaction(TENANT) as connection:
        catalog.store(connection, TENANT, workbench.company_id, "Item", rows)
    lines = [invoice("x")["lines"][0] | {"id": f"l{number}"} for number in range(50)]
    data = draft(lines=lines, subtotal=13500 * 50, total=13500 * 50)
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        assert ask(workbench, data).checked
        taken.append(time.perf_counter() - started)
    assert sorted(taken)[10] < 0.25  # about 10 ms; the rest is for a busy machine
