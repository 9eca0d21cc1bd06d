"""Root causes: one fix, all the exceptions it repairs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import replays

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
_RELEASABLE = """SELECT o.operation_id, e.exception_id, e.title, o.attempt
                   FROM exception e JOIN operation o ON o.operation_id = e.operation_id
                  WHERE e.tenant_id = :tenant AND e.cause = :cause AND e.state IN ('open', 'in_progress')
                    AND o.state = 'failed'
                  ORDER BY o.operation_id"""
_PREVIEW = text(_RELEASABLE)
_LOCKED = text(f"{_RELEASABLE} FOR UPDATE OF o")


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


def preview(connection: Connection, tenant: str, cause: str) -> list[Releasable]:
    """What `release` would start. Changes nothing."""
    return [Releasable(*row) for row in connection.execute(_PREVIEW, {"tenant": tenant, "cause": cause})]


def release(
    connection: Connection, tenant: str, cause: str, actor: str, reason: str = "its cause is mended"
) -> list[UUID]:
    """Start the next attempt of every failed operation that rests on this cause; returns their ids.

    Call it in the transaction that mends the cause, e.g. sets the mapping. Ignored exceptions stay ignored.
    """
    found = connection.execute(_LOCKED, {"tenant": tenant, "cause": cause}).all()
    return [replays.again(connection, one.operation_id, actor, reason).operation_id for one in found]
