"""Deliveries that need a person, in words a person can act on."""

from __future__ import annotations

from uuid import UUID

from services.exceptions.desk import Subject
from services.ledger.ports import Problem
from services.psa.addresses import shown
from services.psa.sending import Parcel

DISABLED = "accounting_sync_webhook_disabled"
REFUSED = "accounting_sync_webhook_event_refused"
NOT_RECORDED = "accounting_sync_payment_not_recorded"

_KINDS = {"webhook": "Webhook", "algapsa": "Recording payments in AlgaPSA", "mail": "Mail"}


def about(tenant: str, subscription_id: UUID) -> Subject:
    """The subject of a destination's exception."""
    return Subject(tenant, "subscription", str(subscription_id))


def about_delivery(tenant: str, delivery_id: UUID) -> Subject:
    """The subject of the exception of one delivery."""
    return Subject(tenant, "delivery", str(delivery_id))


def disabled(kind: str, name: str, url: str, failures: int, since: str, error: str) -> Problem:
    """Nothing arrived for so long that we stopped trying."""
    return Problem(
        type=DISABLED,
        code="webhook_disabled",
        cause=f"webhook:{shown(url)}",
        title=f"{_KINDS[kind]} {name} is disabled" if kind == "webhook" else f"{_KINDS[kind]} is disabled",
        happened=f"{failures} tries in a row failed since {since}; the last one: {error}",
        why="A destination that fails for a day is left alone until somebody has looked at it.",
        fix="Mend the receiver, send a test, then resume it: everything it has missed is sent, in order.",
        details={"url": shown(url)},
    )


def mail_fails(failures: int, since: str, error: str) -> Problem:
    """Notices cannot be mailed; we go on trying."""
    return Problem(
        type=DISABLED,
        code="mail_fails",
        cause="mail",
        title="Notices cannot be mailed",
        happened=f"{failures} tries in a row failed since {since}; the last one: {error}",
        why="The mail server does not take our mail. Notices wait and are tried every two hours.",
        fix="Check the ALGASYNC_SMTP_ settings and the tenant's notice_recipients. This closes by itself.",
    )


def refused(name: str, parcel: Parcel, error: str) -> Problem:
    """One event was given up, while others arrived."""
    type_, command = parcel.type, f"{parcel.subscription_id} {parcel.delivery_id} --tenant {parcel.tenant}"
    return Problem(
        type=REFUSED,
        code="webhook_event_refused",
        cause=f"webhook_event:{name}:{type_}",
        title=f"{name} does not take an event {type_}",
        happened=f"{parcel.attempt} tries failed, while other events arrived; the last one: {error}",
        why="The receiver refuses this very event, or fails at it.",
        fix=f"Mend the receiver, then replay this delivery: algasync subscriptions replay {command}",
        details={"event_id": str(parcel.event_id), "url": shown(parcel.url)},
    )


def dropped(name: str, type_: str, event_id: UUID) -> Problem:
    """The event left the feed before it could be sent."""
    return Problem(
        type=REFUSED,
        code="webhook_event_dropped",
        cause=f"webhook_dropped:{name}",
        title=f"{name} has missed an event {type_}",
        happened="The event waited longer than the feed keeps events (30 days) and could not be sent.",
        why="The destination was paused or disabled for too long.",
        fix="Compare the receiver's books with the documents and payments of the API, then close this exception.",
        details={"event_id": str(event_id)},
    )
