"""The fleet in figures, as the database knows it: what waits, fails or ages. `top` and `/metrics` show the same.

Every statement stays on small partial indexes, so looking costs the same however much work is done already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, text

LOOK_BACK: Final = timedelta(minutes=5)
"""What rates and freshness look at."""

_OUTBOX = text(
    """SELECT count(*) FILTER (WHERE published_at IS NULL) AS unpublished,
              coalesce(extract(epoch FROM clock_timestamp() - min(created_at) FILTER (WHERE published_at IS NULL)), 0)
                AS oldest_unpublished,
              count(*) FILTER (WHERE published_at IS NOT NULL) AS under_way,
              coalesce(extract(epoch FROM clock_timestamp() - min(published_at)), 0) AS oldest_under_way
         FROM (SELECT created_at, published_at FROM outbox_event LIMIT 100000) AS looked"""
)
_STATES = text(
    """SELECT state, count(*) FROM operation
        WHERE state IN ('queued', 'running', 'waiting', 'scheduled', 'failed') GROUP BY state"""
)
_WAITS = text("SELECT condition, count(DISTINCT operation_id) FROM wait GROUP BY condition")
_DUE = text(
    """SELECT coalesce(extract(epoch FROM clock_timestamp() - min(o.due_at)), 0) FROM operation o
        WHERE o.state IN ('queued', 'scheduled') AND o.due_at <= statement_timestamp() AND o.dispatched_at IS NULL"""
)
_QUEUES = text(
    """SELECT queue, count(*), extract(epoch FROM clock_timestamp() - min(dispatched_at)) FROM operation
        WHERE dispatched_at IS NOT NULL AND state = 'queued' GROUP BY queue"""
)
_DONE = text(
    """SELECT kind, count(*) AS number,
              percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at)) AS p50,
              percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at)) AS p99
         FROM operation WHERE finished_at > statement_timestamp() - CAST(:back AS interval) AND state = 'succeeded'
        GROUP BY ROLLUP (kind)"""
)
_EXCEPTIONS = text(
    """SELECT type, state, count(*), max(extract(epoch FROM clock_timestamp() - created_at)) FROM exception
        WHERE state IN ('open', 'in_progress') GROUP BY type, state"""
)
_LETTERS = text("SELECT state, count(*) FROM letter WHERE state IN ('open', 'replayed') GROUP BY state")
_COMPANIES = text("SELECT state, count(*) FROM company GROUP BY state")
_PAUSES = text("SELECT scope, count(*) FROM pause GROUP BY scope")
_TOKENS = text(
    """SELECT coalesce(min(extract(epoch FROM least(t.refresh_expires_at, t.hard_expires_at)
                                             - clock_timestamp())) / 86400, 0)
         FROM company_token t JOIN company c USING (company_id) WHERE c.state = 'active'"""
)
_LIMITER = text(
    """SELECT coalesce(max(extract(epoch FROM next_call - clock_timestamp())), 0) AS longest,
              count(*) FILTER (WHERE paused_until > clock_timestamp()) AS resting FROM company_limiter
        WHERE greatest(next_call, paused_until) > statement_timestamp()"""
)
_READS = text(
    """SELECT coalesce(sum(reads), 0) FROM metered_read
        WHERE month = date_trunc('month', clock_timestamp())"""
)
_FEED = text(
    """SELECT greatest(coalesce(max(extract(epoch FROM clock_timestamp() - f.due_at)), 0), 0) AS overdue,
              coalesce(max(extract(epoch FROM clock_timestamp() - f.cursor)), 0) AS behind,
              count(*) FILTER (WHERE p.state = 'incomplete') AS incomplete
         FROM change_feed f JOIN company c USING (company_id)
         LEFT JOIN poll_cycle p ON p.company_id = f.company_id AND p.number = f.cycle
        WHERE c.state = 'active'"""
)
_VIOLATIONS = text("SELECT violation, count(*) FROM liveness_violation GROUP BY violation")
_WORST = text(
    """SELECT c.tenant_id, coalesce(c.name, c.realm_id), c.state, count(*) AS unfinished,
              count(*) FILTER (WHERE o.state = 'failed') AS failed,
              count(*) FILTER (WHERE o.state = 'waiting') AS waiting,
              extract(epoch FROM clock_timestamp() - min(o.created_at)) AS oldest
         FROM operation o JOIN company c USING (company_id)
        WHERE o.state IN ('queued', 'running', 'waiting', 'scheduled', 'failed')
        GROUP BY c.company_id ORDER BY unfinished DESC, c.company_id LIMIT :limit"""
)


@dataclass(frozen=True, slots=True)
class Busy:
    """A company with unfinished work; `oldest` in seconds."""

    tenant_id: str
    company: str
    state: str
    unfinished: int
    failed: int
    waiting: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One look. Ages and times are in seconds, `token_days` in days; `freshness` is over the last five minutes.

    `sent`: commands that the broker has and no worker took yet, by queue, and the age of the oldest.
    """

    outbox: Mapping[str, float]  # unpublished, oldest_unpublished, under_way, oldest_under_way
    operations: Mapping[str, int]
    waits: Mapping[str, int]
    oldest_due: float
    sent: Mapping[str, tuple[int, float]]
    done: Mapping[str, int]
    freshness: Mapping[str, float]
    exceptions: Mapping[tuple[str, str], tuple[int, float]]  # by type and state: how many, age of the oldest
    letters: Mapping[str, int]
    companies: Mapping[str, int]
    pauses: Mapping[str, int]
    token_days: float
    limiter: Mapping[str, float]  # longest wait for a slot, companies that rest
    reads: int
    feed: Mapping[str, float]  # overdue, behind, incomplete
    violations: Mapping[str, int]
    busiest: list[Busy] = field(default_factory=list)


def look(connection: Connection, *, companies: int = 0) -> Figures:
    """Take all figures (scope: all tenants), with the `companies` that have most to do."""
    done = {row.kind: row for row in connection.execute(_DONE, {"back": LOOK_BACK})}
    total = done.pop(None, None)
    return Figures(
        outbox=_floats(connection, _OUTBOX),
        operations=_counts(connection, _STATES),
        waits=_counts(connection, _WAITS),
        oldest_due=float(connection.execute(_DUE).scalar_one()),
        sent={queue: (number, float(oldest)) for queue, number, oldest in connection.execute(_QUEUES)},
        done={kind: row.number for kind, row in done.items()},
        freshness={"0.5": float(total.p50), "0.99": float(total.p99)} if total and total.number else {},
        exceptions={
            (type_, state): (number, float(oldest))
            for type_, state, number, oldest in connection.execute(_EXCEPTIONS)
        },
        letters=_counts(connection, _LETTERS),
        companies=_counts(connection, _COMPANIES),
        pauses=_counts(connection, _PAUSES),
        token_days=float(connection.execute(_TOKENS).scalar_one()),
        limiter=_floats(connection, _LIMITER),
        reads=int(connection.execute(_READS).scalar_one()),
        feed=_floats(connection, _FEED),
        violations=_counts(connection, _VIOLATIONS),
        busiest=[Busy(*row) for row in connection.execute(_WORST, {"limit": companies})] if companies else [],
    )


def _counts(connection: Connection, statement: Any) -> dict[str, int]:
    return {name: number for name, number in connection.execute(statement)}


def _floats(connection: Connection, statement: Any) -> dict[str, float]:
    return {name: float(value) for name, value in connection.execute(statement).mappings().one().items()}
