"""Which Intuit app a tenant connects with: its own, else the one the operator shares.

Both halves or neither: half an app is refused, never completed from somewhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from services.connections.application import Application
from services.connections.vault import Vault
from services.ledger import timeline
from services.refusals import Refusal, conflict, invalid

Source = Literal["tenant", "application"]

MAX_LENGTH = 200  # characters; Intuit's ids have 50, its secrets 40

_READ = text(
    "SELECT client_id, client_secret, updated_at, updated_by FROM app_credential WHERE tenant_id = :tenant"
)
_WRITE = text(
    """INSERT INTO app_credential (tenant_id, client_id, client_secret, updated_by)
       VALUES (:tenant, :client_id, :client_secret, :actor)
       ON CONFLICT (tenant_id) DO UPDATE SET client_id = excluded.client_id, updated_by = excluded.updated_by,
              client_secret = excluded.client_secret, updated_at = clock_timestamp()"""
)
_CONNECTED = text(
    """SELECT realm_id FROM company
        WHERE tenant_id = :tenant AND state <> 'disconnected' ORDER BY connected_at LIMIT 1"""
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """An Intuit app, ready to use. Its text form shows nothing."""

    client_id: str
    client_secret: str
    source: Source

    def __repr__(self) -> str:
        return f"Credentials(source={self.source!r})"


@dataclass(frozen=True, slots=True)
class Status:
    """What may be shown of the credentials: masked values, or the reason why connecting is not possible."""

    ready: bool
    source: Source | None
    client_id: str
    client_secret: str
    updated_at: datetime | None
    updated_by: str | None
    reason: str | None


def masked(secret: str) -> str:
    """The last four characters behind dots; nothing of a secret so short that four would give it away."""
    return "••••" + (secret[-4:] if len(secret) >= 12 else "")


def save(
    connection: Connection, vault: Vault, tenant: str, *, client_id: str, client_secret: str, actor: str
) -> None:
    """Store the tenant's own app. Raises `Refusal` naming the field that is missing or malformed."""
    client_id, client_secret = _clean("client_id", client_id), _clean("client_secret", client_secret)
    connection.execute(
        _WRITE,
        {
            "tenant": tenant,
            "client_id": vault.encrypt(client_id),
            "client_secret": vault.encrypt(client_secret),
            "actor": actor,
        },
    )
    timeline.append(
        connection, tenant, "credentials", "quickbooks", actor, "saved", {"client_id": masked(client_id)}
    )


def remove(connection: Connection, tenant: str, actor: str) -> bool:
    """Forget the tenant's own app; False when there was none.

    Raises `Refusal` while a company is connected with it, because its tokens could not be renewed any more.
    """
    realm = connection.execute(_CONNECTED, {"tenant": tenant}).scalar()
    if realm is not None:
        raise conflict(
            "company_connected",
            f"company {realm} is connected with these credentials;"
            " disconnect it first, or save other credentials",
        )
    gone = connection.execute(
        text("DELETE FROM app_credential WHERE tenant_id = :tenant"), {"tenant": tenant}
    )
    if gone.rowcount:
        timeline.append(connection, tenant, "credentials", "quickbooks", actor, "removed", {})
    return bool(gone.rowcount)


def resolve(connection: Connection, vault: Vault, application: Application, tenant: str) -> Credentials:
    """The app to use for a tenant. Raises `Refusal` `config_missing` with what to do when there is none."""
    row = connection.execute(_READ, {"tenant": tenant}).one_or_none()
    if row is not None:
        return Credentials(vault.open(row.client_id), vault.open(row.client_secret), "tenant")
    client_id = application.client_id.get_secret_value()
    client_secret = application.client_secret.get_secret_value()
    if client_id and client_secret:
        return Credentials(client_id, client_secret, "application")
    if client_id or client_secret:
        lacking = "QBO_CLIENT_SECRET" if client_id else "QBO_CLIENT_ID"
        raise Refusal(
            "conflict",
            "config_missing",
            f"the operator's shared Intuit app is half configured: {lacking} is not set;"
            " ask the operator, or save a client id and secret of your own",
        )
    raise Refusal(
        "conflict",
        "config_missing",
        "no Intuit app is configured:"
        " save the client id and client secret of your app from developer.intuit.com",
    )


def status(connection: Connection, vault: Vault, application: Application, tenant: str) -> Status:
    """What to show: *Credentials Ready* or the reason why not."""
    row = connection.execute(_READ, {"tenant": tenant}).one_or_none()
    try:
        found = resolve(connection, vault, application, tenant)
    except Refusal as refused:
        return Status(False, None, "", "", None, None, refused.sentence)
    return Status(
        True,
        found.source,
        masked(found.client_id),
        masked(found.client_secret),
        row.updated_at if row else None,
        row.updated_by if row else None,
        None,
    )


def _clean(field: str, value: str) -> str:
    value = value.strip()
    name = field.replace("_", " ")
    if not value:
        sentence = f"the {name} is empty; client id and client secret are saved together, or not at all"
        raise invalid(field, sentence, code="required")
    if len(value) > MAX_LENGTH:
        raise invalid(field, f"the {name} has {len(value)} characters; Intuit's have at most {MAX_LENGTH}")
    if not value.isascii() or not value.isprintable() or " " in value:
        sentence = f"the {name} holds a character that Intuit never uses; paste it again from the Keys page"
        raise invalid(field, sentence)
    return value
