"""The feed: what we told billing, read by cursor. Whoever was away catches up from where it stopped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

_PAGE: Final = text(
    """SELECT position, event_id, type, body FROM accounting_event
        WHERE tenant_id = :tenant AND position > :after ORDER BY position LIMIT :limit"""
)
# With a filter the cursor moves past what it leaves out, as far as this statement saw.
_FILTERED: Final = text(
    """SELECT p.position, p.event_id, p.type, p.body, seen.last
         FROM (SELECT max(position) AS last FROM accounting_event
                WHERE tenant_id = :tenant AND position > :after) AS seen
         LEFT JOIN LATERAL (
           SELECT position, event_id, type, body FROM accounting_event
            WHERE tenant_id = :tenant AND position > :after AND type = ANY (CAST(:types AS text[]))
            ORDER BY position LIMIT :limit) AS p ON true
        ORDER BY p.position"""
)
_DROPPED: Final = text("SELECT through FROM accounting_event_dropped")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: `position` is the cursor behind it, `body` its CloudEvents JSON, byte for byte."""

    position: int
    event_id: UUID
    type: str
    body: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events after a cursor, oldest first, and the cursor to go on from.

    `complete` is False when events after the asked cursor were dropped unread (they are kept for 30 days): then the
    reader must compare its books some other way. Starting at 0 asks for what is kept, and is always complete.
    """

    entries: tuple[Entry, ...]
    after: int
    complete: bool


def read(
    connection: Connection, tenant: str, after: int = 0, limit: int = 100, types: Collection[str] = ()
) -> Page:
    """Return up to `limit` events of `tenant` behind the cursor `after`; of these types (routing keys), or of all.

    Positions become visible in their order: whatever commits later stands behind every page read before.
    """
    dropped = connection.execute(_DROPPED).scalar_one()
    complete = after == 0 or after >= dropped
    values = {"tenant": tenant, "after": after, "limit": limit, "types": sorted(types)}
    rows = connection.execute(_FILTERED if types else _PAGE, values).all()
    entries = tuple(Entry(*row[:4]) for row in rows if row.position is not None)
    last = entries[-1].position if entries else after
    if types and len(entries) < limit:
        last = rows[0].last or after
    return Page(entries, last, complete)
