"""Destinations of what we tell: a tenant's webhooks, and AlgaPSA's REST API where a tenant wants its payments recorded.

Whatever state a destination is in, what it is owed is written down; `resume` goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from messages.catalog import CATALOG
from services.connections.vault import Vault
from services.exceptions import desk
from services.ledger import timeline
from services.psa import signature, troubles
from services.psa.addresses import Outgoing, check, shown
from services.refusals import conflict, invalid, missing

ALL: Final = "*"
NOTICE: Final = "notice.v1"
TEST: Final = "webhook.test.v1"
PAYMENTS: Final = ("payment.received.v1", "payment.changed.v1", "payment.withdrawn.v1")
TYPES: Final = (
    *(entry.routing_key for entry in CATALOG.values() if entry.room == "accounting"),
    NOTICE,
)
"""What a webhook may ask for; `ALL` stands for every accounting event, and not for notices."""

PER_MINUTE: Final = {"webhook": 600, "algapsa": 12}
"""Deliveries. AlgaPSA allows 60 requests a minute, and one payment takes up to five."""

MOST: Final = 20  # destinations a tenant

_COLUMNS = """subscription_id, tenant_id, kind, name, url, event_types, state, state_reason, per_minute, failures,
              failing_since, last_success_at, nullif(rest_until, '-infinity') AS rest_until,
              created_at, created_by, updated_at"""
_LIST = text(
    f"""SELECT {_COLUMNS}, (SELECT count(*) FROM delivery d
                             WHERE d.subscription_id = s.subscription_id AND d.state = 'pending') AS pending
          FROM subscription s
         WHERE s.tenant_id = :tenant AND s.state <> 'deleted' AND s.kind <> 'mail'
           AND (CAST(:id AS uuid) IS NULL OR s.subscription_id = :id)
         ORDER BY s.created_at, s.subscription_id"""  # noqa: S608 - constant columns
)
_LOCK = text(
    """SELECT FROM subscription WHERE subscription_id = :id AND tenant_id = :tenant
          AND state <> 'deleted' AND kind <> 'mail' FOR NO KEY UPDATE"""
)
_INSERT = text(
    """INSERT INTO subscription (tenant_id, kind, name, url, event_types, secret, per_minute, created_by)
       VALUES (:tenant, :kind, :name, :url, CAST(:types AS text[]), :secret, :per_minute, :actor)
       RETURNING subscription_id"""
)
_CHANGE = text(
    """UPDATE subscription SET name = :name, url = :url, event_types = CAST(:types AS text[]),
              per_minute = :per_minute, updated_at = clock_timestamp()
        WHERE subscription_id = :id"""
)
_SECRET = text(
    "UPDATE subscription SET secret = :secret, updated_at = clock_timestamp() WHERE subscription_id = :id"
)
_STATE = text(
    """UPDATE subscription SET state = :state, state_reason = :reason, updated_at = clock_timestamp()
        WHERE subscription_id = :id"""
)
# A new chance: what failed before says nothing about the destination as it is now.
_FRESH = text(
    """UPDATE subscription SET failures = 0, failing_since = NULL, rest_until = '-infinity'
        WHERE subscription_id = :id"""
)
_DUE = text(
    """UPDATE delivery SET due_at = clock_timestamp(), attempts = 0, first_attempt_at = NULL
        WHERE subscription_id = :id AND state = 'pending' AND attempts > 0"""
)
_FORGET = text(
    """UPDATE delivery SET state = 'failed', error = 'the destination was deleted', closed_at = clock_timestamp()
        WHERE subscription_id = :id AND state = 'pending'"""
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One destination. `failures` are in a row; `pending` is what it is still owed."""

    subscription_id: UUID
    tenant_id: str
    kind: str
    name: str
    url: str
    event_types: list[str]
    state: str
    state_reason: str | None
    per_minute: int
    failures: int
    failing_since: datetime | None
    last_success_at: datetime | None
    rest_until: datetime | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    pending: int


@dataclass(frozen=True, slots=True)
class Created:
    """A destination and the secret that signs; it is kept encrypted and not shown again."""

    subscription: Subscription
    secret: str = field(repr=False)


def listed(connection: Connection, tenant: str) -> list[Subscription]:
    """A tenant's destinations, oldest first."""
    return _read(connection, tenant, None)


def get(connection: Connection, tenant: str, subscription_id: UUID) -> Subscription:
    """One destination; raises `Refusal`."""
    found = _read(connection, tenant, subscription_id)
    if not found:
        raise _unknown(subscription_id)
    return found[0]


def create_webhook(
    connection: Connection,
    vault: Vault,
    outgoing: Outgoing,
    tenant: str,
    *,
    name: str,
    url: str,
    event_types: Collection[str],
    per_minute: int | None,
    actor: str,
) -> Created:
    """Begin to post events to an address, from the next one on. Raises `Refusal` naming the field."""
    secret = signature.new_secret()
    made = _create(
        connection,
        tenant,
        {
            "kind": "webhook",
            "name": _named(name),
            "url": check(url, outgoing),
            "types": _types(event_types),
            "secret": vault.encrypt(secret),
            "per_minute": per_minute or PER_MINUTE["webhook"],
        },
        actor,
    )
    return Created(made, secret)


def create_algapsa(
    connection: Connection,
    vault: Vault,
    outgoing: Outgoing,
    tenant: str,
    *,
    url: str,
    api_key: str,
    actor: str,
) -> Subscription:
    """Begin to record payments made in QuickBooks through AlgaPSA's REST API, from the next one on.

    `url` is where AlgaPSA is, without `/api`. Raises `Refusal` naming the field.
    """
    if any(one.kind == "algapsa" for one in listed(connection, tenant)):
        raise conflict(
            "algapsa_is_set", "payments are recorded in AlgaPSA already; change that one, or delete it first"
        )
    return _create(
        connection,
        tenant,
        {
            "kind": "algapsa",
            "name": "AlgaPSA",
            "url": check(url, outgoing).rstrip("/"),
            "types": list(PAYMENTS),
            "secret": vault.encrypt(_key(api_key)),
            "per_minute": PER_MINUTE["algapsa"],
        },
        actor,
    )


def change(
    connection: Connection,
    outgoing: Outgoing,
    tenant: str,
    subscription_id: UUID,
    *,
    name: str | None = None,
    url: str | None = None,
    event_types: Collection[str] | None = None,
    per_minute: int | None = None,
    actor: str,
) -> Subscription:
    """Change what is given. A new address gets a new chance at once. Raises `Refusal` naming the field."""
    before = _locked(connection, tenant, subscription_id)
    if event_types is not None and before.kind != "webhook":
        raise invalid("event_types", "what AlgaPSA is told are the payments; only a webhook chooses")
    after = {
        "name": before.name if name is None else _named(name),
        "url": before.url
        if url is None
        else check(url, outgoing).rstrip("/" if before.kind == "algapsa" else ""),
        "types": before.event_types if event_types is None else _types(event_types),
        "per_minute": per_minute or before.per_minute,
    }
    connection.execute(_CHANGE, {**after, "id": subscription_id})
    if after["url"] != before.url:
        _restart(connection, subscription_id)
    _note(connection, before, actor, "changed", {**after, "url": shown(str(after["url"]))})
    return get(connection, tenant, subscription_id)


def rotate(
    connection: Connection, vault: Vault, tenant: str, subscription_id: UUID, *, actor: str
) -> Created:
    """Sign with a fresh secret from now on. What a receiver refuses until it knows the new one is sent again.

    Raises `Refusal`.
    """
    found = _locked(connection, tenant, subscription_id)
    if found.kind != "webhook":
        raise invalid("subscription_id", "AlgaPSA's API key comes from AlgaPSA; send the new one instead")
    secret = signature.new_secret()
    connection.execute(_SECRET, {"id": subscription_id, "secret": vault.encrypt(secret)})
    _note(connection, found, actor, "secret_rotated", {})
    return Created(get(connection, tenant, subscription_id), secret)


def set_api_key(
    connection: Connection, vault: Vault, tenant: str, subscription_id: UUID, api_key: str, *, actor: str
) -> Subscription:
    """Use another API key of AlgaPSA from now on. Raises `Refusal`."""
    found = _locked(connection, tenant, subscription_id)
    if found.kind != "algapsa":
        raise invalid("api_key", "a webhook has no API key; its signing secret is made here, by rotate")
    connection.execute(_SECRET, {"id": subscription_id, "secret": vault.encrypt(_key(api_key))})
    _restart(connection, subscription_id)
    _note(connection, found, actor, "api_key_changed", {})
    return get(connection, tenant, subscription_id)


def pause(
    connection: Connection, tenant: str, subscription_id: UUID, *, reason: str, actor: str
) -> Subscription:
    """Send nothing for now; what it is owed waits. Raises `Refusal`."""
    found = _locked(connection, tenant, subscription_id)
    connection.execute(_STATE, {"id": subscription_id, "state": "paused", "reason": reason})
    _note(connection, found, actor, "paused", {"reason": reason})
    return get(connection, tenant, subscription_id)


def resume(connection: Connection, tenant: str, subscription_id: UUID, *, actor: str) -> Subscription:
    """Go on where it stopped, after a pause or after we disabled it. Raises `Refusal`."""
    found = _locked(connection, tenant, subscription_id)
    if found.state == "active":
        raise conflict("not_paused", f"{found.name} is active already")
    connection.execute(_STATE, {"id": subscription_id, "state": "active", "reason": None})
    _restart(connection, subscription_id)
    _note(connection, found, actor, "resumed", {"pending": found.pending})
    desk.resolve(
        connection, troubles.about(tenant, subscription_id), troubles.DISABLED, "It was resumed.", actor=actor
    )
    return get(connection, tenant, subscription_id)


def delete(connection: Connection, tenant: str, subscription_id: UUID, *, actor: str) -> None:
    """Send nothing more, ever; the log stays for its time. Raises `Refusal`."""
    found = _locked(connection, tenant, subscription_id)
    connection.execute(_STATE, {"id": subscription_id, "state": "deleted", "reason": None})
    connection.execute(_SECRET, {"id": subscription_id, "secret": None})
    connection.execute(_FORGET, {"id": subscription_id})
    _note(connection, found, actor, "deleted", {"pending": found.pending})
    desk.resolve(
        connection, troubles.about(tenant, subscription_id), troubles.DISABLED, "It was deleted.", actor=actor
    )


def _create(connection: Connection, tenant: str, values: dict[str, Any], actor: str) -> Subscription:
    if len(listed(connection, tenant)) >= MOST:
        raise conflict("too_many", f"a tenant has {MOST} destinations at most; delete one first")
    values = {**values, "tenant": tenant, "actor": actor}
    made = get(connection, tenant, connection.execute(_INSERT, values).scalar_one())
    facts = {"kind": made.kind, "url": shown(made.url), "event_types": made.event_types}
    _note(connection, made, actor, "created", facts)
    return made


def _read(connection: Connection, tenant: str, subscription_id: UUID | None) -> list[Subscription]:
    rows = connection.execute(_LIST, {"tenant": tenant, "id": subscription_id})
    return [Subscription(**row._mapping) for row in rows]


def _locked(connection: Connection, tenant: str, subscription_id: UUID) -> Subscription:
    if connection.execute(_LOCK, {"id": subscription_id, "tenant": tenant}).one_or_none() is None:
        raise _unknown(subscription_id)
    return get(connection, tenant, subscription_id)


def _restart(connection: Connection, subscription_id: UUID) -> None:
    connection.execute(_FRESH, {"id": subscription_id})
    connection.execute(_DUE, {"id": subscription_id})


def _note(
    connection: Connection, found: Subscription, actor: str, action: str, facts: dict[str, Any]
) -> None:
    timeline.append(
        connection, found.tenant_id, "subscription", str(found.subscription_id), actor, action, facts
    )


def _unknown(subscription_id: UUID) -> Exception:
    return missing(
        f"there is no subscription {subscription_id}; list them with GET /v1/subscriptions",
        code="unknown_subscription",
    )


def _named(name: str) -> str:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise invalid("name", "a subscription needs a name of at most 100 characters by which people know it")
    return name.strip()


def _key(api_key: str) -> str:
    if not api_key.strip() or len(api_key) > 500 or not api_key.isascii() or not api_key.isprintable():
        raise invalid("api_key", "an API key of AlgaPSA is needed: Settings, API keys, of an internal user")
    return api_key.strip()


def _types(event_types: Collection[str]) -> list[str]:
    unknown = sorted(set(event_types) - {ALL, *TYPES})
    if unknown or not event_types:
        raise invalid(
            "event_types",
            f"{', '.join(unknown) or 'nothing'} cannot be subscribed to; there are {ALL} (every accounting event),"
            f" {', '.join(TYPES)}",
        )
    return sorted(set(event_types))
