"""Reading a company's receivables anew: every invoice, credit memo, payment, journal entry and customer's balance.

Nothing that we remember takes part. What was changed while the pages came in is read once more by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.inbound.reconcile.cost import ACCOUNTS, QUERIES, Look
from services.inbound.sightings import reference
from services.quickbooks import calls
from services.quickbooks.pages import Pages
from services.quickbooks.query import PAGE, select
from services.quickbooks.reply import Reply

Raw = Mapping[str, Any]
Target = tuple[str, str]
"""Type and id of an object in QuickBooks, such as ("Invoice", "71")."""

Progress = Callable[[str, int, int], None]
"""Hears the entity, how many rows of it came, and how many there are to be (0: not known)."""


@dataclass(slots=True)
class Taken:
    """What was read: objects by entity and id as QuickBooks sent them, the receivables accounts, and its cost."""

    objects: dict[str, dict[str, Raw]] = field(default_factory=dict)
    receivables: frozenset[str] = frozenset()
    reads: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Rows by entity."""
        return {entity: len(rows) for entity, rows in self.objects.items()}

    @property
    def currency(self) -> str | None:
        """The currency of anything that was read, for a company whose own is not known yet."""
        rows = (raw for rows in self.objects.values() for raw in rows.values())
        return next((found for raw in rows if (found := reference(raw.get("CurrencyRef")))), None)


def read(
    look: Look,
    taken: Taken,
    *,
    expected: Mapping[str, int] | None = None,
    progress: Progress = lambda *_: None,
    size: int = PAGE,
) -> None:
    """Read everything, in full pages, into `taken`. Errors of the wire pass through."""
    for entity, wanted in QUERIES.items():
        pages, rows = Pages(wanted, size), dict[str, Raw]()
        while call := pages.next():
            reply = _look(look, taken, call)
            fresh = {one.id for one in pages.take(reply)}
            rows |= {str(raw["Id"]): raw for raw in _rows(reply) if str(raw["Id"]) in fresh}
            progress(entity, len(rows), (expected or {}).get(entity, 0))
        taken.objects[entity] = rows
    if taken.objects["JournalEntry"]:
        taken.receivables = frozenset(
            str(raw["Id"]) for raw in _rows(_look(look, taken, calls.query(ACCOUNTS)))
        )


def again(look: Look, taken: Taken, targets: Iterable[Target]) -> None:
    """Read some objects once more; those that are not there any more are not there afterwards."""
    by_entity: dict[str, list[str]] = {}
    for entity, id_ in sorted(set(targets)):
        by_entity.setdefault(entity, []).append(id_)
    for entity, ids in by_entity.items():
        rows = taken.objects.setdefault(entity, {})
        for id_ in ids:
            rows.pop(id_, None)
        for wanted in select(entity).each_in("Id", ids):
            rows |= {str(raw["Id"]): raw for raw in _rows(_look(look, taken, calls.query(wanted)))}


def _rows(reply: Reply) -> list[Raw]:
    return reply.data["QueryResponse"].get(reply.call.entity) or []


def _look(look: Look, taken: Taken, call: Any) -> Reply:
    reply = look(call)
    taken.reads += reply.call.reads
    return reply
