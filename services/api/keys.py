"""API keys: who may call, for which tenant, to do what. Only a hash is kept; a key is shown once, when it is made."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger import timeline
from services.refusals import conflict, invalid, missing

PREFIX = "algasync_"
"""How every key begins, so that scanners find one that leaked."""

_SHOWN = len(PREFIX) + 6  # characters by which a key is recognised in a list


class Scope(StrEnum):
    """What a key allows."""

    READ = "accounting:read"  # see companies, mappings, operations, exceptions, the feed
    MANAGE = "accounting:manage"  # connect, map, set, pause; includes reading
    EVENTS = "events:write"  # hand in billing events
    OPERATOR = "operator"  # what only the operator sets; includes managing


INCLUDES = {
    Scope.READ: frozenset({Scope.READ}),
    Scope.MANAGE: frozenset({Scope.MANAGE, Scope.READ}),
    Scope.EVENTS: frozenset({Scope.EVENTS}),
    Scope.OPERATOR: frozenset({Scope.OPERATOR, Scope.MANAGE, Scope.READ}),
}

_COLUMNS = (
    "key_id, tenant_id, name, prefix, scopes, created_at, created_by, expires_at, revoked_at, last_used_at,"
    " per_minute"
)
_FIND = text("SELECT key_id, tenant_id, name, scopes, per_minute FROM api_key_find_v2(:hash)")
_INSERT = text(
    f"""INSERT INTO api_key (tenant_id, name, prefix, secret_hash, scopes, created_by, per_minute)
        VALUES (:tenant, :name, :prefix, :hash, CAST(:scopes AS text[]), :actor, :per_minute) RETURNING {_COLUMNS}"""  # noqa: S608 - constant columns
)
_GET = text(f"SELECT {_COLUMNS} FROM api_key WHERE key_id = :key FOR UPDATE")  # noqa: S608 - constant columns
_LIST = text(f"SELECT {_COLUMNS} FROM api_key WHERE tenant_id = :tenant ORDER BY created_at, key_id")  # noqa: S608 - constant columns
_EXPIRE = text(
    """UPDATE api_key SET expires_at = least(expires_at, clock_timestamp() + CAST(:grace AS interval))
        WHERE key_id = :key"""
)
_REVOKE = text("UPDATE api_key SET revoked_at = clock_timestamp() WHERE key_id = :key AND revoked_at IS NULL")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a key, its tenant and what it allows.

    `user` is the person on whose behalf the PSA signed the request, `per_minute` how often the key may call (None:
    as often as this installation allows every key).
    """

    key_id: UUID
    tenant: str
    name: str
    scopes: frozenset[Scope]
    user: str | None = None
    per_minute: int | None = None

    @property
    def actor(self) -> str:
        """How the caller appears in the timeline."""
        return f"key:{self.name}" if self.user is None else f"user:{self.user}"

    def may(self, scope: Scope) -> bool:
        """Whether one of the key's scopes is, or includes, this one."""
        return any(scope in INCLUDES[held] for held in self.scopes)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it may be listed; `prefix` is its visible beginning."""

    key_id: UUID
    tenant_id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """A new key. `secret` is what callers send; it is not kept and cannot be shown again."""

    key: Key
    secret: str = field(repr=False)


def find(connection: Connection, secret: str) -> Caller | None:
    """The caller behind a key, in a transaction without tenant; None when it is unknown, expired or revoked."""
    if not secret.startswith(PREFIX):
        return None
    row = connection.execute(_FIND, {"hash": _hash(secret)}).one_or_none()
    if row is None:
        return None
    scopes = frozenset(map(Scope, row.scopes))
    return Caller(row.key_id, row.tenant_id, row.name, scopes, per_minute=row.per_minute)


def create(
    connection: Connection,
    tenant: str,
    *,
    name: str,
    scopes: Collection[str],
    actor: str,
    per_minute: int | None = None,
) -> Created:
    """Make a key that may call `per_minute` times a minute. Raises `Refusal` naming the field."""
    named(name)
    if per_minute is not None and per_minute < 1:
        raise invalid("per_minute", f"a key may call at least once a minute, not {per_minute} times")
    unknown = [scope for scope in scopes if scope not in set(Scope)]
    if unknown or not scopes:
        raise invalid(
            "scopes", f"a key needs scopes out of {', '.join(Scope)}, not {', '.join(unknown) or 'none'}"
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    values = {
        "tenant": tenant,
        "name": name.strip(),
        "prefix": secret[:_SHOWN],
        "hash": _hash(secret),
        "scopes": sorted(set(scopes)),
        "actor": actor,
        "per_minute": per_minute,
    }
    key = Key(*connection.execute(_INSERT, values).one())
    _note(connection, key, actor, "created", {"name": key.name, "scopes": key.scopes})
    return Created(key, secret)


def rotate(
    connection: Connection, key_id: UUID, *, actor: str, grace: timedelta = timedelta(hours=24)
) -> Created:
    """Make a successor with the same tenant, name and scopes; the old key works on for the grace period.

    Raises `Refusal` when the key does not exist or was revoked.
    """
    old = _usable(connection, key_id)
    connection.execute(_EXPIRE, {"key": key_id, "grace": grace})
    created = create(
        connection,
        old.tenant_id,
        name=old.name,
        scopes=old.scopes,
        actor=actor,
        per_minute=old.per_minute,
    )
    _note(connection, old, actor, "rotated", {"successor": str(created.key.key_id), "grace": str(grace)})
    return created


def revoke(connection: Connection, key_id: UUID, *, actor: str) -> Key:
    """End a key at once. Raises `Refusal` when it does not exist or was revoked before."""
    key = _usable(connection, key_id)
    connection.execute(_REVOKE, {"key": key_id})
    _note(connection, key, actor, "revoked", {})
    return Key(*connection.execute(_GET, {"key": key_id}).one())


def listed(connection: Connection, tenant: str) -> list[Key]:
    """All keys a tenant ever had, oldest first."""
    return [Key(*row) for row in connection.execute(_LIST, {"tenant": tenant})]


def named(name: str) -> str:
    """A key's name without blanks around it. Raises `Refusal`."""
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise invalid("name", "a key needs a name of at most 100 characters by which people know it")
    return name.strip()


def _usable(connection: Connection, key_id: UUID) -> Key:
    row = connection.execute(_GET, {"key": key_id}).one_or_none()
    if row is None:
        raise missing(f"there is no API key {key_id}", code="unknown_key")
    key = Key(*row)
    if key.revoked_at is not None:
        raise conflict("key_revoked", f"API key {key.name} ({key.prefix}...) was revoked; create a new one")
    return key


def _note(connection: Connection, key: Key, actor: str, action: str, facts: dict[str, object]) -> None:
    timeline.append(connection, key.tenant_id, "api_key", str(key.key_id), actor, action, facts)


def _hash(secret: str) -> bytes:
    """A plain digest: the key has 256 random bits, so guessing is hopeless without slowing callers down."""
    return hashlib.sha256(secret.encode()).digest()
