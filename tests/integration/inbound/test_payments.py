"""Payments that a bookkeeper receives, edits, voids and deletes: billing hears exactly what stands there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.inbound import InboundBench


def shares(state: dict[str, Any]) -> dict[str, int]:
    """Allocations of a payment in an event, by invoice."""
    return {share["invoice_id"]: share["amount"] for share in state["allocations"]}


def test_a_full_payment_is_told_with_its_date_and_settles_the_invoice(bench: InboundBench) -> None:
    """Amount in cents, the payment's own date and reference, both sides' ids, and nothing left to pay."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"}, date="2026-10-31", reference="CHK 77")
    bench.poll()
    (told,) = bench.told("payment.received")
    assert told["quickbooks_id"] == paid
    assert told["payment"]["date"] == "2026-10-31"
    assert told["payment"]["amount"] == 10000
    assert told["payment"]["allocations"] == [
        {
            "invoice_id": "inv-1",
            "invoice_number": "INV-1",
            "quickbooks_invoice_id": qb,
            "quickbooks_invoice_number": "INV-1",
            "amount": 10000,
        }
    ]
    assert told["reference"] == "CHK 77"
    assert told["customer"]["client_id"] == "cl-1"
    assert bench.due("inv-1") == [0]
    assert bench.codes() == []


def test_partial_payments_add_up(bench: InboundBench) -> None:
    """A part leaves the rest open, the second part closes it."""
    qb = bench.invoice("inv-1")
    bench.receive("30.00", {qb: "30.00"})
    bench.poll()
    assert bench.due("inv-1") == [7000]
    bench.receive("70.00", {qb: "70.00"})
    bench.poll()
    assert bench.due("inv-1") == [0]
    assert [told["payment"]["amount"] for told in bench.told("payment.received")] == [3000, 7000]


def test_one_payment_over_two_invoices(bench: InboundBench) -> None:
    """Each invoice gets its own part, in one event."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2", 5000)
    bench.receive("120.00", {first: "100.00", second: "20.00"})
    bench.poll()
    (told,) = bench.told("payment.received")
    assert shares(told["payment"]) == {"inv-1": 10000, "inv-2": 2000}
    assert bench.due("inv-1", "inv-2") == [0, 3000]


def test_an_overpayment_is_told_with_its_unapplied_rest(bench: InboundBench) -> None:
    """What no invoice takes is the client's credit, not an error."""
    qb = bench.invoice("inv-1")
    bench.receive("150.00", {qb: "100.00"})
    bench.poll()
    (told,) = bench.told("payment.received")
    assert told["payment"]["amount"] == 15000
    assert told["payment"]["unapplied"] == 5000
    assert bench.due("inv-1") == [0]


def test_unapplied_money_is_told_and_moves_when_it_is_applied(bench: InboundBench) -> None:
    """Received without an invoice, applied a week later: the same payment, changed."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {})
    bench.poll()
    (told,) = bench.told("payment.received")
    assert told["payment"]["unapplied"] == 10000
    assert bench.due("inv-1") == [10000]
    bench.edit_payment(paid, {qb: 100})
    bench.poll()
    (changed,) = bench.told("payment.changed")
    assert changed["payment_id"] == told["payment_id"]
    assert shares(changed["payment"]) == {"inv-1": 10000}
    assert changed["previous"]["unapplied"] == 10000
    assert bench.due("inv-1") == [0]


def test_an_edit_replaces_what_was_told(bench: InboundBench) -> None:
    """Another amount on the same invoice: what stood before is named, what stands now is exact."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"})
    bench.poll()
    bench.edit_payment(paid, {qb: 40}, TotalAmt=40)
    bench.poll()
    (changed,) = bench.told("payment.changed")
    assert (changed["previous"]["amount"], changed["payment"]["amount"]) == (10000, 4000)
    assert bench.due("inv-1") == [6000]


def test_an_allocation_that_moves_to_another_invoice(bench: InboundBench) -> None:
    """The first invoice is open again, the second one is settled."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    paid = bench.receive("100.00", {first: "100.00"})
    bench.poll()
    bench.edit_payment(paid, {second: 100})
    bench.poll()
    (changed,) = bench.told("payment.changed")
    assert shares(changed["payment"]) == {"inv-2": 10000}
    assert bench.due("inv-1", "inv-2") == [10000, 0]


def test_a_dropped_allocation_and_all_of_them(bench: InboundBench) -> None:
    """One invoice is taken off, then the other: the money stays, unapplied, and both invoices are open."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    paid = bench.receive("200.00", {first: "100.00", second: "100.00"})
    bench.poll()
    bench.edit_payment(paid, {second: 100})
    bench.poll()
    bench.edit_payment(paid, {})
    bench.poll()
    dropped, bare = bench.told("payment.changed")
    assert (shares(dropped["payment"]), dropped["payment"]["unapplied"]) == ({"inv-2": 10000}, 10000)
    assert (shares(bare["payment"]), bare["payment"]["unapplied"]) == ({}, 20000)
    assert bench.due("inv-1", "inv-2") == [10000, 10000]


@pytest.mark.parametrize(("act", "reason"), [("void", "voided"), ("delete", "deleted")])
def test_a_payment_that_is_gone_is_withdrawn_with_its_reason(
    bench: InboundBench, act: str, reason: str
) -> None:
    """Void and delete are told apart; the invoice is open again (D3)."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"})
    bench.poll()
    bench.bookkeeper(act, entity="Payment", id=paid)
    bench.poll()
    (gone,) = bench.told("payment.withdrawn")
    assert gone["reason"] == reason
    assert shares(gone["previous"]) == {"inv-1": 10000}
    assert bench.due("inv-1") == [10000]
    assert bench.codes() == []


def test_a_payment_made_and_deleted_between_two_polls_is_nothing(bench: InboundBench) -> None:
    """Billing never had it, so there is nothing to take back."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"})
    bench.bookkeeper("delete", entity="Payment", id=paid)
    bench.poll()
    assert bench.told("payment.received") == bench.told("payment.withdrawn") == []


def test_an_edit_of_words_alone_changes_no_money(bench: InboundBench) -> None:
    """A memo is nobody's business; a corrected check number is told, with the same money."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"}, reference="1")
    bench.poll()
    bench.edit_payment(paid, PrivateNote="thanks")
    bench.poll()
    assert bench.told("payment.changed") == []
    bench.edit_payment(paid, PaymentRefNum="2")
    bench.poll()
    (changed,) = bench.told("payment.changed")
    assert (changed["reference"], changed["payment"]) == ("2", changed["previous"])


def test_a_deposit_changes_nothing(bench: InboundBench) -> None:
    """A payment that went to the bank has another SyncToken and the same money."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"})
    bench.poll()
    bench.bookkeeper("make-deposit", payments=[paid])
    cycle = bench.poll()
    assert cycle.outcomes["new"] >= 1
    assert bench.told("payment.changed") == []


def test_partly_outside_our_scope(bench: InboundBench) -> None:
    """A line on an invoice that is none of billing's is told as such, and nobody is asked."""
    ours, theirs = bench.invoice("inv-1"), bench.native(50)
    bench.receive("150.00", {ours: "100.00", theirs: "50.00"})
    bench.poll()
    (told,) = bench.told("payment.received")
    assert shares(told["payment"]) == {"inv-1": 10000}
    (outside,) = told["payment"]["outside"]
    assert (outside["quickbooks_type"], outside["quickbooks_id"], outside["amount"]) == (
        "Invoice",
        theirs,
        5000,
    )
    assert bench.codes() == []
