"""Payments of billing in QuickBooks: our own writes are silent, a bookkeeper's are told by billing's own id."""

from __future__ import annotations

from tests.support.inbound import InboundBench, payment


def test_the_echo_of_a_pushed_payment_is_nothing(bench: InboundBench) -> None:
    """What we wrote comes back in the feed: recognised by its SyncToken, no event, no operation."""
    bench.invoice("inv-1")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    cycle = bench.poll()
    assert cycle.outcomes["echo"] >= 1
    assert bench.told("payment.received") == []
    assert bench.told("document.drifted") == []
    assert bench.due("inv-1") == [0]


def test_a_payment_seen_before_its_answer_came_is_ours(bench: InboundBench) -> None:
    """QuickBooks made it and we did not hear of it: the feed shows it first, and it is not taken for a bookkeeper's."""
    bench.invoice("inv-1")
    bench.trouble("cut_after", entity="payment", times=1)
    bench.say("payment.recorded", payment("pay-1", 10000, {"inv-1": 10000}), settle=False)
    bench.drain()
    assert bench.last("payment", "pay-1").outcome == "unknown"
    bench.wake()
    bench.open_due()
    bench.drain()
    (made,) = bench.objects("Payment")
    judged = bench.last_of("Payment", made["Id"])
    assert (judged.state, judged.reason_code) == ("waiting", "step")
    bench.settle()
    assert bench.external("payment", "pay-1") == made["Id"]
    assert bench.last_of("Payment", made["Id"]).reason_code == "echo"
    assert bench.told("payment.received") == []


def test_a_bookkeeper_moves_our_payment(bench: InboundBench) -> None:
    """Billing hears of its own payment, by its own id, with what it had before; our next write is not stale."""
    bench.invoice("inv-1")
    second = bench.invoice("inv-2")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    ours = bench.external("payment", "pay-1")
    bench.edit_payment(ours, {second: 100})
    bench.poll()
    (changed,) = bench.told("payment.changed")
    assert changed["billing_payment_id"] == "pay-1"
    assert [share["invoice_id"] for share in changed["previous"]["allocations"]] == ["inv-1"]
    assert [share["invoice_id"] for share in changed["payment"]["allocations"]] == ["inv-2"]
    assert bench.due("inv-1", "inv-2") == [10000, 0]
    link = bench.link("payment", "pay-1")
    assert link is not None
    assert link.sync_token == bench.object("Payment", ours)["SyncToken"]


def test_a_later_word_of_billing_wins_over_what_it_was_told(bench: InboundBench) -> None:
    """Told that its payment moved, billing moves it back: from then on its own allocations count."""
    bench.invoice("inv-1")
    second = bench.invoice("inv-2")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    bench.edit_payment(bench.external("payment", "pay-1"), {second: 100})
    bench.poll()
    bench.say(
        "payment.reallocated", {"id": "pay-1", "allocations": [{"invoice_id": "inv-1", "amount": 10000}]}
    )
    bench.poll()
    assert bench.due("inv-1", "inv-2") == [0, 10000]
    assert bench.exceptions() == []
    assert len(bench.told("payment.changed")) == 1


def test_our_payment_voided_by_a_bookkeeper(bench: InboundBench) -> None:
    """Withdrawn by billing's id, the invoice is open, and the link is dead."""
    bench.invoice("inv-1")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    bench.bookkeeper("void", entity="Payment", id=bench.external("payment", "pay-1"))
    bench.poll()
    (gone,) = bench.told("payment.withdrawn")
    assert (gone["billing_payment_id"], gone["reason"]) == ("pay-1", "voided")
    assert bench.due("inv-1") == [10000]
    link = bench.link("payment", "pay-1")
    assert link is not None
    assert link.state == "external_voided"


def test_our_own_reversal_is_not_told_back(bench: InboundBench) -> None:
    """Billing said that the payment never was; the void that follows is no news to it."""
    bench.invoice("inv-1")
    bench.pay("pay-1", 10000, {"inv-1": 10000})
    bench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-05", "reason": "keyed_in_error"})
    bench.poll()
    assert bench.told("payment.withdrawn") == []
    assert bench.due("inv-1") == [10000]
    assert bench.exceptions() == []
