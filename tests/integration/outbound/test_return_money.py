"""Money that went back: a recipe by default; where it is set, an Expense on receivables that the payment settles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.exporting import Workbench, invoice, payment, shares

BOUNCED = {"id": "pay-1", "date": "2026-11-12", "reason": "bounced"}


def refund(amount: int = 13500, **changes: Any) -> dict[str, Any]:
    """Data of a payment.refunded event."""
    return {
        "refund_id": "ref-1",
        "payment_id": "pay-1",
        "amount": amount,
        "currency": "USD",
        "date": "2026-11-12",
        "reason": "paid twice",
        **changes,
    }


@pytest.fixture
def bench(workbench: Workbench) -> Workbench:
    """A company that wants refunds posted, and a paid invoice."""
    workbench.set("refunds", "expense")
    workbench.set("refund_account", {"id": "5", "name": "Checking"})
    workbench.set("receivables_account", {"id": "7", "name": "Accounts Receivable"})
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    return workbench


@pytest.mark.parametrize(
    ("event", "data", "kind", "document_id"),
    [
        ("payment.reversed", BOUNCED, "payment", "pay-1"),
        ("payment.reversed", BOUNCED | {"reason": "chargeback"}, "payment", "pay-1"),
        ("payment.refunded", refund(), "refund", "ref-1"),
    ],
)
def test_all_of_it(bench: Workbench, event: str, data: dict[str, Any], kind: str, document_id: str) -> None:
    """The bank loses it on its day, the payment settles that, and the invoice is open again; nothing is read."""
    reads = bench.reads
    bench.say(event, data)
    assert bench.outcome(kind, document_id) == ("succeeded", None)
    (expense,), (paid,), (there,) = (bench.objects(entity) for entity in ("Purchase", "Payment", "Invoice"))
    assert (expense["TxnDate"], expense["TotalAmt"]) == ("2026-11-12", 135.0)
    assert (expense["AccountRef"]["value"], expense["EntityRef"]["value"]) == ("5", "2")
    assert shares(paid) == {f"Expense:{expense['Id']}": 135.0}
    assert (paid["TotalAmt"], paid["UnappliedAmt"], there["Balance"]) == (135.0, 0.0, 135.0)
    assert bench.reads == reads
    assert bench.exceptions() == []


def test_a_part_of_it(bench: Workbench) -> None:
    """The one invoice that it settles is open by that part."""
    bench.say("payment.refunded", refund(3500))
    (paid,), (there,) = bench.objects("Payment"), bench.objects("Invoice")
    assert sorted(shares(paid).values()) == [35.0, 100.0]
    assert there["Balance"] == 35.0


def test_unapplied_money_first(bench: Workbench) -> None:
    """What lies on no invoice goes back, and no invoice is touched."""
    bench.say("payment.recorded", payment("pay-2", amount=5000, reference="x"))
    bench.say("payment.refunded", refund(5000, payment_id="pay-2"))
    assert [one["Balance"] for one in bench.objects("Invoice")] == [0.0]
    assert bench.outcome("refund", "ref-1") == ("succeeded", None)


def test_which_of_several_invoices_is_not_guessed(bench: Workbench) -> None:
    """A part of a payment over two: asked about, and nothing is posted."""
    for document_id in ("inv-2", "inv-3"):
        bench.say("invoice.finalized", invoice(document_id))
    bench.say("payment.recorded", payment("pay-2", ("inv-2", 13500), ("inv-3", 13500)))
    bench.say("payment.refunded", refund(5000, payment_id="pay-2"))
    assert bench.outcome("refund", "ref-1") == ("failed", "refund_of_several_invoices")
    assert bench.objects("Purchase") == []


@pytest.mark.parametrize("missing", ["refunds", "refund_account", "receivables_account"])
def test_without_a_setting_a_person_does_it(bench: Workbench, missing: str) -> None:
    """The recipe says which settings would let us do it; set and retried, it is done."""
    value = {"refunds": "exception"}.get(missing)
    bench.set(missing, value)
    bench.say("payment.refunded", refund())
    assert bench.outcome("refund", "ref-1") == ("failed", "unsupported_effect")
    (asked,) = bench.exceptions()
    assert "Enter an expense in QuickBooks dated 2026-11-12" in asked.fix
    assert "refund_account" in asked.fix
    assert bench.objects("Purchase") == []
    bench.set("refunds", "expense")
    bench.set("refund_account", {"id": "5"})
    bench.set("receivables_account", {"id": "7"})
    bench.replay(bench.last("refund", "ref-1"))
    assert bench.outcome("refund", "ref-1") == ("succeeded", None)


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("kind", ["cut_before", "cut_after"])
def test_a_lost_answer_returns_it_once(bench: Workbench, kind: str, skip: int) -> None:
    """Of the Expense, or of the payment."""
    bench.trouble(kind, method="POST", skip=skip, times=1)
    bench.say("payment.reversed", BOUNCED)
    assert bench.outcome("payment", "pay-1") == ("succeeded", None)
    assert len(bench.objects("Purchase")) == 1
    assert bench.objects("Invoice")[0]["Balance"] == 135.0


def test_a_deposited_payment_is_finished_by_hand(bench: Workbench) -> None:
    """QuickBooks may not let a deposited payment be changed: the Expense stands, and the item says what is left."""
    (paid,) = bench.objects("Payment")
    bench.bookkeeper("make-deposit", payments=[paid["Id"]])
    bench.say("payment.reversed", BOUNCED)
    assert bench.outcome("payment", "pay-1")[0] == "failed"
    (expense,) = bench.objects("Purchase")
    (asked,) = bench.exceptions()
    assert f"Expense {expense['Id']}" in asked.happened
    assert "apply" in asked.fix


def test_closed_books_keep_it_out(bench: Workbench) -> None:
    """Neither the day it went back nor the payment's own may be closed."""
    bench.know("AccountingInfoPrefs", BookCloseDate="2026-11-30")
    bench.say("payment.reversed", BOUNCED)
    assert bench.outcome("payment", "pay-1") == ("failed", "books_closed")
    assert bench.objects("Purchase") == []


def test_a_payment_of_quickbooks_is_given_back_there(bench: Workbench) -> None:
    """Billing only repeats it: the recipe, at once, even when automatic sync is off."""
    bench.say("payment.recorded", payment("pay-2", amount=5000, reference="x", provider="quickbooks"))
    bench.set("auto_sync", False, "tenant")
    bench.say("payment.refunded", refund(5000, payment_id="pay-2"))
    assert bench.outcome("refund", "ref-1") == ("failed", "unsupported_effect")


@pytest.mark.parametrize("amount", [3500, 13500])
def test_money_that_went_back_is_returned_once(bench: Workbench, amount: int) -> None:
    """Said again it is no news; by another amount a person is asked. Either way there is one expense."""
    bench.say("payment.refunded", refund(amount))
    settled = shares(bench.objects("Payment")[0])
    bench.say("payment.refunded", refund(amount))
    assert bench.outcome("refund", "ref-1") == ("skipped", "returned_already")
    assert bench.exceptions() == []
    bench.say("payment.refunded", refund(amount - 100))
    assert bench.outcome("refund", "ref-1") == ("failed", "returned_differently")
    assert len(bench.objects("Purchase")) == 1
    assert shares(bench.objects("Payment")[0]) == settled
