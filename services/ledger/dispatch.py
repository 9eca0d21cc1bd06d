"""What is due goes out as commands: fair over companies, lane by lane, never more than a company can use.

The operation row is its own outbox: a command that was sent but not taken is simply due again later. So the
broker may lose everything it holds and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from services.database.statement import Statement

# A loose index scan finds the companies with due work without walking their backlog; then at most `room` rows
# a company are read, lane by lane. Paused companies, and those whose limiter has no slot within two seconds,
# keep their rows for later instead of filling the workers' prefetch. The local lane (3) needs no calls: it has
# room of its own and no limiter, so that what comes in and what goes out never wait for each other.
_DUE = Statement(
    """
    WITH RECURSIVE busy AS (
      (SELECT company_id FROM operation WHERE state IN ('queued', 'scheduled') AND company_id IS NOT NULL
        ORDER BY company_id LIMIT 1)
      UNION ALL
      SELECT (SELECT o.company_id FROM operation o
               WHERE o.state IN ('queued', 'scheduled') AND o.company_id > busy.company_id
               ORDER BY o.company_id LIMIT 1)
        FROM busy WHERE busy.company_id IS NOT NULL
    ), open_company AS (
      SELECT b.company_id, kind.local, :in_flight - (
               SELECT count(*) FROM operation f
                WHERE f.company_id = b.company_id AND (f.lane = 3) = kind.local
                  AND (f.state = 'running' OR f.dispatched_at IS NOT NULL)
                  AND NOT (f.state IN ('queued', 'scheduled') AND f.due_at <= clock_timestamp())) AS room
        FROM busy b CROSS JOIN (VALUES (false), (true)) AS kind (local)
        LEFT JOIN company_limiter l USING (company_id)
       WHERE b.company_id IS NOT NULL
         AND (kind.local OR l.company_id IS NULL
              OR greatest(l.paused_until, l.next_call - interval '2 seconds') <= clock_timestamp())
    )
    SELECT d.operation_id, d.attempt, d.queue, d.tenant_id, d.company_id, d.lane
      FROM open_company c
     CROSS JOIN LATERAL (
       SELECT x.* FROM (VALUES (0::smallint), (1::smallint), (2::smallint), (3::smallint)) AS lanes (lane)
        CROSS JOIN LATERAL (
          SELECT o.operation_id, o.attempt, o.queue, o.tenant_id, o.company_id, o.lane, o.due_at
            FROM operation o
           WHERE (lanes.lane = 3) = c.local AND o.company_id = c.company_id AND o.lane = lanes.lane
             AND o.state IN ('queued', 'scheduled') AND o.due_at <= statement_timestamp()
           ORDER BY o.due_at LIMIT greatest(c.room, 0)) AS x
        ORDER BY x.lane, x.due_at LIMIT greatest(c.room, 0)) AS d
     ORDER BY row_number() OVER (PARTITION BY d.company_id ORDER BY d.lane, d.due_at), d.company_id
     LIMIT :limit
    """
)
_SENT = Statement(
    """UPDATE operation SET state = 'queued', dispatched_at = clock_timestamp(), updated_at = clock_timestamp(),
              due_at = clock_timestamp() + CAST(:resend AS interval)
        WHERE operation_id = ANY (CAST(:ids AS uuid[])) AND state IN ('queued', 'scheduled')
          AND due_at <= clock_timestamp()"""
)


@dataclass(frozen=True, slots=True)
class Command:
    """Work for a queue: which operation, and which attempt of it is meant."""

    operation_id: UUID
    attempt: int
    queue: str
    tenant_id: str
    company_id: UUID
    lane: int


def due(connection: Connection, *, in_flight: int, limit: int) -> list[Command]:
    """Commands that may go out now, interleaved over companies; at most `in_flight` under way a company.

    Only one dispatcher works at a time (it holds a leader lock), so rows need no lock here: taking decides.
    """
    return [Command(*row) for row in _DUE.all(connection, {"in_flight": in_flight, "limit": limit})]


def sent(connection: Connection, commands: Sequence[Command], *, resend: timedelta) -> None:
    """Mark commands that the broker confirmed; they come up again after `resend` unless a worker takes them.

    With few under way a company, repeats stay few, however long the workers are away.
    """
    if commands:
        ids = [command.operation_id for command in commands]
        _SENT.run(connection, {"ids": ids, "resend": resend})


def resend_all(connection: Connection) -> int:
    """Make everything that was sent and not taken due at once, e.g. after the broker lost its disk."""
    done = connection.execute(
        text(
            """UPDATE operation SET due_at = clock_timestamp(), dispatched_at = NULL
                WHERE dispatched_at IS NOT NULL AND state IN ('queued', 'scheduled')"""
        )
    )
    return done.rowcount
