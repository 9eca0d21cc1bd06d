"""Edits that nobody tells of: N of them injected into QuickBooks, with the poller off, are found as exactly N."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import requests

from tests.support.exporting import REALM, applied, credit_note
from tests.support.inbound import payment
from tests.support.reconcile import ReconcileBench, keys

Inject = Callable[[ReconcileBench], str]
"""Edits the books and returns the key of the item that is to be found."""


@pytest.fixture
def busy(books: ReconcileBench) -> ReconcileBench:
    """A month's books in two currencies, clean: every kind of document, payment and credit that there is."""
    books.prefer("CurrencyPrefs", MultiCurrencyEnabled=True)
    euro = books.bookkeeper(
        "create", entity="Customer", body={"DisplayName": "Cool Cars EUR", "CurrencyRef": {"value": "EUR"}}
    )
    books.map("customer", "cl-1", euro["Id"], variant="EUR")
    books.map("customer", "cl-2", "3")
    for number in range(1, 9):
        books.bill(f"inv-{number}", net=10000 + number)
    for number in range(1, 5):
        books.bill(f"eur-{number}", net=20000 + number, currency="EUR", exchange_rate="1.10")
    other = {"id": "cl-2", "name": "Diego Rodriguez", "tax_exempt": True}
    books.bill("two-1", net=3000, client=other)
    books.settle()
    for number in range(1, 4):
        books.say("credit_note.finalized", credit_note(f"cn-{number}", net=-4000 - number), settle=False)
    books.settle()
    books.say("credit.applied", applied("app-1", "cn-1", "inv-1", 1500))
    books.pay("pay-1", 5000, {"inv-1": 5000})
    books.pay("pay-2", 8000, {"inv-2": 4000, "inv-3": 4000})
    books.say(
        "payment.recorded",
        payment("pay-3", 6000, {"eur-1": 6000}, currency="EUR", exchange_rate="1.12"),
    )
    books.receive("20.00", {books.external("invoice", "inv-4"): "20.00"})
    books.receive("70.00", {books.external("invoice", "inv-8"): "50.00"})
    books.poll()
    books.clean()
    books.advance(5)
    return books


def qb(books: ReconcileBench, document_id: str, kind: str = "invoice") -> str:
    """QuickBooks' id."""
    return books.external(kind, document_id)


def amount(books: ReconcileBench) -> str:
    """An invoice's amount is changed."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "inv-5"), changes={"Line": [books.line(99.99)]})
    return "invoice/inv-5"


def amount_in_euro(books: ReconcileBench) -> str:
    """So is one in a foreign currency, by a cent."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "eur-2"), changes={"Line": [books.line(200.03)]})
    return "invoice/eur-2"


def below_what_is_paid(books: ReconcileBench) -> str:
    """An invoice shrinks below what two payments put on it: QuickBooks takes money off; the cause is one."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "inv-2"), changes={"Line": [books.line(10)]})
    return "invoice/inv-2"


def credit_amount(books: ReconcileBench) -> str:
    """A credit memo's amount is changed."""
    books.bookkeeper(
        "edit", entity="CreditMemo", id=qb(books, "cn-2", "credit_note"), changes={"Line": [books.line(41)]}
    )
    return "credit_note/cn-2"


def deleted(books: ReconcileBench) -> str:
    """An invoice is deleted with the money on it left over."""
    books.bookkeeper("delete", entity="Invoice", id=qb(books, "inv-4"))
    return "invoice/inv-4"


def deleted_in_euro(books: ReconcileBench) -> str:
    """A foreign invoice is deleted, and its payment is on nothing now."""
    books.bookkeeper("delete", entity="Invoice", id=qb(books, "eur-1"))
    return "invoice/eur-1"


def voided(books: ReconcileBench) -> str:
    """An unpaid invoice is voided."""
    books.bookkeeper("void", entity="Invoice", id=qb(books, "inv-6"))
    return "invoice/inv-6"


def credit_voided(books: ReconcileBench) -> str:
    """A credit memo is voided in the browser; the application that used it goes with it."""
    books.bookkeeper("void", entity="CreditMemo", id=qb(books, "cn-1", "credit_note"))
    return "credit_note/cn-1"


def credit_deleted(books: ReconcileBench) -> str:
    """A credit memo that is not applied is deleted."""
    books.bookkeeper("delete", entity="CreditMemo", id=qb(books, "cn-3", "credit_note"))
    return "credit_note/cn-3"


def moved(books: ReconcileBench) -> str:
    """An invoice is moved to another customer."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "inv-7"), changes={"CustomerRef": {"value": "5"}})
    return "invoice/inv-7"


def renumbered(books: ReconcileBench) -> str:
    """A number is changed."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "eur-3"), changes={"DocNumber": "EUR-3333"})
    return "invoice/eur-3"


def redated(books: ReconcileBench) -> str:
    """A date is changed, into another period."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "eur-4"), changes={"TxnDate": "2026-12-01"})
    return "invoice/eur-4"


def prolonged(books: ReconcileBench) -> str:
    """A due date is changed."""
    books.bookkeeper("edit", entity="Invoice", id=qb(books, "inv-3"), changes={"DueDate": "2027-01-31"})
    return "invoice/inv-3"


def reallocated(books: ReconcileBench) -> str:
    """Money is moved from one invoice to another; no total shows it."""
    books.edit_payment(qb(books, "pay-1", "payment"), {qb(books, "inv-1"): 20.0, qb(books, "inv-3"): 30.0})
    return "payment/pay-1"


def payment_deleted(books: ReconcileBench) -> str:
    """A payment that the PSA was told of is deleted."""
    (found,) = [one for one in books.objects("Payment") if one["TotalAmt"] == 70]
    books.bookkeeper("delete", entity="Payment", id=found["Id"])
    return f"Payment:{found['Id']}"


def payment_changed(books: ReconcileBench) -> str:
    """A payment's amount is changed."""
    books.edit_payment(qb(books, "pay-3", "payment"), TotalAmt=61)
    return "payment/pay-3"


def stranger(books: ReconcileBench) -> str:
    """Somebody enters an invoice for a client of the PSA."""
    return f"Invoice:{books.native(77.0, CurrencyRef={'value': 'USD'})}"


def stranger_in_euro(books: ReconcileBench) -> str:
    """And one in a foreign currency."""
    (customer,) = [one["Id"] for one in books.objects("Customer") if one["DisplayName"] == "Cool Cars EUR"]
    return f"Invoice:{books.native(55.0, customer, CurrencyRef={'value': 'EUR'})}"


def stranger_pays(books: ReconcileBench) -> str:
    """Somebody receives money on an invoice of the PSA."""
    return f"Payment:{books.receive('12.00', {qb(books, 'two-1'): '12.00'}, customer='3')}"


EDITS: tuple[Inject, ...] = (
    amount,
    amount_in_euro,
    below_what_is_paid,
    credit_amount,
    deleted,
    deleted_in_euro,
    voided,
    credit_voided,
    credit_deleted,
    moved,
    renumbered,
    redated,
    prolonged,
    reallocated,
    payment_deleted,
    payment_changed,
    stranger,
    stranger_in_euro,
    stranger_pays,
)


@pytest.mark.parametrize("seed", range(4))
def test_n_silent_edits_are_found_as_n(busy: ReconcileBench, seed: int) -> None:
    """Whatever was edited, in whatever order and currency: these items, no others, and the books still foot."""
    chance = random.Random(seed)
    chosen = chance.sample(EDITS, k=chance.randint(1, 9))
    expected = [inject(busy) for inject in chosen]
    made = busy.statement()
    assert sorted(keys(made.listed("unexplained"))) == sorted(expected)
    assert made.unexplained == len(expected)
    busy.foots(made)


def test_each_edit_is_found_when_it_is_made(busy: ReconcileBench) -> None:
    """One edit more, one item more, with what differs in words, what to do, and the page to look at."""
    expected: list[str] = []
    for inject in EDITS:
        expected.append(inject(busy))
        made = busy.statement()
        assert sorted(keys(made.listed("unexplained"))) == sorted(expected), inject.__name__
        (found,) = [one for one in made.listed("unexplained") if one.key == expected[-1]]
        assert found.differences
        assert found.why
        assert found.next_step
        assert (found.url or "").startswith("https://app.sandbox.qbo.intuit.com/app/")
        busy.foots(made)


def test_a_statement_foots_to_what_quickbooks_says_itself(busy: ReconcileBench) -> None:
    """In each currency QuickBooks' total is the sum of what its customers owe by its own count."""
    amount(busy)
    stranger(busy)
    busy.journal(33.0)
    made = busy.statement()
    answer = requests.get(f"{busy.sandbox.control}/companies/{REALM}/receivables", timeout=5).json()
    currencies = {one["Id"]: one["CurrencyRef"]["value"] for one in busy.objects("Customer")}
    owed = dict.fromkeys(made.currencies, 0)
    for customer, balance in answer["customers"].items():
        owed[currencies[customer]] += round(balance * 100)
    assert {code: one.quickbooks for code, one in made.currencies.items()} == owed


def test_an_edit_that_is_undone_is_gone_from_the_next_statement(busy: ReconcileBench) -> None:
    """What is unexplained opens one exception for the company; the statement that is zero again closes it."""
    renumbered(busy)
    assert busy.statement().unexplained == 1
    (open_,) = busy.exceptions()
    assert (open_.type, open_.details["unexplained"]) == ("accounting_reconciliation_unexplained", 1)
    assert busy.statement().unexplained == 1
    assert len(busy.exceptions()) == 1
    busy.bookkeeper("edit", entity="Invoice", id=qb(busy, "eur-3"), changes={"DocNumber": "EUR-3"})
    busy.clean()
    assert busy.exceptions() == []
