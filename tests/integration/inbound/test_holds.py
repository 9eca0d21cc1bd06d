"""Payments that billing cannot simply take: held or asked about, never guessed, and taken once they can be."""

from __future__ import annotations

from sqlalchemy import text

from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench, payment

UNMAPPED = "accounting_sync_unmapped_payment"


def test_a_payment_on_an_unlinked_invoice_applies_once_the_link_exists(bench: InboundBench) -> None:
    """One exception for the customer, nothing applied; the link makes both right without anybody retrying (D25)."""
    theirs = bench.native(100)
    first = bench.receive("60.00", {theirs: "60.00"})
    bench.receive("40.00", {theirs: "40.00"})
    bench.poll()
    assert bench.told("payment.received") == []
    (open_,) = bench.exceptions()
    assert (open_.type, open_.code, open_.entity_kind) == (
        UNMAPPED,
        "unlinked_invoice",
        "quickbooks_customer",
    )
    assert len(open_.details["payments"]) == 2
    assert open_.amount == 10000
    assert bench.belief(first) == ("held", "unlinked_invoice")
    bench.known_before("old-1", theirs, 10000)
    bench.settle()
    assert [told["payment"]["amount"] for told in bench.told("payment.received")] == [6000, 4000]
    assert bench.due("old-1") == [0]
    assert bench.exceptions() == []


def test_money_outside_becomes_an_allocation_once_the_link_exists(bench: InboundBench) -> None:
    """A payment that was told in part is told again when the other invoice is linked."""
    ours, theirs = bench.invoice("inv-1"), bench.native(50)
    bench.receive("150.00", {ours: "100.00", theirs: "50.00"})
    bench.poll()
    bench.known_before("old-1", theirs, 5000)
    bench.settle()
    (changed,) = bench.told("payment.changed")
    assert {share["invoice_id"] for share in changed["payment"]["allocations"]} == {"inv-1", "old-1"}
    assert changed["payment"]["outside"] == []
    assert bench.due("inv-1", "old-1") == [0, 0]


def test_a_stranger_is_ignored_counted_and_listed(bench: InboundBench) -> None:
    """Neither the customer nor the invoice is linked: no event, no exception, and the list says why."""
    theirs = bench.native(100, customer="3")
    paid = bench.receive("100.00", {theirs: "100.00"}, customer="3")
    bench.poll()
    assert bench.belief(paid) == ("ignored", "unlinked_customer")
    assert bench.told("payment.received") == []
    assert bench.exceptions() == []


def test_what_was_ignored_is_looked_at_again_when_the_customer_is_linked(bench: InboundBench) -> None:
    """A client gets its customer later: the unapplied money that came before is told."""
    bench.receive("80.00", {}, customer="3")
    bench.poll()
    assert bench.told("payment.received") == []
    bench.map("customer", "cl-3", "3")
    bench.settle()
    (told,) = bench.told("payment.received")
    assert (told["customer"]["client_id"], told["payment"]["unapplied"]) == ("cl-3", 8000)


def test_before_the_cutover_nobody_is_asked(bench: InboundBench) -> None:
    """Payments of a linked customer that are older than the cutover are history, unless they pay a linked invoice."""
    bench.set("cutover_date", "2026-11-01", "tenant")
    theirs = bench.native(100)
    old = bench.receive("100.00", {theirs: "100.00"}, date="2026-10-20")
    bench.poll()
    assert bench.belief(old) == ("ignored", "before_cutover")
    assert bench.exceptions() == []
    bench.known_before("old-1", theirs, 10000)
    bench.settle()
    (told,) = bench.told("payment.received")
    assert told["payment"]["date"] == "2026-10-20"


def test_a_payment_on_an_invoice_that_billing_does_not_collect(bench: InboundBench) -> None:
    """Voided in billing, alive in QuickBooks: an exception and no money applied; an edit away from it is taken."""
    voided, other = bench.invoice("inv-1"), bench.invoice("inv-2")
    bench.trouble("throttle", entity="invoice", operation="void")
    actor = {"type": "system"}
    bench.say(
        "invoice.voided", {"id": "inv-1", "date": "2026-11-01", "reason": "x", "actor": actor}, settle=False
    )
    paid = bench.receive("100.00", {voided: "100.00"})
    bench.wake()
    bench.open_due()
    bench.drain()
    assert "targets_non_payable_invoice" in bench.codes()
    assert bench.told("payment.received") == []
    bench.edit_payment(paid, {other: 100})
    bench.wake()
    bench.open_due()
    bench.drain()
    (told,) = bench.told("payment.received")
    assert [share["invoice_id"] for share in told["payment"]["allocations"]] == ["inv-2"]
    assert "targets_non_payable_invoice" not in bench.codes()


def test_a_currency_mismatch_is_an_exception_and_nothing_else_stops(bench: InboundBench) -> None:
    """The payment is in another currency than billing's invoice (D1): it alone is held."""
    wrong, right = bench.invoice("inv-1"), bench.invoice("inv-2")
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE document SET currency = 'EUR' WHERE document_id = 'inv-1'"))
    held = bench.receive("100.00", {wrong: "100.00"})
    bench.receive("100.00", {right: "100.00"})
    cycle = bench.poll()
    assert cycle.state == "complete"
    (open_,) = bench.exceptions()
    assert (open_.code, open_.type) == ("currency_mismatch", UNMAPPED)
    assert bench.belief(held) == ("held", "currency_mismatch")
    assert bench.due("inv-1", "inv-2") == [10000, 0]


def test_more_than_is_open_is_an_exception_until_there_is_room(bench: InboundBench) -> None:
    """Billing has money on the invoice that QuickBooks has not: applying both would count it twice (D29)."""
    qb = bench.invoice("inv-1")
    bench.trouble("throttle", entity="payment")
    bench.say("payment.recorded", payment("pay-1", 3000, {"inv-1": 3000}), settle=False)
    paid = bench.receive("80.00", {qb: "80.00"})
    bench.wake()
    bench.open_due()
    bench.drain()
    assert bench.codes() == ["over_application"]
    assert bench.due("inv-1") == [7000]
    bench.edit_payment(paid, {qb: 70}, TotalAmt=70)
    bench.wake()
    bench.open_due()
    bench.drain()
    assert bench.codes() == []
    assert bench.due("inv-1") == [0]


def test_somebody_may_apply_it_all_the_same(bench: InboundBench) -> None:
    """The choice on the exception applies the payment; billing is overpaid and says so."""
    qb = bench.invoice("inv-1")
    bench.trouble("throttle", entity="payment")
    bench.say("payment.recorded", payment("pay-1", 3000, {"inv-1": 3000}), settle=False)
    paid = bench.receive("80.00", {qb: "80.00"})
    bench.wake()
    bench.open_due()
    bench.drain()
    bench.no_more_troubles()
    bench.decide(bench.last_of("Payment", paid), "apply")
    assert "over_application" not in bench.codes()
    assert len(bench.told("payment.received")) == 1


def test_two_payments_that_change_places(bench: InboundBench) -> None:
    """Each moves onto the other's invoice in one cycle: judged one by one there is no room, and yet there is."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    one = bench.receive("100.00", {first: "100.00"}, reference="one")
    two = bench.receive("100.00", {second: "100.00"}, reference="two")
    bench.poll()
    bench.edit_payment(one, {})
    bench.edit_payment(two, {first: 100})
    bench.edit_payment(one, {second: 100})
    bench.poll()
    assert bench.exceptions() == []
    assert bench.due("inv-1", "inv-2") == [0, 0]
    assert len(bench.told("payment.changed")) == 2


def test_room_that_comes_later_is_found_by_itself(bench: InboundBench) -> None:
    """A payment waits for room on an invoice; another payment leaves it: nobody has to retry."""
    qb = bench.invoice("inv-1")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    ours = bench.external("payment", "pay-1")
    bench.poll()
    bench.edit_payment(ours, {})
    paid = bench.receive("100.00", {qb: "100.00"}, date="2026-11-20")
    bench.poll()
    assert bench.exceptions() == []
    assert bench.belief(paid) == ("told", None)
    assert bench.due("inv-1") == [0]


def test_a_likely_duplicate_is_held_and_linked_when_somebody_says_so(bench: InboundBench) -> None:
    """Same client, amount and days as a payment of billing that is not in QuickBooks yet: never both."""
    qb = bench.invoice("inv-1")
    bench.trouble("throttle", entity="payment")
    bench.say("payment.recorded", payment("pay-1", 10000, {"inv-1": 10000}), settle=False)
    paid = bench.receive("100.00", {}, date="2026-11-05")
    bench.wake()
    bench.open_due()
    bench.drain()
    (open_,) = bench.exceptions()
    assert open_.code == "likely_duplicate"
    assert [one["choice"] for one in open_.details["choices"]] == ["same:pay-1", "different"]
    assert bench.told("payment.received") == []
    bench.no_more_troubles()
    bench.edit_payment(paid, {qb: 100})
    bench.wake()
    bench.open_due()
    bench.drain()
    bench.decide(bench.last_of("Payment", paid), "same:pay-1")
    assert bench.external("payment", "pay-1") == paid
    assert bench.outcome("payment", "pay-1") == ("skipped", "superseded")
    assert len(bench.objects("Payment")) == 1
    assert bench.told("payment.received") == []
    assert bench.exceptions() == []
    assert bench.due("inv-1") == [0]


def test_a_duplicate_of_a_pushed_payment_is_told_only_when_it_is_different(bench: InboundBench) -> None:
    """Ours is there, and a bookkeeper entered another over the same amount: held, then taken as a second one."""
    first, second = bench.invoice("inv-1"), bench.invoice("inv-2")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    paid = bench.receive("100.00", {second: "100.00"}, date="2026-11-04")
    bench.poll()
    (open_,) = bench.exceptions()
    assert open_.code == "likely_duplicate"
    assert [one["choice"] for one in open_.details["choices"]] == ["different"]
    bench.decide(bench.last_of("Payment", paid), "different")
    (told,) = bench.told("payment.received")
    assert told["quickbooks_id"] == paid
    assert bench.due("inv-1", "inv-2") == [0, 0]
    assert first != second
    assert bench.exceptions() == []


def test_a_parent_pays_for_its_sub_customers(bench: InboundBench) -> None:
    """The payer is not linked, the invoice is: it applies (D33)."""
    sub = bench.bookkeeper(
        "create",
        entity="Customer",
        body={"DisplayName": "Site B", "Job": True, "ParentRef": {"value": "4"}, "BillWithParent": True},
    )["Id"]
    bench.map("customer", "cl-1", sub)
    qb = bench.invoice("inv-1")
    bench.receive("100.00", {qb: "100.00"}, customer="4")
    bench.poll()
    (told,) = bench.told("payment.received")
    assert told["customer"]["quickbooks_customer_id"] == "4"
    assert bench.due("inv-1") == [0]


def test_a_held_payment_that_is_deleted_leaves_no_exception(bench: InboundBench) -> None:
    """What asked a person is gone: so is the question."""
    theirs = bench.native(100)
    paid = bench.receive("100.00", {theirs: "100.00"})
    bench.poll()
    assert len(bench.exceptions()) == 1
    bench.bookkeeper("delete", entity="Payment", id=paid)
    bench.poll()
    assert bench.exceptions() == []
    assert bench.told("payment.withdrawn") == []
