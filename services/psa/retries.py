"""Retrying what an exception is about, deliveries to the PSA and to webhooks included.

What is neither an operation nor a letter is a delivery that was given up, which goes out again under its own id, or
a webhook that was disabled, which is resumed and gets what it has missed. Both close by themselves on arrival.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import exceptions, lifecycle, replays
from services.exceptions.exceptions import SyncException
from services.exceptions.replays import Retried
from services.psa import deliveries, subscriptions
from services.psa.troubles import NOT_RECORDED
from services.refusals import conflict

_SUBSCRIPTION = text("SELECT subscription_id FROM delivery WHERE delivery_id = :delivery")
_AT_REST = "disabled"


def retry(connection: Connection, exception_id: UUID, actor: str, reason: str) -> Retried:
    """Try again what an exception is about. Raises `Refusal` when there is nothing to retry."""
    found = exceptions.get(connection, exception_id)
    delivery, disabled = _delivery(connection, found), _disabled(found)
    if delivery is None and disabled is None:
        return replays.retry(connection, exception_id, actor, reason)
    hindrance = _hindrance(connection, found)
    if hindrance is not None:
        raise conflict("nothing_to_retry", f"exception {exception_id} cannot be retried: {hindrance}")
    events: list[UUID] = []
    if delivery is not None:
        events = [deliveries.replay(connection, found.tenant_id, *delivery, actor=actor).event_id]
    elif disabled is not None:
        subscriptions.resume(connection, found.tenant_id, disabled, actor=actor)
    if found.state == "ignored":
        lifecycle.reopen(connection, exception_id, f"retried: {reason}", actor)
    else:
        lifecycle.comment(connection, exception_id, f"retried: {reason}", actor)
    return Retried(None, events)


def obstacle(connection: Connection, exception_id: UUID) -> str | None:
    """Why a retry of an exception would do nothing now; None when it would act. Raises `Refusal`."""
    found = exceptions.get(connection, exception_id)
    if _delivery(connection, found) is None and _disabled(found) is None:
        return replays.obstacle(connection, exception_id)
    return _hindrance(connection, found)


def _hindrance(connection: Connection, found: SyncException) -> str | None:
    """Why a delivery or webhook is not to be tried again."""
    if found.state == "resolved":
        return f"it is resolved: {found.resolution}"
    delivery, disabled = _delivery(connection, found), _disabled(found)
    if delivery is not None and deliveries.get(connection, *delivery).state == "pending":
        return "the delivery is on its way already"
    if disabled is not None:
        state = subscriptions.get(connection, found.tenant_id, disabled).state
        return None if state == _AT_REST else f"the webhook is {state}"
    return None


def _delivery(connection: Connection, found: SyncException) -> tuple[UUID, UUID] | None:
    """Subscription and id of the delivery that an exception is about, while the log still keeps it."""
    if found.entity_kind == "delivery":
        named = found.entity_id
    elif found.type == NOT_RECORDED:
        named = str(found.details.get("delivery_id") or "")
    else:
        return None
    row = connection.execute(_SUBSCRIPTION, {"delivery": named or None}).one_or_none()
    return (row.subscription_id, UUID(named)) if row is not None else None


def _disabled(found: SyncException) -> UUID | None:
    """The webhook that an exception says was disabled."""
    about = found.entity_kind == "subscription" and found.code == "webhook_disabled"
    return UUID(found.entity_id) if about else None
