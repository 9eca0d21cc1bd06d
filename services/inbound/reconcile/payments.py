"""Pairing payments: one item for each payment in QuickBooks, against everything of the PSA's that stands on it.

A payment there may be the PSA's own, one the PSA was told of, applications of credit (then its total is zero), or
several of these at once. What the PSA keeps otherwise, money on no invoice of its own, is an item by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from services.inbound.reconcile.documents import KINDS, belongs, money, side, upwards
from services.inbound.reconcile.items import Difference, Item, Leg, Side
from services.inbound.reconcile.ours import Applied, Books, Here, Told
from services.inbound.reconcile.reading import Target
from services.inbound.reconcile.theirs import There

CREDITS = frozenset({"CreditMemo"})


@dataclass(slots=True)
class _Group:
    """What the PSA has on one payment of QuickBooks."""

    own: Here | None = None
    told: Told | None = None
    applications: list[Here] = field(default_factory=list)
    credits: Sequence[Applied] = ()

    @property
    def subjects(self) -> list[tuple[str, str]]:
        """The PSA's documents on it."""
        own = [("payment", self.own.id)] if self.own is not None else []
        return own + [("credit_application", one.id) for one in self.applications]

    @property
    def last_word(self) -> Told | None:
        """What the PSA was told, unless it has said something of its own since."""
        told = self.told
        if told is None or told.state not in {"told", "withdrawn"}:
            return None
        if self.own is None or told.billing_sequence is None:
            return told
        return told if told.billing_sequence >= self.own.applied_sequence else None

    @property
    def living(self) -> list[Here]:
        """Applications of credit that stand on it."""
        return [one for one in self.applications if one.live and one.linked]


@dataclass(slots=True)
class _Expected:
    """How a payment is to stand in QuickBooks, and what of it receivables of the PSA know."""

    money: int = 0
    date: date | None = None
    lines: dict[Target, int] = field(default_factory=dict)
    legs: list[Leg] = field(default_factory=list)
    outside: int = 0
    elsewhere: frozenset[Target] = frozenset()
    unapplied: int = 0

    @property
    def nothing(self) -> bool:
        return not self.money and not self.lines

    def put(self, target: Target, amount: int) -> None:
        self.lines[target] = self.lines.get(target, 0) + amount


def pair(
    books: Books, there: Mapping[Target, There], parents: Mapping[str, str], realm_id: str
) -> Iterator[tuple[Item, There | None]]:
    """An item for every payment, and every application of credit, that is the PSA's or that the PSA was told of."""
    objects = {
        (one.kind, one.id): one.target
        for one in books.documents
        if one.target is not None and (one.live or one.linked)
    }
    payers = {
        one.target: books.customers_of(one.client_id, one.profile, one.currency or "")
        for one in books.documents
        if one.target is not None and one.kind in KINDS
    }
    prepaid = {one.id for one in books.documents if one.prepayment}
    groups: dict[str, _Group] = defaultdict(_Group)
    for one in books.documents:
        if one.kind not in {"payment", "credit_application"}:
            continue
        if one.external_id is None or (one.kind == "credit_application" and not one.linked):
            yield from _alone(one, realm_id)
        elif one.kind == "payment":
            groups[one.external_id].own = one
        else:
            groups[one.external_id].applications.append(one)
            yield from _from_prepayment(one)
    for id_, told in books.beliefs.items():
        if told.state in {"told", "withdrawn"}:
            groups[id_].told = told
    for id_, credits_ in books.credits.items():
        groups[id_].credits = credits_
    for id_, group in groups.items():
        found = there.get(("Payment", id_))
        expected = _expect(group, objects, prepaid)
        if expected.nothing and (found is None or found.void):
            continue
        yield _compared(id_, group, expected, found, books, there, payers, parents, realm_id), found
        if found is not None and not found.void and found.unreadable is None:
            yield from _kept_otherwise(id_, group, expected, found)


def _expect(group: _Group, objects: Mapping[tuple[str, str], Target], prepaid: set[str]) -> _Expected:
    expected, own, told = _Expected(), group.own, group.last_word
    if told is not None:
        if told.state == "told":
            expected.money, expected.date = told.amount, told.date
            for lines in (told.allocations, told.outside):
                for placed, amount in lines.items():
                    expected.put(placed, amount)
            expected.legs = [Leg(-amount, placed) for placed, amount in told.allocations.items()]
            expected.elsewhere = frozenset(told.outside)
            expected.outside, expected.unapplied = sum(told.outside.values()), told.unapplied
    elif own is not None and own.live:
        expected.money, expected.date = own.total or 0, own.date
        for invoice_id, amount in own.allocations:
            target = objects.get(("invoice", invoice_id))
            if target is not None and invoice_id not in prepaid:
                expected.put(target, amount)
                expected.legs.append(Leg(-amount, target))
        rest = -expected.money - sum(leg.amount for leg in expected.legs)
        expected.legs.append(Leg(rest))
    for one in group.living:
        amount, invoice = one.total or 0, objects.get(("invoice", one.invoice_id or ""))
        if invoice is not None:
            expected.put(invoice, amount)
        if one.source_kind == "credit_note":
            memo = objects.get(("credit_note", one.source_id or ""))
            if memo is not None:
                expected.put(memo, amount)
            expected.legs += [Leg(-amount, invoice), Leg(amount, memo)]
        expected.date = expected.date or one.date
    for use in group.credits:
        expected.put(use.credit, use.amount)
        expected.put(use.invoice, use.amount)
        expected.legs += [Leg(-use.amount, use.invoice), Leg(use.amount, use.credit)]
    return expected


def _compared(
    id_: str,
    group: _Group,
    expected: _Expected,
    found: There | None,
    books: Books,
    there: Mapping[Target, There],
    payers: Mapping[Target, set[str]],
    parents: Mapping[str, str],
    realm_id: str,
) -> Item:
    item = _item(id_, group, expected, found, realm_id)
    if found is None:
        item.differences = (Difference("document", "there", "not there"),)
        return item
    item.quickbooks = _side(found, expected)
    if found.unreadable is not None:
        item.differences = (Difference("figures", None, found.unreadable),)
    elif found.void or expected.nothing:
        live, void = ("live", "void") if found.void else ("void", "live")
        item.differences = (Difference("void", live, void),)
    else:
        fields = [*_fields(expected, found, there), *_payer(group, expected, found, books, payers, parents)]
        item.differences = tuple(fields)
        item.moved = _moved(expected, found)
    return item


def _fields(expected: _Expected, found: There, there: Mapping[Target, There]) -> Iterator[Difference]:
    if -found.amount != expected.money:
        ours, theirs = money(expected.money, found.currency), money(-found.amount, found.currency)
        yield Difference("amount", ours, theirs)
    if expected.date is not None and expected.date != found.date and expected.money:
        yield Difference("date", str(expected.date), str(found.date))
    for target in _moved(expected, found):
        known = there.get(target)
        number = known.number if known is not None and known.number else target[1]
        both = (expected.lines.get(target, 0), found.lines.get(target, 0))
        said = [money(amount, found.currency) if amount else None for amount in both]
        yield Difference(f"applied to {target[0]} {number}", *said)


def _moved(expected: _Expected, found: There) -> dict[Target, int]:
    """How much more it puts on each document in QuickBooks than the PSA has it."""
    targets = sorted({*expected.lines, *found.lines})
    moved = {one: found.lines.get(one, 0) - expected.lines.get(one, 0) for one in targets}
    return {target: amount for target, amount in moved.items() if amount}


def _payer(
    group: _Group,
    expected: _Expected,
    found: There,
    books: Books,
    payers: Mapping[Target, set[str]],
    parents: Mapping[str, str],
) -> Iterator[Difference]:
    """A customer of what it settles, or the client's own; one above or below them pays for them too."""
    client = group.own.client_id if group.own is not None else group.told.client_id if group.told else None
    may_be = set(books.customers_of(client, None, found.currency))
    may_be.update(*(payers.get(target, ()) for target in expected.lines))
    if group.told is not None and group.told.customer_id:
        may_be.add(group.told.customer_id)
    above = {one for customer in may_be for one in upwards(customer, parents)}
    if may_be and found.customer not in above and not belongs(found.customer, may_be, parents):
        yield Difference("customer", ", ".join(sorted(may_be)), found.customer)


def _kept_otherwise(
    id_: str, group: _Group, expected: _Expected, found: There
) -> Iterator[tuple[Item, None]]:
    """Parts of a payment of QuickBooks that are on no invoice of the PSA's, as the PSA was told."""
    for part, amount, class_, why in (
        ("outside", expected.outside, "outside_scope", "on documents of QuickBooks that are not the PSA's"),
        ("unapplied", expected.unapplied, "unapplied", "received in QuickBooks and on no invoice yet"),
    ):
        if not amount:
            continue
        there = Side(id_, found.number, found.date, -amount, legs=(Leg(-amount),), rate=found.rate)
        item = Item(
            key=f"Payment:{id_}/{part}",
            kind="payment",
            currency=found.currency,
            quickbooks=there,
            target=found.target,
            client_id=group.told.client_id if group.told is not None else None,
            customer=found.customer,
            name=found.customer_name or "",
        )
        item.settle("outside_scope" if class_ == "outside_scope" else "unapplied", why)
        yield item, None


def _side(found: There, expected: _Expected) -> Side:
    """What of a payment is not an item by itself."""
    if found.void or found.unreadable is not None:
        return side(found)
    amount = found.amount + expected.outside + expected.unapplied
    legs = [
        Leg(value if target[0] in CREDITS else -value, target)
        for target, value in found.lines.items()
        if target not in expected.elsewhere
    ]
    rest = amount - sum(leg.amount for leg in legs)
    return Side(found.id, found.number, found.date, amount, legs=(*legs, Leg(rest)), rate=found.rate)


def _item(id_: str, group: _Group, expected: _Expected, found: There | None, realm_id: str) -> Item:
    own, told = group.own, group.told
    first = own or (group.applications[0] if group.applications else None)
    amount = sum(leg.amount for leg in expected.legs)
    currency = (first.currency if first else None) or (told.currency if told else None)
    return Item(
        key=f"{first.kind}/{first.id}" if first is not None else f"Payment:{id_}",
        kind="payment" if own is not None or expected.money else "credit_application",
        currency=currency or (found.currency if found is not None else ""),
        billing=Side(
            first.id if first is not None else f"{realm_id}/{id_}",
            own.number if own is not None else None,
            expected.date,
            amount,
            legs=tuple(expected.legs),
            rate=own.rate if own is not None else None,
        ),
        target=("Payment", id_),
        client_id=(first.client_id if first else None) or (told.client_id if told else None),
        customer=found.customer if found is not None else None,
        name=(found.customer_name if found is not None else None) or (first.client_name if first else ""),
        about=(*group.subjects, ("quickbooks_payment", f"{realm_id}/{id_}")),
    )


def _alone(one: Here, realm_id: str) -> Iterator[tuple[Item, None]]:
    """A payment or application that is not in QuickBooks, or not any more."""
    if not one.live:
        return
    if one.kind == "payment" and one.provider == "quickbooks":
        return  # the PSA repeats what it was told
    if one.kind == "credit_application" and one.source_kind not in {"credit_note", "prepayment"}:
        return  # entered by hand in QuickBooks; it is an item of its own
    total = one.total or 0
    amount = -total if one.kind == "payment" or one.source_kind == "prepayment" else 0
    about = [(one.kind, one.id)]
    if one.external_id is not None:
        about.append(("quickbooks_payment", f"{realm_id}/{one.external_id}"))
    item = Item(
        key=f"{one.kind}/{one.id}",
        kind=one.kind,
        currency=one.currency or "",
        billing=Side(one.id, one.number, one.date, amount, legs=(Leg(amount),), rate=one.rate),
        target=one.target,
        client_id=one.client_id,
        name=one.client_name,
        about=tuple(about),
        differences=(Difference("document", "there", "not there"),),
    )
    yield item, None


def _from_prepayment(one: Here) -> Iterator[tuple[Item, None]]:
    """Money paid in advance, put on an invoice: the PSA's invoice is settled by it, QuickBooks had the money before."""
    if not one.live or one.source_kind != "prepayment":
        return
    amount = -(one.total or 0)
    item = Item(
        key=f"credit_application/{one.id}/prepaid",
        kind="credit_application",
        currency=one.currency or "",
        billing=Side(one.id, None, one.date, amount, legs=(Leg(amount),), rate=one.rate),
        client_id=one.client_id,
        name=one.client_name,
    )
    item.settle("unapplied", "settled by money that was paid in advance and is in QuickBooks already")
    yield item, None
