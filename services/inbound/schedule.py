"""When a company's changes are read: by the clock, each company at its own moment, and at once when somebody wakes it.

A cycle is an operation, so it is carried out by one worker at a time, waits while the company is paused or not
connected, and is tried again with growing rests. A company has at most one that is not finished.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services.connections import companies, meter
from services.inbound import cycles
from services.inbound.asking import FIRST, Question
from services.inbound.cycles import Cycle
from services.inbound.poll import FEED, KIND, QUEUE
from services.ledger import attempts, operations, timeline
from services.ledger.operations import Lane, Plan
from services.mapping import settings
from services.quickbooks import changes
from services.refusals import conflict, invalid, missing

log = structlog.get_logger()

Cause = Literal["schedule", "webhook", "request"]

SWEEP: Final = timedelta(days=1)
"""How often a cycle also looks for what the feed does not show, or showed too late: with a day of overlap."""

STRETCH: Final = 4
"""How much longer a company rests when its reads run short and webhooks tell of changes anyway."""

SHORT: Final = 0.8
"""Part of the read budget from which on reads are short."""

# A company that was just connected begins here: what changed before is history.
_NEW_FEEDS = text(
    """INSERT INTO change_feed (company_id, tenant_id, begins_at, cursor, due_at)
       SELECT c.company_id, c.tenant_id, c.connected_at, c.connected_at, clock_timestamp() FROM company c
        WHERE c.state = 'active' AND NOT EXISTS (SELECT FROM change_feed f WHERE f.company_id = c.company_id)
       ON CONFLICT DO NOTHING"""
)
_DUE = text(
    """SELECT f.company_id, f.tenant_id, f.begins_at, f.cursor, f.cycle, f.cause, o.operation_id,
              f.swept_at < clock_timestamp() - CAST(:sweep AS interval) AS sweep,
              coalesce(f.webhook_at > clock_timestamp() - interval '1 day', false) AS hears
         FROM change_feed f JOIN company c USING (company_id)
         LEFT JOIN LATERAL (
           SELECT operation_id, state FROM operation o
            WHERE o.tenant_id = f.tenant_id AND o.document_kind = :feed AND o.document_id = f.company_id::text
              AND o.state IN ('queued', 'running', 'waiting', 'scheduled', 'failed')
            ORDER BY o.revision LIMIT 1) o ON true
        WHERE f.due_at <= statement_timestamp() AND c.state = 'active' AND coalesce(o.state, 'failed') = 'failed'
          AND (f.cause = 'request' OR condition_met(f.tenant_id, 'auto_sync', 'tenant'))
        ORDER BY f.due_at LIMIT :limit FOR UPDATE OF f SKIP LOCKED"""
)
# Companies keep their own moments of the clock, spread evenly over the interval by the hash of their id.
_NEXT = text(
    """UPDATE change_feed SET cause = 'schedule', cycle = :cycle,
              swept_at = CASE WHEN :sweep THEN clock_timestamp() ELSE swept_at END,
              due_at = poll_slot(company_id, clock_timestamp(), :seconds)
        WHERE company_id = :company"""
)
# Our own writes make Intuit call too, and every look costs a read: a company that was looked at just now has a rest.
_WAKE = text(
    """UPDATE change_feed f SET
              due_at = least(due_at, greatest(clock_timestamp(), CAST(:rest AS interval) + coalesce(
                (SELECT started_at FROM poll_cycle c WHERE c.company_id = f.company_id AND c.number = f.cycle),
                '-infinity'))),
              cause = CASE WHEN 'request' IN (cause, :cause) THEN 'request' ELSE :cause END,
              webhook_at = CASE WHEN :cause = 'webhook' THEN clock_timestamp() ELSE webhook_at END
        WHERE company_id = :company"""
)
# A cycle that failed is tried again under its number: until the operation rests, its certificate is an old one.
_ANSWER = text(
    """SELECT c.operation_id
         FROM change_feed f
         JOIN poll_cycle c ON c.company_id = f.company_id AND c.number = f.cycle
         JOIN operation o USING (operation_id)
        WHERE f.company_id = :company AND f.due_at > clock_timestamp() AND o.state IN ('succeeded', 'failed')
          AND (c.finished_at >= :since OR c.state = 'incomplete')"""
)
_NOW = text("SELECT clock_timestamp()")
_FUTURE = text("SELECT :cursor > clock_timestamp()")
_SET = text(
    """INSERT INTO change_feed AS f (company_id, tenant_id, begins_at, cursor, due_at)
       SELECT company_id, tenant_id, :cursor, :cursor, clock_timestamp() FROM company WHERE company_id = :company
       ON CONFLICT (company_id) DO UPDATE SET begins_at = :cursor, cursor = :cursor
       RETURNING f.tenant_id"""
)


def open_due(connection: Connection, *, limit: int = 200) -> int:
    """Open a cycle for every company whose moment has come (scope: all tenants); returns how many.

    A cycle that had failed is tried again instead, from where it was.
    """
    connection.execute(_NEW_FEEDS)
    due = connection.execute(_DUE, {"sweep": SWEEP, "feed": FEED, "limit": limit}).all()
    for row in due:
        if row.operation_id is not None:
            attempts.replay(connection, row.operation_id, "algasync", "the next cycle")
        else:
            _open(connection, row)
        moved = {
            "company": row.company_id,
            "cycle": row.cycle + (row.operation_id is None),
            "sweep": row.sweep and row.operation_id is None,
            "seconds": interval(connection, row.tenant_id, row.company_id, hears=row.hears).total_seconds(),
        }
        connection.execute(_NEXT, moved)
    if due:
        log.debug("polls_opened", companies=len(due))
    return len(due)


def interval(connection: Connection, tenant: str, company_id: UUID, *, hears: bool) -> timedelta:
    """Time between two cycles: longer while reads are short and webhooks tell of changes (`hears`) anyway."""
    chosen = settings.resolve(connection, tenant, company_id=company_id)
    wanted = timedelta(minutes=chosen.poll_interval)
    if not hears or chosen.read_budget is None:
        return wanted
    short = meter.spent(connection, company_id).total >= SHORT * chosen.read_budget
    return wanted * STRETCH if short else wanted


def wake(connection: Connection, company_id: UUID, cause: Cause = "webhook") -> bool:
    """Let a company be read now, for a `webhook` once it has rested (`webhook_rest`); False without a feed.

    `request` (somebody asked) does not wait, and reads even while automatic sync is off. A cycle that is running may
    have asked too early, so another one follows it.
    """
    rest = _rest(connection, company_id) if cause == "webhook" else timedelta()
    values = {"company": company_id, "cause": cause, "rest": rest}
    return bool(connection.execute(_WAKE, values).rowcount)


def ask(connection: Connection, company_id: UUID, actor: str) -> datetime:
    """Somebody wants a company read now; returns since when, for `answer`. Raises `Refusal`."""
    company = companies.get(connection, company_id)
    if company.state != "active":
        raise conflict(
            "not_connected", f"{company.name or company.realm_id} is {company.state}; reconnect it first"
        )
    since: datetime = connection.execute(_NOW).scalar_one()
    wake(connection, company_id, "request")
    timeline.append(connection, company.tenant_id, "company", str(company_id), actor, "sync_asked", {})
    return since


def answer(connection: Connection, company_id: UUID, since: datetime) -> Cycle | None:
    """The cycle that answered what was asked `since`; None while none has ended yet."""
    asked = {"company": company_id, "since": since}
    operation_id = connection.execute(_ANSWER, asked).scalar_one_or_none()
    return cycles.of_operation(connection, operation_id) if operation_id is not None else None


def set_cursor(connection: Connection, company_id: UUID, cursor: datetime, actor: str) -> None:
    """Read changes from this moment on, whatever was read before.

    Raises `Refusal` for an unknown company, and for a moment to come: what changes until then would be missed.
    """
    if connection.execute(_FUTURE, {"cursor": cursor}).scalar_one():
        raise invalid("cursor", f"{cursor.isoformat()} has not come yet; changes until then would be missed")
    row = connection.execute(_SET, {"company": company_id, "cursor": cursor}).one_or_none()
    if row is None:
        raise missing(f"there is no QuickBooks company {company_id} in this tenant", code="unknown_company")
    timeline.append(
        connection, row.tenant_id, "company", str(company_id), actor, "cursor_set", {"cursor": cursor}
    )


def _rest(connection: Connection, company_id: UUID) -> timedelta:
    tenant = companies.get(connection, company_id).tenant_id
    return timedelta(seconds=settings.resolve(connection, tenant, company_id=company_id).webhook_rest)


def _open(connection: Connection, row: Any) -> None:
    number = row.cycle + 1
    plan = Plan(kind=KIND, queue=QUEUE, company_id=row.company_id, lane=Lane.URGENT)
    operation_id = operations.insert(
        connection, row.tenant_id, FEED, str(row.company_id), plan, revision=number
    )
    assert operation_id is not None  # cycles are numbered under the lock of the feed
    overlap = SWEEP if row.sweep else changes.OVERLAP
    cycles.begin(
        connection,
        company_id=row.company_id,
        number=number,
        tenant=row.tenant_id,
        operation_id=operation_id,
        cause=row.cause,
        cursor=row.cursor,
        asked_from=max(row.cursor - overlap, row.begins_at - changes.OVERLAP),
        questions=[FIRST, Question("known", ("Customer",))] if row.sweep else [FIRST],
    )
