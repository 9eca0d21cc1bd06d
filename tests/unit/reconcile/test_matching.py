"""Matching as a pure function: any clean book is zero, any N edits of it are N, and everything foots."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from messages.money import to_decimal
from services.inbound.reconcile import matching, statement
from services.inbound.reconcile.circumstances import Circumstances
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.natives import Horizon
from services.inbound.reconcile.ours import Books, Here
from services.inbound.reconcile.period import Period
from services.inbound.reconcile.reading import Taken
from services.inbound.reconcile.statement import Statement

HOME, REALM = "USD", "934"
RATES = {"USD": None, "EUR": "1.10", "JPY": "0.0067", "KWD": "3.25"}
CUSTOMERS = {"USD": "2", "EUR": "20", "JPY": "21", "KWD": "22"}
LATER = "2026-11-20T08:00:00-08:00"
HORIZON = Horizon(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), None)
DAY = date(2026, 10, 31)


@dataclass
class Both:
    """A book in both forms, made together."""

    books: Books = field(default_factory=Books)
    taken: Taken = field(default_factory=Taken)

    def __post_init__(self) -> None:
        for currency, customer in CUSTOMERS.items():
            self.books.customers["customer", "cl-1", "" if currency == HOME else currency] = customer
        entities = ("Invoice", "CreditMemo", "Payment", "JournalEntry", "Customer")
        self.taken.objects = {entity: {} for entity in entities}

    def put(self, entity: str, id_: str, currency: str, total: int, **fields: Any) -> dict[str, Any]:
        """An object of QuickBooks."""
        raw = {
            "Id": id_,
            "SyncToken": "0",
            "TxnDate": DAY.isoformat(),
            "DueDate": "2026-11-30",
            "CustomerRef": {"value": CUSTOMERS[currency]},
            "CurrencyRef": {"value": currency},
            "TotalAmt": to_decimal(total, currency),
            "MetaData": {"CreateTime": LATER, "LastUpdatedTime": LATER},
            **({"ExchangeRate": Decimal(str(RATES[currency]))} if RATES[currency] else {}),
            **fields,
        }
        self.taken.objects[entity][id_] = raw
        return raw

    def document(
        self, kind: str, id_: str, currency: str, total: int, target: tuple[str, str], **more: Any
    ) -> None:
        """A document of the PSA, linked."""
        values: dict[str, Any] = {
            "kind": kind,
            "id": id_,
            "number": id_.upper() if kind != "payment" else None,
            "client_id": "cl-1",
            "client_name": "Cool Cars",
            "currency": currency,
            "total": total,
            "date": DAY,
            "state": "finalized",
            "applied_sequence": 1,
            "due": date(2026, 11, 30),
            "form": "standard",
            "tax": None,
            "rate": Decimal(str(RATES[currency])) if RATES[currency] else None,
            "profile": None,
            "allocations": (),
            "invoice_id": None,
            "source_kind": None,
            "source_id": None,
            "provider": None,
            "external_type": target[0],
            "external_id": target[1],
            "link_state": "synced",
            "linked_via": "export",
        }
        self.books.documents.append(Here(**{**values, **more}))

    def invoice(self, number: int, currency: str, total: int) -> None:
        """An invoice in both books."""
        self.document("invoice", f"inv-{number}", currency, total, ("Invoice", str(number)))
        self.put("Invoice", str(number), currency, total, DocNumber=f"INV-{number}")

    def memo(self, number: int, currency: str, total: int) -> None:
        """A credit note in both books."""
        self.document("credit_note", f"cn-{number}", currency, -total, ("CreditMemo", f"9{number}"))
        self.put("CreditMemo", f"9{number}", currency, total, DocNumber=f"CN-{number}")

    def payment(self, number: int, currency: str, shares: dict[int, int], rest: int) -> None:
        """A payment in both books, on invoices and with something left over."""
        total = sum(shares.values()) + rest
        placed = tuple((f"inv-{invoice}", amount) for invoice, amount in shares.items())
        self.document(
            "payment", f"pay-{number}", currency, total, ("Payment", f"8{number}"), allocations=placed
        )
        lines = [
            {"Amount": to_decimal(amount, currency), "LinkedTxn": [{"TxnId": str(one), "TxnType": "Invoice"}]}
            for one, amount in shares.items()
        ]
        unapplied = to_decimal(rest, currency)
        self.put("Payment", f"8{number}", currency, total, Line=lines, UnappliedAmt=unapplied)

    def statement(self) -> Statement:
        """Match, and add up."""

        def nothing(_: Iterable[Item]) -> Circumstances:
            return Circumstances()

        books, taken = copy.deepcopy(self.books), copy.deepcopy(self.taken)
        items = matching.match(books, taken, nothing, HORIZON, home=HOME, realm_id=REALM, today=DAY)
        return statement.make(
            items,
            Period(None, date(2030, 1, 1)),
            company_id=UUID(int=1),
            realm_id=REALM,
            company_name="Co",
            home=HOME,
            read_at=datetime.now(UTC),
        )


def footed(made: Statement) -> None:
    """In every currency, and over all of them."""
    assert made.totals.foots
    assert all(one.foots for one in made.currencies.values())
    assert sum(made.counts.values()) == sum(item.follows is None for item in made.items)


@st.composite
def clean(draw: st.DrawFn) -> Both:
    """A clean book: invoices and credit notes in four currencies, payments over several invoices, leftovers."""
    both = Both()
    totals: dict[int, tuple[str, int]] = {}
    for number in range(1, draw(st.integers(1, 12)) + 1):
        currency, total = draw(st.sampled_from(sorted(RATES))), draw(st.integers(1, 10**9))
        both.invoice(number, currency, total)
        totals[number] = (currency, total)
    for number in range(1, draw(st.integers(0, 5)) + 1):
        both.memo(number, draw(st.sampled_from(sorted(RATES))), draw(st.integers(1, 10**9)))
    for number in range(1, draw(st.integers(0, 6)) + 1):
        currency = draw(st.sampled_from(sorted({one for one, _ in totals.values()})))
        open_ = [one for one, (code, left) in totals.items() if code == currency and left > 0]
        shares: dict[int, int] = {}
        for one in draw(st.lists(st.sampled_from(open_), unique=True, max_size=3)) if open_ else ():
            shares[one] = draw(st.integers(1, totals[one][1]))
            totals[one] = (currency, totals[one][1] - shares[one])
        both.payment(number, currency, shares, draw(st.integers(0, 10**6)) + (not shares))
    return both


@settings(max_examples=40)
@given(both=clean())
def test_a_clean_book_is_zero(both: Both) -> None:
    """Whatever the amounts, currencies and allocations: everything matches and both totals are one."""
    made = both.statement()
    footed(made)
    assert made.counts["matched"] == len(both.books.documents) == len(made.items)
    assert made.totals.ours == made.totals.quickbooks
    assert all(one.ours == one.quickbooks for one in made.currencies.values())


EDITS = ("amount", "cent", "number", "customer", "date", "due", "delete", "void")


def edit(both: Both, entity: str, id_: str, how: str) -> None:
    """One silent edit of an object."""
    raw = both.taken.objects[entity][id_]
    currency = raw["CurrencyRef"]["value"]
    if how == "delete":
        del both.taken.objects[entity][id_]
    elif how == "void":
        raw |= {"TotalAmt": Decimal(0), "Balance": Decimal(0), "PrivateNote": "Voided", "Line": []}
        raw["UnappliedAmt"] = Decimal(0)
    elif how in {"amount", "cent"}:
        more = to_decimal(1 if how == "cent" else 123456, currency)
        raw["TotalAmt"] += more
        if entity == "Payment":
            raw["UnappliedAmt"] += more
    elif how == "number" and entity != "Payment":
        raw["DocNumber"] += "-X"
    elif how == "due" and entity == "Invoice":
        raw["DueDate"] = "2026-12-24"
    elif how == "date":
        raw["TxnDate"] = "2026-10-30"
    else:
        raw["CustomerRef"] = {"value": "77"}


@settings(max_examples=60)
@given(both=clean(), data=st.data())
def test_n_edits_are_n(both: Both, data: st.DataObject) -> None:
    """Any of them, on any objects, strangers included: as many items as edits, each by its name, and it foots."""
    objects = [(one.external_type, one.external_id, f"{one.kind}/{one.id}") for one in both.books.documents]
    chosen = data.draw(st.lists(st.sampled_from(objects), unique=True))
    for entity, id_, _ in chosen:
        edit(both, str(entity), str(id_), data.draw(st.sampled_from(EDITS)))
    expected = [key for _, _, key in chosen]
    for number in range(data.draw(st.integers(0, 3))):
        both.put("Invoice", f"7{number}00", data.draw(st.sampled_from(sorted(RATES))), 100 + number)
        expected.append(f"Invoice:7{number}00")
    made = both.statement()
    footed(made)
    found = [item.key for item in made.listed("unexplained") if item.follows is None]
    assert sorted(found) == sorted(expected)


@settings(max_examples=40)
@given(both=clean(), data=st.data())
def test_a_moved_allocation_is_found_though_no_total_shows_it(both: Both, data: st.DataObject) -> None:
    """Both receivables are the same to the cent, and the payment is found all the same."""
    payments = [raw for raw in both.taken.objects["Payment"].values() if raw["Line"]]
    if not payments:
        return
    raw = data.draw(st.sampled_from(payments))
    raw["Line"][0]["LinkedTxn"][0]["TxnId"] = "555"
    made = both.statement()
    assert [item.key for item in made.listed("unexplained")] == [f"payment/pay-{raw['Id'][1:]}"]
    assert all(one.ours == one.quickbooks for one in made.currencies.values())


def test_another_rate_is_fx_and_nothing_else() -> None:
    """The same euros at another rate: matched in euros, and the difference at home is an item of its own."""
    both = Both()
    both.invoice(1, "EUR", 10000)
    both.taken.objects["Invoice"]["1"]["ExchangeRate"] = Decimal("1.20")
    made = both.statement()
    footed(made)
    assert (made.counts["matched"], made.counts["fx"], made.unexplained) == (1, 1, 0)
    assert (made.totals.ours, made.totals.quickbooks, made.totals.amounts["fx"]) == (11000, 12000, 1000)


def test_a_balance_that_no_document_explains_is_itemised() -> None:
    """An expense or deposit on receivables shows in the customer's balance, and is QuickBooks' own."""
    both = Both()
    both.invoice(1, "USD", 10000)
    both.taken.objects["Customer"]["2"] = {
        "Id": "2",
        "DisplayName": "Cool Cars",
        "Balance": Decimal("125.00"),
    }
    made = both.statement()
    footed(made)
    assert (made.totals.quickbooks, made.totals.amounts["outside_scope"]) == (12500, 2500)


def test_what_cannot_be_read_is_unexplained_and_stops_nothing() -> None:
    """One object with nonsense in it is one item; the others match."""
    both = Both()
    both.invoice(1, "USD", 10000)
    both.invoice(2, "USD", 5000)
    both.taken.objects["Invoice"]["1"]["TotalAmt"] = "much"
    made = both.statement()
    footed(made)
    assert [item.key for item in made.listed("unexplained")] == ["invoice/inv-1"]
    assert made.counts["matched"] == 1
