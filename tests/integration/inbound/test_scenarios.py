"""What else happens in a year of books: each as exact events, or as a question, never as a guess."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from services.inbound import resolutions
from tests.integration.inbound.test_credit import credit_note
from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench


@pytest.mark.parametrize("state", ["draft", "written_off", "voided"])
def test_money_on_an_invoice_that_billing_does_not_collect(bench: InboundBench, state: str) -> None:
    """Not finalized, written off or void: nothing is applied, and a person is asked."""
    qb = bench.invoice("inv-1")
    bench.rows("UPDATE document SET state = :state WHERE document_id = 'inv-1' RETURNING 1", state=state)
    paid = bench.receive("100.00", {qb: "100.00"})
    bench.poll()
    assert bench.codes() == ["targets_non_payable_invoice"]
    assert bench.told("payment.received") == []
    assert bench.belief(paid) == ("held", "targets_non_payable_invoice")


def test_an_edit_onto_such_an_invoice_leaves_what_was_told(bench: InboundBench) -> None:
    """Asked about, not half applied: billing keeps what it has until somebody decides."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    paid = bench.receive("100.00", {first: "100.00"})
    bench.poll()
    bench.rows("UPDATE document SET state = 'written_off' WHERE document_id = 'inv-2' RETURNING 1")
    bench.edit_payment(paid, {second: 100})
    bench.poll()
    assert bench.codes() == ["targets_non_payable_invoice"]
    assert bench.told("payment.changed") == []
    assert bench.belief(paid) == ("told", None)
    assert bench.due("inv-1", "inv-2") == [0, 10000]
    bench.edit_payment(paid, {first: 100})
    bench.poll()
    assert bench.exceptions() == []


def test_a_flood_of_unlinked_payments_is_one_question(bench: InboundBench) -> None:
    """Thirty payments on invoices that nobody linked: one exception, with their number and their sum."""
    native = [bench.native(10.0) for _ in range(30)]
    for invoice in native:
        bench.receive("10.00", {invoice: "10.00"})
    bench.poll()
    (open_,) = bench.exceptions()
    assert open_.title.startswith("30 payments")
    assert open_.amount == 30_000
    assert len(open_.details["payments"]) == 30


def test_a_disconnected_company_is_not_read(bench: InboundBench) -> None:
    """No cycle is opened however often it is woken; connected again, it goes on from the same cursor."""
    qb = bench.invoice("inv-1")
    cursor = bench.one("SELECT cursor FROM change_feed")
    bench.rows("UPDATE company SET state = 'disconnected', disconnected_at = now() RETURNING 1")
    bench.receive("100.00", {qb: "100.00"})
    bench.wake("webhook")
    bench.wake("request")
    assert bench.open_due() == 0
    bench.rows("UPDATE company SET state = 'active', disconnected_at = NULL RETURNING 1")
    cycle = bench.poll()
    assert cycle.cursor_before == cursor
    assert bench.due("inv-1") == [0]


def test_an_outbound_failure_never_holds_the_cursor(bench: InboundBench) -> None:
    """Every export fails: payments arrive all the same, and the cursor moves."""
    qb = bench.invoice("inv-1")
    cursor = bench.one("SELECT cursor FROM change_feed")
    bench.trouble("fault", entity="invoice", code="6000", fault_type="ValidationFault")
    bench.bill("inv-2")
    bench.receive("100.00", {qb: "100.00"})
    cycle = bench.poll()
    assert cycle.state == "complete"
    assert bench.one("SELECT cursor FROM change_feed") > cursor
    assert bench.due("inv-1") == [0]
    assert bench.outcome("invoice", "inv-2")[0] == "failed"


@pytest.mark.parametrize(
    ("act", "facts", "code"),
    [
        ("edit", {"changes": {"DocNumber": "CM-X"}}, "doc_number_changed"),
        ("void", {}, "external_voided"),
        ("delete", {}, "external_deleted"),
    ],
)
def test_credit_notes_drift_as_invoices_do(
    bench: InboundBench, act: str, facts: dict[str, Any], code: str
) -> None:
    """Changed, voided in the browser, deleted: each is told apart."""
    memo = credit_note(bench, "cn-1", 4000)
    bench.bookkeeper(act, entity="CreditMemo", id=memo, **facts)
    bench.poll()
    (open_,) = bench.exceptions()
    assert (open_.entity_kind, open_.entity_id, open_.code) == ("credit_note", "cn-1", code)
    (told,) = bench.told("document.drifted")
    assert told["document"]["kind"] == "credit_note"


def test_after_a_resolution_the_next_edit_asks_afresh(bench: InboundBench) -> None:
    """One open exception a document; settled, it stays settled, and the next difference is a new one."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2026-12-31"})
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        place = (connection, bench.company_id, "invoice", "inv-1")
        resolutions.accept(*place, actor="controller", reason="agreed with the client")
    bench.poll()
    assert bench.exceptions() == []
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2027-01-31"})
    bench.poll()
    (fresh,) = bench.exceptions()
    (settled,) = bench.exceptions("resolved")
    assert fresh.exception_id != settled.exception_id


def test_an_invoice_voided_under_a_payment_frees_the_money(bench: InboundBench) -> None:
    """QuickBooks unties the payment: billing hears of both, the void as a question and the money as unapplied."""
    qb = bench.invoice("inv-1")
    bench.receive("100.00", {qb: "100.00"})
    bench.poll()
    bench.bookkeeper("void", entity="Invoice", id=qb)
    bench.poll()
    (changed,) = bench.told("payment.changed")
    assert (changed["payment"]["allocations"], changed["payment"]["unapplied"]) == ([], 10000)
    assert bench.codes() == ["external_voided"]
    assert bench.due("inv-1") == [10000]


def test_certificates_stay_when_their_polls_are_forgotten(bench: InboundBench) -> None:
    """What was seen and how completely is known for a year; the operations behind it are not needed so long."""
    bench.receive("10.00", {})
    cycle = bench.poll()
    with bench.fleet.transaction("*") as connection:
        connection.execute(text("DELETE FROM operation WHERE kind = 'poll'"))
    assert bench.cycle() == cycle
