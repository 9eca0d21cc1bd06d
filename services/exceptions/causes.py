"""Root causes: one fix, all the exceptions it repairs.

Whoever mends a cause releases it in the same transaction. A few operations start right there; more than that are
handed to the fleet (`work_off`), which starts each in a transaction of its own, so that one mapping that ten thousand
invoices wait for neither takes long to set nor locks them all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services.database import Database
from services.database.engine import ALL_TENANTS
from services.exceptions import bulk, replays

AT_ONCE: Final = 25
"""How many operations start in the transaction that mends their cause."""

BATCH: Final = 2_000
"""How many of a cause the fleet starts before it looks at the next one."""

_CAUSES = text(
    """SELECT e.tenant_id, e.cause, (array_agg(e.code ORDER BY e.last_seen_at DESC))[1] AS code,
              (array_agg(e.fix ORDER BY e.last_seen_at DESC))[1] AS fix, count(*) AS exceptions,
              count(*) FILTER (WHERE o.state = 'failed') AS releasable,
              min(e.created_at) AS oldest, max(e.last_seen_at) AS newest
         FROM exception e LEFT JOIN operation o ON o.operation_id = e.operation_id
        WHERE e.state IN ('open', 'in_progress') AND (CAST(:tenant AS text) IS NULL OR e.tenant_id = :tenant)
        GROUP BY e.tenant_id, e.cause
        ORDER BY exceptions DESC, oldest, e.cause LIMIT :limit"""
)
_PREVIEW = text(
    """SELECT o.operation_id, e.exception_id, e.title, o.attempt
         FROM exception e JOIN operation o ON o.operation_id = e.operation_id
        WHERE e.tenant_id = :tenant AND e.cause = :cause AND e.state IN ('open', 'in_progress')
          AND o.state = 'failed' AND (CAST(:seen_by AS timestamptz) IS NULL OR e.last_seen_at <= :seen_by)
        ORDER BY o.operation_id LIMIT :limit"""
)
_LOCK = text(
    """SELECT operation_id FROM operation
        WHERE operation_id = ANY (CAST(:ids AS uuid[])) AND state = 'failed' ORDER BY operation_id FOR UPDATE"""
)
_HAND_OVER = text(
    """INSERT INTO cause_release AS r (tenant_id, cause, actor, reason) VALUES (:tenant, :cause, :actor, :reason)
       ON CONFLICT (tenant_id, cause) DO UPDATE
          SET actor = excluded.actor, reason = excluded.reason, asked_at = clock_timestamp()"""
)
_ASKED = text(
    "SELECT tenant_id, cause, actor, reason, asked_at FROM cause_release ORDER BY asked_at LIMIT 100"
)
_WORKED_OFF = text(
    "DELETE FROM cause_release WHERE tenant_id = :tenant AND cause = :cause AND asked_at = :asked_at"
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Cause:
    """What one fix repairs: how many exceptions need it, and how many of them can be released after it."""

    tenant: str
    cause: str
    code: str
    fix: str
    exceptions: int
    releasable: int
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class Releasable:
    """One exception of a cause whose operation would start its next attempt."""

    operation_id: UUID
    exception_id: UUID
    title: str
    attempt: int  # the one that failed


def page(connection: Connection, tenant: str | None = None, *, limit: int = 50) -> list[Cause]:
    """Causes of what needs somebody now, the widest first."""
    return [Cause(*row) for row in connection.execute(_CAUSES, {"tenant": tenant, "limit": limit})]


def preview(
    connection: Connection,
    tenant: str,
    cause: str,
    *,
    seen_by: datetime | None = None,
    limit: int = 10_000,
) -> list[Releasable]:
    """What `release` would start, of what was last seen by a moment if one is given. Changes nothing."""
    values = {"tenant": tenant, "cause": cause, "seen_by": seen_by, "limit": limit}
    return [Releasable(*row) for row in connection.execute(_PREVIEW, values)]


def release(
    connection: Connection, tenant: str, cause: str, actor: str, reason: str = "its cause is mended"
) -> list[UUID]:
    """Start the next attempt of every failed operation that rests on this cause; returns their ids.

    Call it in the transaction that mends the cause, e.g. sets the mapping. More than `AT_ONCE` are started by the
    fleet within seconds. Ignored exceptions stay ignored.
    """
    resting = [one.operation_id for one in preview(connection, tenant, cause)]
    if len(resting) > AT_ONCE:
        values = {"tenant": tenant, "cause": cause, "actor": actor, "reason": reason}
        connection.execute(_HAND_OVER, values)
        return resting
    found = connection.execute(_LOCK, {"ids": resting}).scalars().all()
    return [replays.again(connection, one, actor, reason).operation_id for one in found]


def work_off(database: Database) -> int:
    """Start what was handed over, each in a transaction of its own; returns how many. For the fleet's upkeep.

    What somebody else has started meanwhile stays as it is, and so does what has failed again since.
    """
    with database.transaction(ALL_TENANTS) as connection:
        asked = connection.execute(_ASKED).all()
    return sum(_work_off(database, *row) for row in asked)


def _work_off(
    database: Database, tenant: str, cause: str, actor: str, reason: str, asked_at: datetime
) -> int:
    with database.transaction(tenant) as connection:
        resting = preview(connection, tenant, cause, seen_by=asked_at, limit=BATCH)
    results = list(
        bulk.each(
            lambda: database.transaction(tenant),
            [one.operation_id for one in resting],
            lambda connection, one: replays.again(connection, one, actor, reason),
        )
    )
    started = sum(one.done for one in results)
    if len(resting) < BATCH and not any(one.code == "busy" for one in results):
        with database.transaction(tenant) as connection:
            connection.execute(_WORKED_OFF, {"tenant": tenant, "cause": cause, "asked_at": asked_at})
    _log.info("cause_worked_off", tenant=tenant, cause=cause, started=started, left=len(results) - started)
    return started
