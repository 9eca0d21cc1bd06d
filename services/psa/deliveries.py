"""What destinations were sent and are owed: the log, and sending again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from services.ledger import timeline
from services.psa import subscriptions
from services.psa.subscriptions import NOTICE, TEST
from services.refusals import conflict, invalid, missing

FEED_DAYS: Final = 30
KEEP: Final = timedelta(days=90)  # of what is delivered or given up
KEEP_LOG: Final = timedelta(days=30)
BATCH: Final = 10_000  # rows a run

_COLUMNS = """delivery_id, subscription_id, event_id, type, subject, recipient, state, attempts, replays, due_at,
              status, error, created_at, closed_at"""
_PAGE = """SELECT {columns} FROM delivery d WHERE d.subscription_id = :id {where}
            ORDER BY d.created_at DESC, d.delivery_id DESC LIMIT :limit"""
_GET = text(
    f"SELECT {_COLUMNS} FROM delivery WHERE delivery_id = :delivery AND subscription_id = :id"  # noqa: S608 - constant
)
_ATTEMPTS = text(
    """SELECT at, outcome, status, milliseconds, error, reply FROM delivery_attempt
        WHERE delivery_id = :delivery ORDER BY attempt_id"""
)
_TEST = text(
    """INSERT INTO delivery (subscription_id, tenant_id, event_id, type, subject, position, body)
       VALUES (:id, :tenant, :event, :type, :subject, 0, :body) RETURNING delivery_id"""
)
_PENDING_AGAIN: Final = """state = 'pending', attempts = 0, replays = d.replays + 1, due_at = clock_timestamp(),
                           first_attempt_at = NULL, status = NULL, error = NULL, closed_at = NULL"""
_REPLAY = text(
    f"UPDATE delivery d SET {_PENDING_AGAIN} WHERE d.delivery_id = :delivery AND d.state <> 'pending'"  # noqa: S608 - constant
)
_RANGE: Final = """FROM accounting_event e
                   JOIN subscription s ON s.subscription_id = :id AND s.event_types && ARRAY['*', e.type]
                  WHERE e.tenant_id = :tenant AND e.recorded_at >= :since AND e.recorded_at < :before
                    AND (CAST(:types AS text[]) IS NULL OR e.type = ANY (CAST(:types AS text[])))"""
_COUNT_RANGE = text(
    f"""SELECT count(*) {_RANGE} AND NOT EXISTS (
          SELECT FROM delivery d WHERE d.subscription_id = :id AND d.event_id = e.event_id AND d.state = 'pending')"""  # noqa: S608 - constant
)
_REPLAY_RANGE = text(
    f"""INSERT INTO delivery AS d (subscription_id, tenant_id, event_id, type, subject, position, recorded_at)
        SELECT :id, e.tenant_id, e.event_id, e.type, e.subject, e.position, e.recorded_at {_RANGE}
         ORDER BY e.position
        ON CONFLICT (subscription_id, event_id, recipient) DO UPDATE SET {_PENDING_AGAIN} WHERE d.state <> 'pending'"""
)
_FORGET = text(
    """DELETE FROM delivery WHERE delivery_id IN (
         SELECT delivery_id FROM delivery WHERE closed_at < statement_timestamp() - CAST(:keep AS interval)
          ORDER BY closed_at LIMIT :batch FOR UPDATE SKIP LOCKED)"""
)
_FORGET_LOG = text(
    """DELETE FROM delivery_attempt WHERE attempt_id IN (
         SELECT attempt_id FROM delivery_attempt WHERE at < statement_timestamp() - CAST(:keep AS interval)
          ORDER BY at LIMIT :batch)"""
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one destination. `status` and `error` are of the last attempt."""

    delivery_id: UUID
    subscription_id: UUID
    event_id: UUID
    type: str
    subject: str
    recipient: str
    state: str
    attempts: int
    replays: int
    due_at: datetime
    status: int | None
    error: str | None
    created_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try; `status` is None when nothing answered, `reply` the beginning of the answer."""

    at: datetime
    outcome: str
    status: int | None
    milliseconds: int
    error: str | None
    reply: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the log, newest first; `after` continues it."""

    deliveries: list[Delivery]
    after: tuple[datetime, UUID] | None


def page(
    connection: Connection,
    tenant: str,
    subscription_id: UUID,
    *,
    state: str | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> Page:
    """A page of a destination's deliveries. Raises `Refusal`."""
    subscriptions.get(connection, tenant, subscription_id)
    where, values = "", dict[str, Any](id=subscription_id, limit=limit + 1)
    if state is not None:
        where += " AND d.state = :state"
        values["state"] = state
    if after is not None:
        where += " AND (d.created_at, d.delivery_id) < (:after_at, :after_id)"
        values["after_at"], values["after_id"] = after
    rows = connection.execute(text(_PAGE.format(columns=_COLUMNS, where=where)), values)
    found = [Delivery(*row) for row in rows]
    more = len(found) > limit
    found = found[:limit]
    return Page(found, (found[-1].created_at, found[-1].delivery_id) if more else None)


def get(connection: Connection, subscription_id: UUID, delivery_id: UUID) -> Delivery:
    """One delivery; raises `Refusal`."""
    row = connection.execute(_GET, {"id": subscription_id, "delivery": delivery_id}).one_or_none()
    if row is None:
        raise missing(f"this subscription has no delivery {delivery_id}", code="unknown_delivery")
    return Delivery(*row)


def attempts(connection: Connection, delivery_id: UUID) -> list[Attempt]:
    """Every try of a delivery that the log still keeps, oldest first."""
    return [Attempt(*row) for row in connection.execute(_ATTEMPTS, {"delivery": delivery_id})]


def test(connection: Connection, tenant: str, subscription_id: UUID, *, actor: str) -> UUID:
    """Send a test event, whatever state the webhook is in; returns its delivery. Raises `Refusal`."""
    found = subscriptions.get(connection, tenant, subscription_id)
    if found.kind != "webhook":
        raise invalid("subscription_id", "only a webhook can be sent a test")
    event_id, now = uuid4(), datetime.now(UTC)
    body = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": "//algasync",
        "type": f"com.algapsa.accounting.{TEST}",
        "subject": str(subscription_id),
        "time": now.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "tenantid": tenant,
        "data": {"asked_by": actor, "message": "A test. Nothing happened in the books."},
    }
    values = {
        "id": subscription_id,
        "tenant": tenant,
        "event": event_id,
        "type": TEST,
        "subject": str(event_id),
    }
    delivery_id: UUID = connection.execute(_TEST, {**values, "body": json.dumps(body)}).scalar_one()
    return delivery_id


def replay(
    connection: Connection, tenant: str, subscription_id: UUID, delivery_id: UUID, *, actor: str
) -> Delivery:
    """Send one delivery again, under its own id. Raises `Refusal`."""
    subscriptions.get(connection, tenant, subscription_id)
    found = get(connection, subscription_id, delivery_id)
    if not connection.execute(_REPLAY, {"delivery": delivery_id}).rowcount:
        raise conflict("delivery_is_pending", "this delivery is on its way already")
    _note(connection, tenant, subscription_id, actor, {"delivery_id": delivery_id, "type": found.type})
    return get(connection, subscription_id, delivery_id)


def replay_range(
    connection: Connection,
    tenant: str,
    subscription_id: UUID,
    *,
    since: datetime,
    before: datetime | None = None,
    types: list[str] | None = None,
    actor: str,
    dry_run: bool = False,
) -> int:
    """Send every event of a time range again, each under the id of its delivery; returns how many.

    What happened before the destination existed is sent for the first time. Raises `Refusal` naming the field.
    """
    subscriptions.get(connection, tenant, subscription_id)
    now = datetime.now(UTC)
    end = before or now
    if since < now - timedelta(days=FEED_DAYS):
        raise invalid("since", f"events are kept for {FEED_DAYS} days; begin later")
    if since >= end:
        raise invalid("before", "the range ends before it begins")
    for type_ in types or []:
        if type_ not in subscriptions.TYPES or type_ == NOTICE:
            raise invalid("types", f"{type_!r} is no accounting event")
    values = {"id": subscription_id, "tenant": tenant, "since": since, "before": end, "types": types or None}
    if dry_run:
        return int(connection.execute(_COUNT_RANGE, values).scalar_one())
    count = connection.execute(_REPLAY_RANGE, values).rowcount
    _note(connection, tenant, subscription_id, actor, {"since": since, "before": end, "events": count})
    return count


def forget(connection: Connection) -> dict[str, int]:
    """Delete one batch of what is old; returns how many. For the fleet's upkeep."""
    return {
        "deliveries": connection.execute(_FORGET, {"keep": KEEP, "batch": BATCH}).rowcount,
        "attempts": connection.execute(_FORGET_LOG, {"keep": KEEP_LOG, "batch": BATCH}).rowcount,
    }


def _note(
    connection: Connection, tenant: str, subscription_id: UUID, actor: str, facts: dict[str, Any]
) -> None:
    timeline.append(connection, tenant, "subscription", str(subscription_id), actor, "replayed", facts)
