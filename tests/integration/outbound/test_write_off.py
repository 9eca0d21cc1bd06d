"""Writing off: a credit memo on the company's item for it, applied to the invoice; by hand where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.exporting import ACTOR, Workbench, invoice, payment, shares, voided


def written_off(document_id: str = "inv-1", amount: int = 13500, **changes: Any) -> dict[str, Any]:
    """Data of an invoice.written_off event."""
    return {
        "id": document_id,
        "amount": amount,
        "date": "2026-11-20",
        "reason": "client is bankrupt",
        "actor": ACTOR,
        **changes,
    }


@pytest.fixture
def bench(workbench: Workbench) -> Workbench:
    """A company with an item for bad debts, and an exported invoice."""
    workbench.set("write_off_item", {"id": "7", "name": "Bad debt"})
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.say("invoice.finalized", invoice("inv-1"))
    return workbench


def test_without_an_item_a_person_does_it(workbench: Workbench) -> None:
    """The recipe, and that a setting would do it; set and retried, it is done."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.written_off", written_off())
    assert workbench.outcome("invoice", "inv-1") == ("failed", "unsupported_effect")
    (asked,) = workbench.exceptions()
    assert "Enter a credit memo in QuickBooks dated 2026-11-20" in asked.fix
    assert "write_off_item" in asked.fix
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.set("write_off_item", {"id": "7"})
    workbench.replay(workbench.last("invoice", "inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.exceptions() == []


def test_a_credit_memo_on_the_item_settles_the_invoice(bench: Workbench) -> None:
    """Dated as written off, on the item, said why; no cash, no read; billing hears that the invoice changed."""
    reads = bench.reads
    bench.say("invoice.written_off", written_off())
    (memo,), (tie,), (there,) = (bench.objects(entity) for entity in ("CreditMemo", "Payment", "Invoice"))
    line = memo["Line"][0]
    assert (memo["TxnDate"], memo["TotalAmt"], memo["RemainingCredit"]) == ("2026-11-20", 135.0, 0.0)
    assert line["SalesItemLineDetail"]["ItemRef"]["value"] == "7"
    assert line["Description"].startswith("Written off: ")
    assert "client is bankrupt" in memo["PrivateNote"]
    assert (tie["TotalAmt"], tie["TxnDate"]) == (0.0, "2026-11-20")
    assert shares(tie) == {f"Invoice:{there['Id']}": 135.0, f"CreditMemo:{memo['Id']}": 135.0}
    assert there["Balance"] == 0.0
    assert bench.reads == reads
    assert [one["action"] for one in bench.told("document.synced")] == ["created", "updated"]


def test_the_rest_of_a_partly_paid_invoice(bench: Workbench) -> None:
    """Only what is written off."""
    bench.say("payment.recorded", payment("pay-1", ("inv-1", 10000)))
    bench.say("invoice.written_off", written_off(amount=3500))
    assert bench.objects("CreditMemo")[0]["TotalAmt"] == 35.0
    assert bench.objects("Invoice")[0]["Balance"] == 0.0


def test_a_second_write_off_has_a_memo_of_its_own(bench: Workbench) -> None:
    """What was written off first stays as it is; the same said again is no news."""
    bench.say("invoice.written_off", written_off(amount=5000))
    bench.say("invoice.written_off", written_off(amount=3000, date="2026-11-25"))
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    first, second = bench.objects("CreditMemo")
    assert (first["TotalAmt"], second["TotalAmt"], second["TxnDate"]) == (50.0, 30.0, "2026-11-25")
    assert first["DocNumber"] != second["DocNumber"]
    (there,) = bench.objects("Invoice")
    assert shares(bench.objects("Payment")[1]) == {
        f"Invoice:{there['Id']}": 30.0,
        f"CreditMemo:{second['Id']}": 30.0,
    }
    assert there["Balance"] == 55.0
    bench.say("invoice.written_off", written_off(amount=3000, date="2026-11-25"))
    assert bench.outcome("invoice", "inv-1") == ("skipped", "written_off_already")
    assert bench.objects("Invoice")[0]["Balance"] == 55.0


def test_a_foreign_invoice_is_written_off_at_its_own_rate(workbench: Workbench) -> None:
    """The rate of the day of the write-off would make a gain or loss of exchange that nobody had."""
    workbench.set("write_off_item", {"id": "7"})
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.prefer("CurrencyPrefs", MultiCurrencyEnabled=True)
    body = {"DisplayName": "Cool Cars EUR", "CurrencyRef": {"value": "EUR"}}
    customer = workbench.bookkeeper("create", entity="Customer", body=body)
    workbench.map("customer", "cl-1", str(customer["Id"]), "EUR")
    workbench.say("invoice.finalized", invoice("inv-1", currency="EUR", exchange_rate="1.0834"))
    workbench.say("invoice.written_off", written_off())
    (memo,), (tie,) = workbench.objects("CreditMemo"), workbench.objects("Payment")
    assert (memo["ExchangeRate"], tie["ExchangeRate"]) == (1.0834, 1.0834)


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("kind", ["cut_before", "cut_after"])
def test_a_lost_answer_writes_off_once(bench: Workbench, kind: str, skip: int) -> None:
    """Of the memo, or of its application."""
    bench.trouble(kind, method="POST", skip=skip, times=1)
    bench.say("invoice.written_off", written_off())
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert (len(bench.objects("CreditMemo")), len(bench.objects("Payment"))) == (1, 1)
    assert bench.objects("Invoice")[0]["Balance"] == 0.0


def test_paid_meanwhile_is_an_exception(bench: Workbench) -> None:
    """The money came after all: the credit memo is there, unapplied, and a person is told."""
    link = bench.link("invoice", "inv-1")
    assert link is not None
    bench.bookkeeper(
        "receive-payment", customer="2", amount=135, invoices={link.external_id: 135}, date="2026-11-19"
    )
    bench.say("invoice.written_off", written_off())
    assert bench.outcome("invoice", "inv-1")[0] == "failed"
    (asked,) = bench.exceptions()
    assert "write off" in asked.title
    assert f"(id {bench.objects('CreditMemo')[0]['Id']}) stands unapplied" in asked.happened


def test_closed_books_are_a_decision(bench: Workbench) -> None:
    """As for every other entry."""
    bench.know("AccountingInfoPrefs", BookCloseDate="2026-11-30")
    bench.say("invoice.written_off", written_off())
    assert bench.outcome("invoice", "inv-1") == ("failed", "books_closed")
    assert bench.objects("CreditMemo") == []


def test_an_invoice_that_never_was_exported(workbench: Workbench) -> None:
    """From before the cutover: nothing to write off here that we know of."""
    workbench.set("write_off_item", {"id": "7"})
    workbench.set("cutover_date", "2026-11-01")
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.written_off", written_off())
    assert workbench.outcome("invoice", "inv-1") == ("failed", "unlinked_before_cutover")


def test_a_recipe_never_waits(workbench: Workbench) -> None:
    """Automatic sync is off: what a person has to do is said at once all the same."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.written_off", written_off())
    assert workbench.outcome("invoice", "inv-1") == ("failed", "unsupported_effect")


def test_a_void_makes_the_recipe_pointless(workbench: Workbench) -> None:
    """What is voided need not be written off: the void goes through, and the recipe leaves the list."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.written_off", written_off())
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.object("Invoice", workbench.objects()[0]["Id"])["TotalAmt"] == 0
    assert workbench.exceptions() == []
