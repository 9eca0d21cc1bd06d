"""The statement itself: items counted and summed by class, footed to the receivables of both books.

What QuickBooks has more than the PSA is, to the cent, the sum of what the classes account for. Amounts of a
currency are in its minor units; totals over all of them are in the company's home currency, each document at its
own rate and a payment's share at the rate of what it settles, as receivables are kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from messages.money import to_decimal, to_minor
from services.inbound.reconcile.items import CLASSES, Class, Item, Side
from services.inbound.reconcile.period import Period
from services.inbound.reconcile.reading import Target

_ROLL: Final = {
    "invoice": "invoices",
    "credit_note": "credit_notes",
    "payment": "payments",
    "credit_application": "credit_applications",
}

Rates = Mapping[Target, Decimal]


@dataclass(slots=True)
class Totals:
    """Receivables of both books, and what each class accounts for of the difference; minor units of one currency."""

    ours: int = 0
    quickbooks: int = 0
    amounts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))

    @property
    def difference(self) -> int:
        """What QuickBooks has more."""
        return self.quickbooks - self.ours

    @property
    def foots(self) -> bool:
        """Whether the classes account for all of it."""
        return self.difference == sum(self.amounts.values())


@dataclass(slots=True)
class Movement:
    """One line of the roll-forward from the opening to the closing balance, in the home currency."""

    ours: int = 0
    quickbooks: int = 0


@dataclass(slots=True)
class Statement:
    """Receivables of one company at the end of a period, in both books."""

    company_id: UUID
    realm_id: str
    company_name: str
    period: Period
    home: str
    read_at: datetime
    items: list[Item]
    counts: dict[str, int]
    totals: Totals
    currencies: dict[str, Totals]
    roll_forward: dict[str, Movement]
    reads: int = 0
    estimated_reads: int = 0
    statement_id: UUID | None = None

    @property
    def unexplained(self) -> int:
        """How many differences nobody knows the reason of."""
        return self.counts["unexplained"]

    def listed(self, *classes: Class) -> list[Item]:
        """Items of some classes, what follows from another item included, in the order of the classes."""
        order = {name: place for place, name in enumerate(classes or CLASSES)}
        found = [item for item in self.items if item.class_ in order]
        return sorted(found, key=lambda item: (order[item.class_], item.kind, item.key))

    def to_json(self, *, items: bool = True) -> dict[str, Any]:
        """Plain JSON. Keys named like classes are counts; amounts are minor units."""
        told: dict[str, Any] = {
            "statement_id": str(self.statement_id) if self.statement_id else None,
            "company_id": str(self.company_id),
            "realm_id": self.realm_id,
            "company": self.company_name,
            "from": str(self.period.begins) if self.period.begins else None,
            "to": str(self.period.ends),
            "read_at": self.read_at.isoformat(),
            "home_currency": self.home,
            **{name: self.counts[name] for name in CLASSES},
            "ours_total": self.totals.ours,
            "quickbooks_total": self.totals.quickbooks,
            "difference": self.totals.difference,
            "foots": self.totals.foots and all(one.foots for one in self.currencies.values()),
            "amounts": dict(self.totals.amounts),
            "currencies": {code: totals_json(one) for code, one in sorted(self.currencies.items())},
            "roll_forward": {
                name: {"ours": one.ours, "quickbooks": one.quickbooks}
                for name, one in self.roll_forward.items()
            },
            "reads": {"estimated": self.estimated_reads, "actual": self.reads},
        }
        if items:
            told["items"] = [
                item_json(one) for one in self.listed(*(name for name in CLASSES if name != "matched"))
            ]
        return told


def totals_json(one: Totals) -> dict[str, Any]:
    """Totals of one currency as plain JSON."""
    return {
        "ours_total": one.ours,
        "quickbooks_total": one.quickbooks,
        "difference": one.difference,
        "amounts": dict(one.amounts),
    }


def item_json(item: Item) -> dict[str, Any]:
    """One item as plain JSON."""
    return {
        "key": item.key,
        "class": item.class_,
        "kind": item.kind,
        "name": item.name,
        "client_id": item.client_id,
        "customer_id": item.customer,
        "currency": item.currency,
        "billing": _side_json(item.billing),
        "quickbooks": _side_json(item.quickbooks),
        "quickbooks_type": item.target[0] if item.target else None,
        "quickbooks_id": item.target[1] if item.target else None,
        "difference": item.difference,
        "home_difference": item.home_difference,
        "differences": [
            {"field": one.field, "billing": one.billing, "quickbooks": one.quickbooks}
            for one in item.differences
        ],
        "why": item.why,
        "next_step": item.next_step,
        "follows": item.follows,
        "exception_id": str(item.exception_id) if item.exception_id else None,
        "operation_id": str(item.operation_id) if item.operation_id else None,
        "url": item.url,
        "digest": item.digest,
    }


def _side_json(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "id": side.id,
        "number": side.number,
        "date": str(side.date) if side.date else None,
        "amount": side.amount,
        "home": side.home,
    }


def make(
    items: Iterable[Item],
    period: Period,
    *,
    company_id: UUID,
    realm_id: str,
    company_name: str,
    home: str,
    read_at: datetime,
) -> Statement:
    """Cut the items at the period's end, value them, and add them up."""
    kept = [item for item in items if _cut(item, period.ends)]
    kept = _valued(kept, home)
    counts: dict[str, int] = dict.fromkeys(CLASSES, 0)
    totals, currencies = Totals(), defaultdict[str, Totals](Totals)
    roll: dict[str, Movement] = {"opening": Movement()} if period.begins else {}
    for item in kept:
        counts[item.class_] += item.follows is None
        own = currencies[item.currency or home]
        for sum_, here, there in (
            (
                own,
                item.billing.amount if item.billing else 0,
                item.quickbooks.amount if item.quickbooks else 0,
            ),
            (
                totals,
                item.billing.home if item.billing else 0,
                item.quickbooks.home if item.quickbooks else 0,
            ),
        ):
            sum_.ours += here
            sum_.quickbooks += there
            sum_.amounts[item.class_] += there - here
        _roll(roll, item, period)
    roll["closing"] = Movement(totals.ours, totals.quickbooks)
    return Statement(
        company_id=company_id,
        realm_id=realm_id,
        company_name=company_name,
        period=period,
        home=home,
        read_at=read_at,
        items=kept,
        counts=counts,
        totals=totals,
        currencies=dict(currencies),
        roll_forward=roll,
    )


def _cut(item: Item, last: date) -> bool:
    """Take off what happened after the last day; False when nothing is left of the item."""
    dated = late = 0
    for side in (item.billing, item.quickbooks):
        if side is not None and side.date is not None:
            dated += 1
            if side.date > last:
                late += 1
                side.amount, side.legs = 0, ()
    return late < dated or not dated


def _valued(items: Sequence[Item], home: str) -> list[Item]:
    """Give every side its value in the home currency; what differs by rate alone becomes items of its own."""
    here, there, newest = _rates(items)
    found: list[Item] = []
    for item in items:
        found.append(item)
        if item.currency in ("", home):
            for side in (item.billing, item.quickbooks):
                if side is not None:
                    side.home = side.amount
            continue
        usual = newest.get(item.currency, Decimal(0))
        if item.quickbooks is not None:
            item.quickbooks.home = _home(item.quickbooks, item.currency, home, there, usual)
        if item.billing is not None:
            theirs = item.quickbooks.rate if item.quickbooks is not None else None
            own = item.billing.rate or theirs or usual
            item.billing.home = _home(item.billing, item.currency, home, here, own)
        if item.class_ == "matched" and item.difference == 0 and item.home_difference:
            found.append(_fx(item))
    return found


def _fx(item: Item) -> Item:
    """Move a difference that only the rates make into an item of its own."""
    assert item.billing is not None
    assert item.quickbooks is not None
    gap = item.home_difference
    item.quickbooks.home = item.billing.home
    fx = Item(
        key=f"{item.key}/fx",
        kind=item.kind,
        currency=item.currency,
        quickbooks=Side(item.quickbooks.id, item.quickbooks.number, item.quickbooks.date, 0, home=gap),
        target=item.target,
        client_id=item.client_id,
        customer=item.customer,
        name=item.name,
        url=item.url,
    )
    rates = f"{item.billing.rate or 'no rate'} in the PSA, {item.quickbooks.rate} in QuickBooks"
    fx.settle("fx", f"the same amount at another rate: {rates}")
    return fx


def _rates(items: Iterable[Item]) -> tuple[dict[Target, Decimal], dict[Target, Decimal], dict[str, Decimal]]:
    """Rates of documents in the PSA (where it says none, QuickBooks') and in QuickBooks, and of each currency last."""
    here: dict[Target, Decimal] = {}
    there: dict[Target, Decimal] = {}
    newest: dict[str, tuple[date, Decimal]] = {}
    for item in items:
        for side, rates in ((item.billing, here), (item.quickbooks, there)):
            if side is None or side.rate is None:
                continue
            if item.target is not None:
                rates[item.target] = side.rate
            if side.date is not None and side.date >= newest.get(item.currency, (date.min, side.rate))[0]:
                newest[item.currency] = (side.date, side.rate)
    return {**there, **here}, there, {code: rate for code, (_, rate) in newest.items()}


def _home(side: Side, currency: str, home: str, rates: Rates, own: Decimal) -> int:
    own = side.rate or own
    return sum(
        to_minor(to_decimal(leg.amount, currency) * (rates.get(leg.at, own) if leg.at else own), home)
        for leg in side.legs
        if leg.amount
    )


def _roll(roll: dict[str, Movement], item: Item, period: Period) -> None:
    for side, book in ((item.billing, "ours"), (item.quickbooks, "quickbooks")):
        if side is None or not side.home:
            continue
        early = period.begins is not None and side.date is not None and side.date < period.begins
        line = roll.setdefault("opening" if early else _ROLL.get(item.kind, "other"), Movement())
        setattr(line, book, getattr(line, book) + side.home)
