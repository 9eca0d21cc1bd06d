"""The whole of both books, item by item: paired, compared, explained. Pure but for what it is told to look up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date

from services.inbound.reconcile import documents, explaining, natives, payments, theirs
from services.inbound.reconcile.circumstances import Circumstances
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.natives import Horizon
from services.inbound.reconcile.ours import Books
from services.inbound.reconcile.reading import Taken
from services.inbound.reconcile.theirs import There

Around = Callable[[Iterable[Item]], Circumstances]
"""Looks up what is known around items that differ."""


def match(
    books: Books, taken: Taken, around: Around, horizon: Horizon, *, home: str, realm_id: str, today: date
) -> list[Item]:
    """Every item of both books, settled."""
    there, parents = theirs.of(taken, home), theirs.parents(taken)
    pairs: list[tuple[Item, There | None]] = [
        *documents.pair(books, there, parents, realm_id),
        *documents.written_off(books, there, realm_id),
        *documents.offsets(books, there, realm_id),
        *payments.pair(books, there, parents, realm_id),
    ]
    claimed = {item.target for item, _ in pairs if item.quickbooks is not None and item.target is not None}
    pairs += natives.of(there, claimed, books, parents, horizon, realm_id)
    differing = [(item, found) for item, found in pairs if item.differences and item.class_ == "matched"]
    known = around([item for item, _ in differing])
    for item, found in differing:
        explaining.explain(item, found, known, horizon, home)
    items = [item for item, _ in pairs]
    explaining.fold(items)
    items += [*documents.settled_before(books), *natives.by_hand(books)]
    items += natives.postings(theirs.balances(taken, home), there, home, today)
    return items


def suspicious(items: Iterable[Item]) -> set[tuple[str, str]]:
    """Objects behind items that nobody can explain: they are read once more before anybody is alarmed."""
    return {
        item.target
        for item in items
        if item.class_ == "unexplained" and item.target is not None and item.target[0] in natives.NOUNS
    }
