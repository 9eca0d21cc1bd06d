"""The relay's statements: what is new, claiming it, what became of it, and forgetting what arrived.

All of them find rows by an index position that only moves forward, or by primary key. None walks over rows that are
finished already, so a snapshot that somebody holds elsewhere (a dump, a report) does not slow them down, although
PostgreSQL may not remove those rows while it lasts. Statistics know nothing of that, so a statement asks for an order
that only the right index has: NULLS FIRST is that of `outbox_event_fresh`, and no column is ever null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

import psycopg

EXCHANGES: Final = ("billing", "accounting")
END: Final = 2**63 - 1

_RELAYS: Final = 0x6F75_7462  # advisory lock that every relay shares ("outb")

Connection = psycopg.Connection[tuple[Any, ...]]


class Stream(NamedTuple):
    """One tenant's events for one exchange; the relay is fair between streams."""

    tenant: str
    exchange: str


class Position(NamedTuple):
    """A place in the order in which the relay reads: transaction, then row."""

    xid: int
    id: int


START: Final = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Seen:
    """How far everything committed has been noticed: all up to `position` but what `missing` transactions wrote.

    Those were in progress when that place was passed. A row carries the number of the transaction that wrote it, so
    each can be asked for by name until it has ended, and no row is ever looked for twice.
    """

    position: Position = START
    missing: tuple[int, ...] = ()


class Event(NamedTuple):
    """One claimed row, in the order of the columns."""

    event_id: str
    tenant: str
    exchange: str
    xid: int
    id: int
    type: str
    body: bytes
    traceparent: str | None


@dataclass(slots=True)
class Claim:
    """Events locked and marked in an open transaction, in the order in which they were written.

    `counts` says how many of each stream. `passed` says to where the floor of a stream may move: not past rows that
    another relay holds, for if that one dies, they are to be found.
    """

    events: list[Event] = field(default_factory=list)
    counts: dict[Stream, int] = field(default_factory=dict)
    passed: dict[Stream, Position] = field(default_factory=dict)


class Wanted(NamedTuple):
    """How much to claim of a stream, and from where on."""

    stream: Stream
    floor: Position
    room: int


_DISCOVER: Final = """
    WITH page AS MATERIALIZED (
      SELECT tenant_id, exchange, xid, id FROM outbox_event
       WHERE due_at IS NULL AND (xid, id) > (%(xid)s::text::xid8, %(id)s)
       ORDER BY xid NULLS FIRST, id NULLS FIRST LIMIT %(limit)s
    )
    SELECT 'new', tenant_id, exchange, NULL, NULL::bigint FROM page GROUP BY tenant_id, exchange
     UNION ALL
    SELECT 'late', e.tenant_id, e.exchange, m.xid::text, NULL
      FROM unnest(%(missing)s::text[]::xid8[]) AS m (xid)
     CROSS JOIN LATERAL (
       SELECT tenant_id, exchange FROM outbox_event o
        WHERE o.due_at IS NULL AND o.xid = m.xid
        ORDER BY o.xid NULLS FIRST, o.id NULLS FIRST LIMIT 1000000) AS e
     GROUP BY e.tenant_id, e.exchange, m.xid
     UNION ALL
    (SELECT 'last', NULL, NULL, xid::text, id FROM page ORDER BY xid DESC, id DESC LIMIT 1)
     UNION ALL
    SELECT 'snapshot', pg_current_snapshot()::text, NULL, NULL, (SELECT count(*) FROM page)
"""


def discover(connection: Connection, seen: Seen, limit: int = 20_000) -> tuple[dict[Stream, Position], Seen]:
    """Notice what was committed since `seen`: streams with where to read them from, and the new `seen`."""
    values = {
        "xid": str(seen.position.xid),
        "id": seen.position.id,
        "missing": [str(xid) for xid in seen.missing],
        "limit": limit,
    }
    streams: dict[Stream, Position] = {}
    last, snapshot, count = START, "", 0
    for kind, first, exchange, xid, number in connection.execute(_DISCOVER, values):
        if kind == "snapshot":
            snapshot, count = first, number
        elif kind == "last":
            last = Position(int(xid), number)
        else:
            stream = Stream(first, exchange)
            place = seen.position if kind == "new" else Position(int(xid), 0)
            streams[stream] = min(place, streams.get(stream, place))
    _, after, running = snapshot.split(":")
    if count < limit:
        last = Position(int(after) - 1, END)
    return streams, Seen(
        last, tuple(xid for xid in map(int, filter(None, running.split(","))) if xid <= last.xid)
    )


_PENDING: Final = """
    SELECT w.tenant_id, w.exchange
      FROM unnest(%s::text[], %s::text[], %s::text[]::xid8[], %s::bigint[]) AS w (tenant_id, exchange, xid, id)
     CROSS JOIN LATERAL (
       SELECT FROM outbox_event e
        WHERE e.tenant_id = w.tenant_id AND e.exchange = w.exchange AND e.due_at IS NULL
          AND (e.xid, e.id) > (w.xid, w.id)
        ORDER BY e.xid, e.id LIMIT 1) AS left_over
"""


def pending(connection: Connection, streams: dict[Stream, Position]) -> set[Stream]:
    """Return which of the streams have something unpublished beyond their floor, locked by somebody or not."""
    arguments = _columns((*stream, str(floor.xid), floor.id) for stream, floor in streams.items())
    return {Stream(*row) for row in connection.execute(_PENDING, arguments)}


# `seen` without locks, so that rows which another relay holds are noticed: a floor must never pass them. The rows are
# marked before they are published, and the transaction commits after: if it does not, they were never marked. A row is
# found again by its place (ctid), which the lock keeps; `due_at IS NULL` is put so that no partial index matches it.
_CLAIM: Final = """
    WITH seen AS MATERIALIZED (
      SELECT w.tenant_id, w.exchange, e.place
        FROM unnest(%s::text[], %s::text[], %s::text[]::xid8[], %s::bigint[], %s::integer[])
             AS w (tenant_id, exchange, xid, id, room)
       CROSS JOIN LATERAL (
         SELECT e.ctid AS place FROM outbox_event e
          WHERE e.tenant_id = w.tenant_id AND e.exchange = w.exchange AND e.due_at IS NULL
            AND (e.xid, e.id) > (w.xid, w.id)
          ORDER BY e.xid, e.id LIMIT w.room) AS e
    ), locked AS MATERIALIZED (
      SELECT o.ctid AS place FROM outbox_event o
       WHERE o.ctid = ANY (ARRAY(SELECT place FROM seen)) AND coalesce(o.due_at, '-infinity') = '-infinity'
         FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE outbox_event o SET published_at = clock_timestamp(), publications = 1,
             due_at = clock_timestamp() + %s * interval '1 second'
       WHERE o.ctid = ANY (ARRAY(SELECT place FROM locked))
      RETURNING o.event_id::text, o.tenant_id, o.exchange, o.xid::text::bigint, o.id, o.type,
                convert_to(o.body, 'UTF8'), o.traceparent
    )
    SELECT * FROM claimed
     UNION ALL
    SELECT NULL, tenant_id, exchange, NULL, count(*), NULL, NULL, NULL FROM seen GROUP BY tenant_id, exchange
"""


def claim(connection: Connection, wanted: Sequence[Wanted], interval: float) -> Claim:
    """Lock new rows of several streams and mark them published, due again after `interval` seconds."""
    arguments = _columns((*stream, str(floor.xid), floor.id, room) for stream, floor, room in wanted)
    rows = connection.cursor(binary=True).execute(_CLAIM, (*arguments, interval)).fetchall()
    seen = {Stream(row[1], row[2]): row[4] for row in rows if row[0] is None}
    events = sorted(map(Event._make, (row for row in rows if row[0] is not None)), key=_written_at)
    counts = Counter(map(_stream_of, events))
    last = {_stream_of(event): event for event in events}
    return Claim(
        events,
        {Stream(*key): count for key, count in counts.items()},
        {
            Stream(*key): Position(*_written_at(last[key]))
            for key in last
            if counts[key] == seen[Stream(*key)]
        },
    )


_stream_of: Final[Callable[[Event], tuple[str, str]]] = itemgetter(1, 2)
_written_at: Final[Callable[[Event], tuple[int, int]]] = itemgetter(3, 4)


# --- what became of the claimed rows, inside the transaction that claimed them ---

_PUT_BACK: Final = """
    UPDATE outbox_event SET publications = publications - 1,
           published_at = CASE WHEN publications > 1 THEN published_at END,
           due_at = CASE WHEN publications > 1 OR failures > 0 THEN clock_timestamp() END
     WHERE event_id = ANY (%s::text[]::uuid[])
"""
_FAILED: Final = """
    UPDATE outbox_event SET publications = publications - 1, failures = failures + 1,
           published_at = CASE WHEN publications > 1 THEN published_at END,
           due_at = clock_timestamp() + least(2 ^ least(failures, 30), %s) * interval '1 second'
     WHERE event_id = ANY (%s::text[]::uuid[])
"""
_TO_FEED: Final = "SELECT accounting_event_append(%s::text[]::uuid[])"


def put_back(connection: Connection, event_ids: Sequence[str]) -> None:
    """Leave rows as they were before they were claimed: nobody knows whether the broker has them."""
    connection.execute(_PUT_BACK, (list(event_ids),))


def failed(connection: Connection, event_ids: Sequence[str], longest: float) -> None:
    """Have rows that the broker returned or refused wait: 1 s, 2 s, 4 s, at most `longest` seconds."""
    connection.execute(_FAILED, (longest, list(event_ids)))


def move_to_feed(connection: Connection, event_ids: Sequence[str]) -> None:
    """Take confirmed accounting events out of the outbox and into the feed."""
    connection.execute(_TO_FEED, (list(event_ids),))


# --- forgetting what arrived: the baton rule ---

_UNDER_WAY: Final = """
    SELECT event_id::text, tenant_id FROM outbox_event
     WHERE due_at IS NOT NULL AND published_at IS NOT NULL AND exchange = 'billing'
"""
# One look by key for each event, whatever the planner believes: a subquery with LIMIT is never made a join, and a plan
# made while the tables were empty (a new installation's) stays as good as any.
_SWEEP: Final = """
    WITH asked AS MATERIALIZED (
      SELECT a.event_id, o.place, e.settled
        FROM unnest(%(ids)s::text[]::uuid[]) AS a (event_id)
        LEFT JOIN LATERAL (
          SELECT ctid AS place FROM outbox_event WHERE event_id = a.event_id LIMIT 1) AS o ON true
        LEFT JOIN LATERAL (
          SELECT true AS settled FROM event_outcome WHERE event_id = a.event_id LIMIT 1) AS e ON true
    ), locked AS MATERIALIZED (
      SELECT ctid AS place FROM outbox_event
       WHERE ctid = ANY (ARRAY(SELECT place FROM asked WHERE settled AND place IS NOT NULL))
         FOR UPDATE SKIP LOCKED
    ), swept AS (
      DELETE FROM outbox_event WHERE ctid = ANY (ARRAY(SELECT place FROM locked)) RETURNING event_id
    )
    SELECT event_id::text FROM swept
     UNION ALL
    SELECT event_id::text FROM asked WHERE place IS NULL
"""


def under_way(connection: Connection) -> dict[str, str]:
    """Return all billing events published and not seen to arrive, with their tenants."""
    return dict(connection.execute(_UNDER_WAY))


def sweep(connection: Connection, event_ids: Sequence[str]) -> list[str]:
    """Delete those events whose outcome is recorded; return all that are in the outbox no more."""
    return [row[0] for row in connection.execute(_SWEEP, {"ids": list(event_ids)})]


# --- how things stand ---

_RELAY_COUNT: Final = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND classid = 0 AND objid = %s
"""
_OLDEST: Final = """
    SELECT extract(epoch FROM clock_timestamp() - created_at) FROM outbox_event
     WHERE due_at IS NULL AND (xid, id) > (%s::text::xid8, %s)
     ORDER BY xid NULLS FIRST, id NULLS FIRST LIMIT 1
"""


def register(connection: Connection) -> None:
    """Count as a relay for as long as this connection lives."""
    connection.execute("SELECT pg_advisory_lock_shared(%s)", (_RELAYS,))


def relays(connection: Connection) -> int:
    """How many relays work on this database."""
    row = connection.execute(_RELAY_COUNT, (_RELAYS,)).fetchone()
    assert row is not None
    return int(row[0])


def oldest_age(connection: Connection, floor: Position) -> float:
    """Seconds since the oldest event beyond `floor` was emitted; 0 when all are published."""
    row = connection.execute(_OLDEST, (str(floor.xid), floor.id)).fetchone()
    return float(row[0]) if row else 0.0


def maintain(connection: Connection) -> tuple[int, int, int]:
    """Make the feed's next partitions, drop old ones and old idempotency keys; returns how many of each."""
    row = connection.execute("SELECT * FROM outbox_maintain()").fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _columns(rows: Iterable[Sequence[Any]]) -> tuple[list[Any], ...]:
    return tuple(map(list, zip(*rows, strict=True)))
