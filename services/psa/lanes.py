"""A destination is a lane: whoever holds its lease sends what it is owed, one by one, in the order of each subject.

The rows are the truth. A command on the broker only says that a lane has something due; lost ones are sent again, and a
worker that dies loses its lease and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, text

from services.exceptions import desk, notices
from services.psa import pace, troubles
from services.psa.sending import Parcel, Sent
from services.psa.subscriptions import TEST

LEASE: Final = timedelta(seconds=90)  # longer than looking a name up and the longest call after it
RESEND: Final = timedelta(seconds=60)  # a command that nobody took is sent again
REPLY_KEPT: Final = 1000  # characters of an answer that the log keeps

_HAS_TEST: Final = f"""EXISTS (SELECT FROM delivery t WHERE t.subscription_id = s.subscription_id
                                  AND t.state = 'pending' AND t.type = '{TEST}')"""
_DUE = text(
    f"""SELECT s.subscription_id, s.tenant_id FROM subscription s
         WHERE s.lease_until <= now() AND s.dispatched_until <= now() AND s.state <> 'deleted'
           AND ((s.state = 'active' AND s.rest_until <= now()
                 AND EXISTS (SELECT FROM delivery d WHERE d.subscription_id = s.subscription_id
                                AND d.state = 'pending' AND d.due_at <= now()))
                OR {_HAS_TEST})
         ORDER BY s.dispatched_until LIMIT :limit"""  # noqa: S608 - constant
)
_SENT = text(
    """UPDATE subscription SET dispatched_until = clock_timestamp() + CAST(:resend AS interval)
        WHERE subscription_id = ANY (CAST(:ids AS uuid[]))"""
)
_TAKE = text(
    """UPDATE subscription SET lease_token = :token, dispatched_until = '-infinity',
              lease_until = clock_timestamp() + CAST(:lease AS interval)
        WHERE subscription_id = :id AND lease_until <= clock_timestamp() AND state <> 'deleted'
        RETURNING tenant_id"""
)
_RENEW = text(
    """UPDATE subscription SET lease_until = clock_timestamp() + CAST(:lease AS interval)
        WHERE subscription_id = :id AND lease_token = :token
        RETURNING subscription_id, tenant_id, kind, name, url, secret, state, per_minute, failures, failing_since,
                  last_success_at, rest_until > clock_timestamp() AS resting,
                  extract(epoch FROM rest_until - clock_timestamp())::float8 AS rest_seconds"""
)
_RELEASE = text(
    """UPDATE subscription SET lease_token = NULL, lease_until = '-infinity'
        WHERE subscription_id = :id AND lease_token = :token"""
)
# The one that has waited longest leads to its subject, whose first one goes. If that one is not due, the others of
# the subject wait as long as it does.
_NEXT = text(
    """SELECT h.*, h.due_at <= clock_timestamp() AS is_due, coalesce(h.body, e.body) AS content
         FROM (SELECT subject FROM delivery
                WHERE subscription_id = :id AND state = 'pending' AND due_at <= now()
                ORDER BY due_at, position LIMIT 1) c
        CROSS JOIN LATERAL (
          SELECT * FROM delivery d WHERE d.subscription_id = :id AND d.subject = c.subject AND d.state = 'pending'
           ORDER BY d.position LIMIT 1) h
         LEFT JOIN accounting_event e ON h.body IS NULL AND e.tenant_id = h.tenant_id AND e.position = h.position
                                     AND e.recorded_at = h.recorded_at"""
)
_NEXT_TEST = text(
    """SELECT d.*, true AS is_due, d.body AS content FROM delivery d
        WHERE d.subscription_id = :id AND d.state = 'pending' AND d.type = :test ORDER BY d.created_at LIMIT 1"""
)
_LATEST = text(
    """SELECT e.body FROM (SELECT tenant_id, position, recorded_at FROM delivery
                            WHERE subscription_id = :id AND subject = :subject AND position > :position
                            ORDER BY position DESC LIMIT 1) d
         JOIN accounting_event e USING (tenant_id, position, recorded_at)"""
)
_DEFER = text(
    """UPDATE delivery SET due_at = :due WHERE subscription_id = :id AND subject = :subject
          AND state = 'pending' AND due_at < :due"""
)
_LOG = text(
    """INSERT INTO delivery_attempt (delivery_id, tenant_id, outcome, status, milliseconds, error, reply)
       VALUES (:delivery, :tenant, :outcome, :status, :milliseconds, :error, :reply)"""
)
_CLOSE = text(
    """UPDATE delivery SET state = :state, attempts = attempts + 1, status = :status, error = :error,
              first_attempt_at = coalesce(first_attempt_at, clock_timestamp()), closed_at = clock_timestamp()
        WHERE delivery_id = :delivery"""
)
_AGAIN = text(
    """UPDATE delivery SET attempts = attempts + 1, status = :status, error = :error,
              first_attempt_at = coalesce(first_attempt_at, clock_timestamp()),
              due_at = clock_timestamp() + CAST(:wait AS interval)
        WHERE delivery_id = :delivery"""
)
_GOOD = text(
    """UPDATE subscription SET failures = 0, failing_since = NULL, last_success_at = clock_timestamp(),
              rest_until = clock_timestamp() + CAST(:pause AS interval)
        WHERE subscription_id = :id"""
)
_BAD = text(
    """UPDATE subscription SET failures = failures + 1, failing_since = coalesce(failing_since, clock_timestamp()),
              rest_until = clock_timestamp() + CAST(:rest AS interval)
        WHERE subscription_id = :id RETURNING failures, failing_since, clock_timestamp() AS now"""
)
_WAKE = text(
    """UPDATE delivery SET due_at = clock_timestamp()
        WHERE subscription_id = :id AND state = 'pending' AND attempts > 0 AND due_at > clock_timestamp()"""
)
_DISABLE = text(
    """UPDATE subscription SET state = 'disabled', state_reason = :reason, updated_at = clock_timestamp()
        WHERE subscription_id = :id"""
)


class LeaseLost(Exception):
    """Another worker has the lane by now; what this one learned is discarded."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A lease on a destination."""

    subscription_id: UUID
    tenant: str
    token: UUID


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to send for so many seconds; None: until something new is owed."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Next:
    """What goes now, and what was known of destination and delivery when it was chosen."""

    parcel: Parcel
    kind: str
    name: str
    destination: Row[Any]
    delivery: Row[Any]


def due(connection: Connection, *, limit: int = 500) -> list[tuple[UUID, str]]:
    """Lanes with something due and nobody at it, with their tenants (scope: all tenants)."""
    return [(row.subscription_id, row.tenant_id) for row in connection.execute(_DUE, {"limit": limit})]


def sent(connection: Connection, lanes: Sequence[UUID], *, resend: timedelta = RESEND) -> None:
    """Mark lanes whose command the broker has confirmed."""
    if lanes:
        connection.execute(_SENT, {"ids": list(lanes), "resend": resend})


def take(connection: Connection, subscription_id: UUID, *, lease: timedelta = LEASE) -> Lane | None:
    """Take a lane; None when somebody has it (scope: all tenants)."""
    token = uuid4()
    row = connection.execute(_TAKE, {"id": subscription_id, "token": token, "lease": lease}).one_or_none()
    return Lane(subscription_id, row.tenant_id, token) if row else None


def release(connection: Connection, lane: Lane) -> None:
    """Give a lane back."""
    connection.execute(_RELEASE, {"id": lane.subscription_id, "token": lane.token})


def choose(connection: Connection, lane: Lane, *, lease: timedelta = LEASE) -> Next | Rest:
    """Renew the lease and choose what goes now. Raises `LeaseLost`."""
    values = {"id": lane.subscription_id, "token": lane.token, "lease": lease}
    destination = connection.execute(_RENEW, values).one_or_none()
    if destination is None:
        raise LeaseLost
    active = destination.state == "active"
    if not active or destination.resting:
        row = connection.execute(_NEXT_TEST, {"id": lane.subscription_id, "test": TEST}).one_or_none()
        if row is None:
            return Rest(destination.rest_seconds if active else None)
        return _next(destination, row)
    while True:
        row = connection.execute(_NEXT, {"id": lane.subscription_id}).one_or_none()
        if row is None:
            return Rest(None)
        if not row.is_due:
            deferred = {"id": lane.subscription_id, "subject": row.subject, "due": row.due_at}
            connection.execute(_DEFER, deferred)
        elif row.content is None:
            _drop(connection, destination, row)
        else:
            chosen = _next(destination, row)
            if destination.kind != "algapsa":
                return chosen
            place = {"id": lane.subscription_id, "subject": row.subject, "position": row.position}
            latest = connection.execute(_LATEST, place).scalar_one_or_none()
            return replace(chosen, parcel=replace(chosen.parcel, latest=latest))


def record(connection: Connection, lane: Lane, chosen: Next, sent: Sent, milliseconds: int) -> str:
    """Write down how an attempt ended, with everything that follows; returns delivered, again or failed.

    Raises `LeaseLost`.
    """
    values = {"id": lane.subscription_id, "token": lane.token, "lease": LEASE}
    if connection.execute(_RENEW, values).one_or_none() is None:
        raise LeaseLost
    if chosen.parcel.type == TEST:
        outcome = "delivered" if sent.outcome == "delivered" else "failed"
    elif sent.outcome == "again":
        outcome = _failed(connection, lane, chosen, sent)
    else:
        outcome = "delivered" if sent.outcome == "delivered" else "failed"
        _answered(connection, lane, chosen, sent)
    facts = {
        "delivery": chosen.parcel.delivery_id,
        "tenant": lane.tenant,
        "status": sent.status,
        "error": _text(sent.error),
        "state": outcome,
        "outcome": outcome,
        "milliseconds": milliseconds,
        "reply": _text(sent.reply) or "",
    }
    if outcome == "again":
        wait = pace.wait(chosen.parcel.attempt, sent.after)
        connection.execute(_AGAIN, {**facts, "wait": wait})
    else:
        connection.execute(_CLOSE, facts)
    connection.execute(_LOG, facts)
    return outcome


def _next(destination: Row[Any], row: Row[Any]) -> Next:
    parcel = Parcel(
        delivery_id=row.delivery_id,
        subscription_id=destination.subscription_id,
        tenant=destination.tenant_id,
        event_id=row.event_id,
        type=row.type,
        body=row.content,
        attempt=row.attempts + 1,
        url=destination.url,
        secret=bytes(destination.secret) if destination.secret is not None else None,
        recipient=row.recipient,
    )
    return Next(parcel, destination.kind, destination.name, destination, row)


def _answered(connection: Connection, lane: Lane, chosen: Next, sent: Sent) -> None:
    """The destination works: what waits for it is due, and exceptions close, or one opens for this delivery."""
    destination, parcel = chosen.destination, chosen.parcel
    pause = timedelta(minutes=1) / destination.per_minute
    connection.execute(_GOOD, {"id": lane.subscription_id, "pause": pause})
    if pace.rest(destination.failures) is not None:
        connection.execute(_WAKE, {"id": lane.subscription_id})
    if destination.failing_since is not None and chosen.kind == "mail":
        about = troubles.about(lane.tenant, lane.subscription_id)
        desk.resolve(connection, about, troubles.DISABLED, "Mail is taken again.")
    if sent.problem is not None:
        assert sent.settles is not None
        desk.report(connection, sent.settles[0], sent.problem)
        return
    if sent.settles is not None:
        desk.resolve(connection, *sent.settles, "It was recorded.")
    if chosen.delivery.replays:
        about = troubles.about_delivery(lane.tenant, parcel.delivery_id)
        desk.resolve(connection, about, troubles.REFUSED, "It was delivered.")


def _failed(connection: Connection, lane: Lane, chosen: Next, sent: Sent) -> str:
    """Nothing arrived: the destination may rest, or be disabled; the delivery may be given up."""
    destination, parcel = chosen.destination, chosen.parcel
    rest = pace.rest(destination.failures + 1) or timedelta()
    values = {"id": lane.subscription_id, "rest": rest}
    counted = connection.execute(_BAD, values).one()
    error = _text(sent.error) or "no answer"
    if pace.is_dead(counted.failures, counted.failing_since, counted.now):
        _give_up_on(connection, lane, chosen, counted.failures, counted.failing_since, error)
    first = chosen.delivery.first_attempt_at or counted.now
    if not pace.is_over(parcel.attempt, first, destination.last_success_at):
        return "again"
    problem = troubles.refused(chosen.name, parcel, error)
    desk.report(connection, troubles.about_delivery(lane.tenant, parcel.delivery_id), problem)
    return "failed"


def _give_up_on(
    connection: Connection, lane: Lane, chosen: Next, failures: int, since: datetime, error: str
) -> None:
    about, told = troubles.about(lane.tenant, lane.subscription_id), f"{since:%Y-%m-%d %H:%M} UTC"
    if chosen.kind == "mail":
        desk.report(connection, about, troubles.mail_fails(failures, told, error))
        return
    problem = troubles.disabled(chosen.kind, chosen.name, chosen.parcel.url, failures, told, error)
    connection.execute(_DISABLE, {"id": lane.subscription_id, "reason": problem.happened})
    exception_id = desk.report(connection, about, problem)
    notices.write(
        connection,
        lane.tenant,
        "deliveries",
        f"disabled:{lane.subscription_id}:{since.isoformat()}",
        problem.title,
        f"{problem.happened}\n\n{problem.fix}",
        exceptions=[exception_id],
    )


def _drop(connection: Connection, destination: Row[Any], row: Row[Any]) -> None:
    """The feed has forgotten what was to be sent."""
    values = {"delivery": row.delivery_id, "state": "failed", "status": None}
    connection.execute(_CLOSE, {**values, "error": "the event was dropped from the feed after 30 days"})
    problem = troubles.dropped(destination.name, row.type, row.event_id)
    desk.report(connection, troubles.about(destination.tenant_id, destination.subscription_id), problem)


def _text(said: str | None) -> str | None:
    """What a stranger said, as PostgreSQL can keep it."""
    return said.replace("\x00", "")[:REPLY_KEPT] if said is not None else None
