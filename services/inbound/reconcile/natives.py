"""What only QuickBooks has: its own documents, or something that somebody slipped in.

The change feed passes everything by once. What it has passed, and what was there before us, is QuickBooks' own
business; what came after that, for a client of the PSA, nobody has told us of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from messages.money import to_decimal
from services.inbound.reconcile.documents import belongs, side
from services.inbound.reconcile.items import Difference, Item, Leg, Side
from services.inbound.reconcile.ours import Books
from services.inbound.reconcile.reading import Target
from services.inbound.reconcile.theirs import There

NOUNS: Final = {
    "Invoice": "invoice",
    "CreditMemo": "credit_note",
    "Payment": "payment",
    "JournalEntry": "journal_entry",
}
_UNTOLD: Final = (Difference("document", None, "there"),)


@dataclass(frozen=True, slots=True)
class Horizon:
    """What is known of the past: when we came, how far the change feed was read, and the cutover."""

    begins: datetime
    seen_until: datetime
    cutover: date | None

    def before(self, moment: datetime | None, limit: datetime) -> bool:
        """Whether an object was stamped before a limit; stamps are whole seconds, and may be rounded up."""
        return moment is None or moment <= limit + timedelta(seconds=1)


def of(
    there: Mapping[Target, There],
    claimed: Collection[Target],
    books: Books,
    parents: Mapping[str, str],
    horizon: Horizon,
    realm_id: str,
) -> Iterator[tuple[Item, There]]:
    """An item for everything in QuickBooks that no other item speaks of."""
    owned = {one.target for one in books.documents if one.kind in {"invoice", "credit_note"} and one.linked}
    mapped = books.mapped
    for target, one in there.items():
        if target in claimed or (one.void and not one.amount):
            continue
        item = _item(one, realm_id)
        linked = belongs(one.customer, mapped, parents)
        if one.unreadable is not None:
            item.differences = (Difference("figures", None, one.unreadable),)
        elif target in books.drafts:
            item.settle("timing", "a draft whose tax QuickBooks computes; it is removed at once")
        elif one.entity == "JournalEntry":
            item.settle("outside_scope", "a journal entry on receivables")
        elif one.entity == "Payment":
            _payment(item, one, books, owned, horizon, linked=linked)
        elif not linked:
            item.settle("outside_scope", "of a customer who stands for no client")
        elif horizon.before(one.created_at, horizon.seen_until):
            item.settle("outside_scope", _native(one, horizon))
        else:
            item.differences = _UNTOLD
        yield item, one


def by_hand(books: Books) -> Iterator[Item]:
    """What people carry out in QuickBooks: open while its exception is, accepted once they have said so."""
    for one in books.by_hand:
        if not one.amount or one.memo is not None:
            continue
        item = Item(
            key=f"{one.kind}/{one.id}/{one.event}/{one.operation_id}",
            kind="by_hand",
            currency=one.currency,
            billing=Side(one.id, one.number, one.date, one.amount, legs=(Leg(one.amount),)),
            client_id=one.client_id,
        )
        ended = one.state in {"discarded", "skipped", "succeeded"} or one.exception_state == "ignored"
        if ended:
            said = one.resolution or one.reason or "entered by hand"
            item.settle("accepted", f"{one.event}: {said}", operation_id=one.operation_id)
        elif one.state == "failed":
            item.settle(
                "open_exceptions",
                f"{one.event}: {one.reason or 'to be entered in QuickBooks by hand'}",
                exception_id=one.exception_id,
                operation_id=one.operation_id,
            )
        else:
            said = f"{one.event} is {one.state}" + (f": {one.reason}" if one.reason else "")
            item.settle("timing", said, operation_id=one.operation_id)
        yield item


def postings(
    owed: Mapping[str, tuple[str, int]], there: Mapping[Target, There], home: str, today: date
) -> Iterator[Item]:
    """What a customer owes by QuickBooks' own word beyond all documents: expenses, cheques, deposits on receivables."""
    known: dict[str, int] = {}
    for one in there.values():
        if one.currency == home and one.customer is not None:
            known[one.customer] = known.get(one.customer, 0) + one.amount
    for customer, (name, balance) in owed.items():
        rest = balance - known.get(customer, 0)
        if not rest:
            continue
        item = Item(
            key=f"Customer:{customer}/other",
            kind="other",
            currency=home,
            quickbooks=Side(customer, None, today, rest, legs=(Leg(rest),)),
            target=("Customer", customer),
            customer=customer,
            name=name,
        )
        said = f"its balance is {to_decimal(balance, home)}, its documents make {to_decimal(balance - rest, home)}"
        item.settle("outside_scope", f"an expense, cheque or deposit on receivables: {said}")
        yield item


def _payment(
    item: Item, one: There, books: Books, owned: Collection[Target | None], horizon: Horizon, *, linked: bool
) -> None:
    touches = any(target in owned for target in one.lines)
    told = books.beliefs.get(one.id)
    old = horizon.before(one.created_at, horizon.begins)
    if told is not None and told.state == "ignored" and not touches:
        item.settle("outside_scope", f"no business of the PSA: {told.code}")
    elif told is not None and told.state == "held":
        item.differences = _UNTOLD
    elif not touches and not linked:
        item.settle("outside_scope", "of a customer who stands for no client")
    elif not touches and not one.amount:
        item.settle("outside_scope", "applies QuickBooks' own credit to its own documents")
    elif old:
        item.settle("outside_scope", "received before algasync was connected")
    else:
        item.differences = _UNTOLD


def _native(one: There, horizon: Horizon) -> str:
    if horizon.cutover is not None and one.date is not None and one.date < horizon.cutover:
        return f"from before the cutover of {horizon.cutover}, and not linked"
    return "made in QuickBooks, not by the PSA"


def _item(one: There, realm_id: str) -> Item:
    kind = NOUNS[one.entity]
    about = [(f"quickbooks_{kind.replace('credit_note', 'credit_memo')}", f"{realm_id}/{one.id}")]
    if one.entity == "Payment" and one.customer is not None:
        about.append(("quickbooks_customer", f"{realm_id}/{one.customer}"))
    return Item(
        key=f"{one.entity}:{one.id}",
        kind=kind,
        currency=one.currency,
        quickbooks=side(one),
        target=one.target,
        customer=one.customer,
        name=one.customer_name or "",
        about=tuple(about),
    )
