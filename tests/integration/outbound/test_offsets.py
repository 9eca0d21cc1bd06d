"""Voids in a closed period: a document in the open period offsets what lies in the closed one, if somebody says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
import requests
from sqlalchemy import text

from services.database import Database, Role
from tests.support.exporting import (
    Workbench,
    applied,
    credit_note,
    invoice,
    new_workbench,
    payment,
    shares,
    voided,
)
from tests.support.sandbox import Sandbox


def close(bench: Workbench, through: str | None = "2026-10-31") -> None:
    """The bookkeeper closes the books, and we have read it."""
    bench.bookkeeper("close-books", through=through)
    bench.know("AccountingInfoPrefs", BookCloseDate=through)


@pytest.fixture
def fleet(database_url: str) -> Iterator[Database]:
    """The database of a fleet."""
    with Database(database_url, Role.FLEET, pool_size=5) as database:
        yield database


@pytest.fixture
def bench(workbench: Workbench) -> Workbench:
    """A company that applies no credit by itself."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    return workbench


def taxed() -> dict[str, Any]:
    """An invoice of 100.00 and 8.25 of sales tax."""
    data = invoice("inv-1", net=10000, tax=825, total=10825)
    data["client"]["tax_exempt"] = False
    data["lines"][0] |= {"is_taxable": True, "tax_amount": 825, "tax_rate": "8.25"}
    return data


def void(bench: Workbench, kind: str = "invoice", document_id: str = "inv-1", **changes: Any) -> None:
    """Billing voids it; the books are closed."""
    bench.say(f"{kind}.voided", voided(document_id, **changes))
    assert bench.outcome(kind, document_id) == ("failed", "books_closed")


def test_a_credit_memo_offsets_an_invoice(bench: Workbench) -> None:
    """Same lines and total, dated as the void, tied to the invoice, said why; the invoice itself is not touched."""
    bench.say("invoice.finalized", invoice("inv-1"))
    (before,) = bench.objects()
    close(bench)
    void(bench, date="2026-11-06")
    (asked,) = bench.exceptions()
    (offered,) = asked.details["choices"]
    assert (offered["choice"], offered["default_date"]) == ("offset", "2026-11-06")
    assert "Enter a credit memo in the open period" in asked.fix
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    (there,), (memo,), (tied,) = (bench.objects(entity) for entity in ("Invoice", "CreditMemo", "Payment"))
    assert (memo["TxnDate"], memo["TotalAmt"], memo["RemainingCredit"]) == (
        "2026-11-06",
        before["TotalAmt"],
        0.0,
    )
    sold = [line for line in memo["Line"] if line["DetailType"] == "SalesItemLineDetail"]
    assert [(line["Amount"], line["Description"]) for line in sold] == [
        (line["Amount"], line["Description"])
        for line in before["Line"]
        if line["DetailType"] == "SalesItemLineDetail"
    ]
    assert memo["DocNumber"].startswith("VD-")
    assert f"Voids invoice {before['DocNumber']}" in memo["PrivateNote"]
    assert "books closed; controller: agreed" in memo["PrivateNote"]
    assert memo["CustomerMemo"]["value"].endswith("dated 2026-10-31")
    assert (memo["EmailStatus"], memo["PrintStatus"]) == ("NotSet", "NotSet")
    total = before["TotalAmt"]
    assert (tied["TotalAmt"], tied["TxnDate"]) == (0.0, "2026-11-06")
    assert shares(tied) == {f"Invoice:{there['Id']}": total, f"CreditMemo:{memo['Id']}": total}
    assert (there["Balance"], there["TotalAmt"], there["TxnDate"]) == (0.0, total, "2026-10-31")
    assert bench.exceptions() == []
    told = bench.timeline("invoice", "inv-1")
    assert told.index("decided") < told.index("step_done") < told.index("succeeded", told.index("decided"))
    assert [one["action"] for one in bench.told("document.synced")] == ["created", "updated"]


def test_the_day_is_chosen_or_the_first_open_one(bench: Workbench) -> None:
    """A void dated in the closed period itself is offered the first open day; another open day may be named."""
    bench.say("invoice.finalized", invoice("inv-1"))
    bench.say("invoice.finalized", invoice("inv-2"))
    close(bench)
    for document_id in ("inv-1", "inv-2"):
        void(bench, document_id=document_id, date="2026-10-31")
    offer = bench.offered("invoice", "inv-1")
    assert [one.default_date for one in offer.choices] == [date(2026, 11, 1)]
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    bench.decide(bench.last("invoice", "inv-2"), "offset", book_on=date(2026, 11, 9))
    assert [memo["TxnDate"] for memo in bench.objects("CreditMemo")] == ["2026-11-01", "2026-11-09"]


def test_an_invoice_offsets_a_credit_memo(bench: Workbench) -> None:
    """The mirror: an invoice over the same lines uses the credit up; nobody is asked to pay it online."""
    bench.say("credit_note.finalized", credit_note("cn-1"))
    (before,) = bench.objects("CreditMemo")
    close(bench)
    void(bench, "credit_note", "cn-1")
    bench.decide(bench.last("credit_note", "cn-1"), "offset", book_on=date(2026, 11, 2))
    assert bench.outcome("credit_note", "cn-1") == ("succeeded", None)
    (memo,), (there,), (tied,) = (bench.objects(entity) for entity in ("CreditMemo", "Invoice", "Payment"))
    assert (there["TotalAmt"], there["Balance"], there["DueDate"]) == (before["TotalAmt"], 0.0, "2026-11-02")
    assert there["AllowOnlineACHPayment"] is False
    assert (memo["RemainingCredit"], memo["TotalAmt"], tied["TotalAmt"]) == (0.0, before["TotalAmt"], 0.0)


@pytest.mark.parametrize("paid", [13500, 5000])
def test_what_is_paid_stays_paid_and_the_credit_stays_open(bench: Workbench, paid: int) -> None:
    """Paid in full or in part: the memo settles what is open, and the rest of it is the customer's credit."""
    bench.say("invoice.finalized", invoice("inv-1"))
    bench.say("payment.recorded", payment("pay-1", ("inv-1", paid), amount=paid))
    close(bench)
    void(bench)
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    (there,), (memo,) = bench.objects(), bench.objects("CreditMemo")
    assert (there["Balance"], memo["RemainingCredit"]) == (0.0, paid / 100)
    assert len(bench.objects("Payment")) == (1 if paid == 13500 else 2)
    assert bench.exceptions() == []


def test_credit_applied_in_the_open_period_is_taken_off_first(bench: Workbench) -> None:
    """As before any void; what was applied in the closed period stays, and so much of the memo stays open."""
    bench.say("invoice.finalized", invoice("inv-1"))
    for number, day in (("1", "2026-10-31"), ("2", "2026-11-03")):
        bench.say("credit_note.finalized", credit_note(f"cn-{number}"))
        bench.say("credit.applied", applied(f"app-{number}", f"cn-{number}", "inv-1", 1000, date=day))
    close(bench)
    void(bench)
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    (there,) = bench.objects()
    links = [bench.link("credit_application", f"app-{number}") for number in "12"]
    assert [link.state for link in links if link is not None] == ["synced", "deleted"]
    memo = bench.objects("CreditMemo")[-1]
    assert (there["Balance"], memo["RemainingCredit"]) == (0.0, 10.0)


def test_a_credit_note_in_use_is_not_offset_before_its_credit_is_taken_back(bench: Workbench) -> None:
    """Billing must say first what becomes of the invoices; what it took back only, stays tied in the closed period."""
    bench.say("invoice.finalized", invoice("inv-1"))
    bench.say("credit_note.finalized", credit_note("cn-1"))
    application = applied("app-1", "cn-1", "inv-1", 1000, date="2026-10-31")
    bench.say("credit.applied", application)
    close(bench)
    void(bench, "credit_note", "cn-1")
    bench.decide(bench.last("credit_note", "cn-1"), "offset")
    assert bench.outcome("credit_note", "cn-1") == ("failed", "credit_applied")
    bench.say("credit.unapplied", application)
    assert bench.outcome("credit_application", "app-1") == ("failed", "books_closed")
    bench.replay(bench.last("credit_note", "cn-1"))
    assert bench.outcome("credit_note", "cn-1") == ("succeeded", None)
    offset = bench.objects()[-1]
    assert offset["Balance"] == 10.0


def test_quickbooks_applies_the_credit_by_itself(workbench: Workbench) -> None:
    """To the very invoice: that is the tie, and it is ours from then on. To an older one: a person is asked."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    workbench.say("invoice.finalized", invoice("inv-1"))
    close(workbench)
    void(workbench)
    workbench.decide(workbench.last("invoice", "inv-1"), "offset")
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    (tied,) = workbench.objects("Payment")
    link = workbench.link("invoice_offset_application", "inv-1")
    assert link is not None
    assert (link.external_id, workbench.objects()[0]["Balance"]) == (tied["Id"], 0.0)
    close(workbench, None)
    workbench.say("invoice.finalized", invoice("older", invoice_date="2026-09-01", due_date="2026-09-15"))
    workbench.say("invoice.finalized", invoice("inv-2"))
    close(workbench)
    void(workbench, document_id="inv-2")
    workbench.decide(workbench.last("invoice", "inv-2"), "offset")
    assert workbench.outcome("invoice", "inv-2") == ("failed", "offset_used_elsewhere")
    assert len(workbench.objects("CreditMemo")) == 2


def test_tax_goes_back_to_the_cent(bench: Workbench) -> None:
    """A taxed invoice: the memo has its code and its tax, and both come to nothing together."""
    bench.map("tax_code", "default", "2")
    bench.say("invoice.finalized", taxed())
    (before,) = bench.objects()
    assert before["TxnTaxDetail"]["TotalTax"] == 8.25
    close(bench)
    void(bench)
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    (memo,) = bench.objects("CreditMemo")
    assert (memo["TxnTaxDetail"]["TotalTax"], memo["TotalAmt"]) == (8.25, before["TotalAmt"])
    assert bench.objects()[0]["Balance"] == 0.0


def test_vat_goes_back_by_its_codes(fleet: Database, sandbox: Sandbox) -> None:
    """Outside the US: a code a line, amounts without tax, and each rate's part as it stands there."""
    realm = "9341450000000077"
    opened = requests.post(f"{sandbox.control}/companies", json={"realm": realm, "country": "GB"}, timeout=5)
    opened.raise_for_status()
    bench = new_workbench(fleet, sandbox, realm=realm)
    with fleet.transaction(bench.tenant) as connection:
        connection.execute(text("UPDATE company SET country = 'GB', home_currency = 'GBP'"))
    bench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    bench.map("tax_code", "default", "2")
    data = invoice("inv-1", net=10000, tax=2000, total=12000, currency="GBP")
    data["client"]["tax_exempt"] = False
    data["lines"][0] |= {"is_taxable": True, "tax_amount": 2000, "tax_rate": "20"}
    bench.say("invoice.finalized", data)
    (before,) = bench.objects()
    close(bench)
    void(bench)
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert (bench.outcome("invoice", "inv-1"), bench.codes()) == (("succeeded", None), [])
    (memo,) = bench.objects("CreditMemo")
    assert (memo["TotalAmt"], memo["GlobalTaxCalculation"]) == (before["TotalAmt"], "TaxExcluded")
    assert memo["TxnTaxDetail"]["TotalTax"] == before["TxnTaxDetail"]["TotalTax"] == 20.0
    assert memo["Line"][0]["SalesItemLineDetail"]["TaxCodeRef"]["value"] == "2"
    assert bench.objects()[0]["Balance"] == 0.0


def test_a_foreign_invoice_goes_back_at_its_own_rate(bench: Workbench) -> None:
    """Nothing is gained or lost by a void: memo and tie carry the invoice's rate, not that of the day."""
    bench.prefer("CurrencyPrefs", MultiCurrencyEnabled=True)
    customer = bench.bookkeeper(
        "create",
        entity="Customer",
        body={"DisplayName": "Cool Cars in euros", "CurrencyRef": {"value": "EUR"}},
    )
    bench.map("customer", "cl-1", str(customer["Id"]), "EUR")
    bench.say("invoice.finalized", invoice("inv-1", currency="EUR", exchange_rate="1.25"))
    close(bench)
    void(bench)
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    (memo,), (tied,) = bench.objects("CreditMemo"), bench.objects("Payment")
    for one in (memo, tied):
        assert (one["CurrencyRef"]["value"], one["ExchangeRate"]) == ("EUR", 1.25)
    assert bench.objects()[0]["Balance"] == 0.0


def test_discounts_of_quickbooks_own_are_offset_by_hand(bench: Workbench) -> None:
    """A bookkeeper put a discount on it: nobody guesses its account, and nothing is made."""
    bench.prefer("SalesFormsPrefs", AllowDiscount=True)
    bench.say("invoice.finalized", invoice("inv-1"))
    (there,) = bench.objects()
    lines = [line for line in there["Line"] if line["DetailType"] != "SubTotalLineDetail"]
    discount = {
        "DetailType": "DiscountLineDetail",
        "Amount": 5,
        "DiscountLineDetail": {"PercentBased": False},
    }
    bench.bookkeeper("edit", entity="Invoice", id=there["Id"], changes={"Line": [*lines, discount]})
    close(bench)
    void(bench)
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("failed", "offset_by_hand")
    assert bench.objects("CreditMemo") == []


def test_another_total_is_reported(bench: Workbench) -> None:
    """QuickBooks computes the memo's tax otherwise: done and tied, and the difference is on the list."""
    bench.prefer("TaxPrefs", UsingSalesTax=True)
    bench.map("tax_code", "default", "2")
    bench.say("invoice.finalized", taxed())
    close(bench)
    void(bench)
    bench.prefer("TaxPrefs", UsingSalesTax=False)  # QuickBooks drops any tax from now on
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert bench.codes() == ["offset_differs"]
    assert bench.objects()[0]["Balance"] == 8.25


def test_what_is_done_is_done_once(bench: Workbench) -> None:
    """A second void finds the memo; books opened in between change nothing of what was decided."""
    bench.say("invoice.finalized", invoice("inv-1"))
    close(bench)
    void(bench)
    operation = bench.last("invoice", "inv-1")
    close(bench, None)
    bench.decide(operation, "offset")
    assert [len(bench.objects(one)) for one in ("CreditMemo", "Payment")] == [1, 1]
    bench.say("invoice.voided", voided("inv-1"))
    assert bench.outcome("invoice", "inv-1") == ("skipped", "offset")
    assert bench.objects()[0]["TotalAmt"] == 135.0


def test_books_closed_further_ask_again(bench: Workbench) -> None:
    """The day that was decided for is closed by now: the next open one is offered, and nothing was made."""
    bench.say("invoice.finalized", invoice("inv-1"))
    close(bench)
    void(bench)
    bench.bookkeeper("close-books", through="2026-11-30")  # we have not read it yet
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("failed", "books_closed")
    assert bench.offered("invoice", "inv-1").choices[0].default_date is None
    bench.know("AccountingInfoPrefs", BookCloseDate="2026-11-30")
    bench.decide(bench.last("invoice", "inv-1"), "offset", book_on=date(2026, 12, 1))
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert [memo["TxnDate"] for memo in bench.objects("CreditMemo")] == ["2026-12-01"]


def test_gone_before_it_was_offset(bench: Workbench) -> None:
    """A bookkeeper deleted the invoice meanwhile: it is gone, so nothing offsets it."""
    bench.say("invoice.finalized", invoice("inv-1"))
    close(bench)
    void(bench)
    bench.bookkeeper("delete", entity="Invoice", id=bench.objects()[0]["Id"])
    bench.decide(bench.last("invoice", "inv-1"), "offset")
    assert bench.outcome("invoice", "inv-1") == ("succeeded", None)
    link = bench.link("invoice", "inv-1")
    assert link is not None
    assert (link.state, bench.objects("CreditMemo")) == ("deleted", [])
