"""Publishing again what was refused, or what nobody took over in time: finding the rows whose time has come.

As in `store`, a floor that only moves forward keeps finished rows out of what is read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from outbox.store import Connection, Event

# now() and not clock_timestamp(): only what is fixed for a statement can bound the part of an index that is read
_FIRST_DUE: Final = """
    SELECT due_at IS NOT NULL, least(due_at, now() - interval '1 minute')::text
      FROM (SELECT min(due_at) FROM outbox_event
             WHERE due_at >= %s::text::timestamptz AND due_at <= now()) AS first (due_at)
"""
_LOCK_DUE: Final = """
    SELECT event_id::text, published_at IS NOT NULL FROM outbox_event
     WHERE due_at >= %s::text::timestamptz AND due_at <= now()
     ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
_MORE_UNDER_WAY_THAN: Final = """
    SELECT count(*) > %(depth)s FROM (
      SELECT FROM outbox_event WHERE due_at IS NOT NULL AND published_at IS NOT NULL AND exchange = 'billing'
       LIMIT %(depth)s + 1) AS counted
"""
_POSTPONE: Final = """
    UPDATE outbox_event SET
           due_at = clock_timestamp()
                    + interval '1 second' * least(%(first)s * 2 ^ least(publications, 30), %(longest)s)
     WHERE event_id = ANY (%(ids)s::text[]::uuid[])
"""
_CLAIM_DUE: Final = """
    UPDATE outbox_event
       SET publications = publications + 1, published_at = clock_timestamp(),
           due_at = clock_timestamp()
                    + interval '1 second' * least(%(first)s * 2 ^ least(publications, 30), %(longest)s)
     WHERE event_id = ANY (%(ids)s::text[]::uuid[])
    RETURNING event_id::text, tenant_id, exchange, xid::text::bigint, id, type, convert_to(body, 'UTF8'), traceparent
"""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a published row that nobody took over is published again: after `first` seconds, doubling to `longest`."""

    first: float = 180.0
    longest: float = 3600.0


@dataclass(frozen=True, slots=True)
class Due:
    """Locked rows whose time has come."""

    published: list[str]
    refused: list[str]


def first_due(connection: Connection, floor: str) -> tuple[bool, str]:
    """Whether anything is due, and the floor from which to look next time.

    Whoever sets a due time commits within a minute, so a floor a minute back passes nothing.
    """
    row = connection.execute(_FIRST_DUE, (floor,)).fetchone()
    assert row is not None
    return row[0], row[1]


def lock_due(connection: Connection, floor: str, limit: int) -> Due:
    """Lock up to `limit` rows that are due, those that waited longest first."""
    due = Due([], [])
    for event_id, published in connection.execute(_LOCK_DUE, (floor, limit)):
        (due.published if published else due.refused).append(event_id)
    return due


def more_under_way_than(connection: Connection, depth: int) -> bool:
    """Whether more billing events are published and not taken over than `depth`."""
    row = connection.execute(_MORE_UNDER_WAY_THAN, {"depth": depth}).fetchone()
    assert row is not None
    return bool(row[0])


def postpone(connection: Connection, event_ids: Sequence[str], schedule: Schedule) -> None:
    """Give locked rows another interval without publishing them: they lie in the queue still."""
    connection.execute(
        _POSTPONE, {"ids": list(event_ids), "first": schedule.first, "longest": schedule.longest}
    )


def claim_due(connection: Connection, event_ids: Collection[str], schedule: Schedule) -> list[Event]:
    """Mark locked rows as published once more."""
    values = {"ids": list(event_ids), "first": schedule.first, "longest": schedule.longest}
    return [Event._make(row) for row in connection.cursor(binary=True).execute(_CLAIM_DUE, values)]
