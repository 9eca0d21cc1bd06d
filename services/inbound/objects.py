"""What we know of QuickBooks' objects: every version that we were shown and did not write ourselves.

The same version twice, or an older copy after a newer one, changes nothing. Deletion is the last version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.inbound.sightings import Sighting
from services.quickbooks import body

_NEWEST = text(
    """SELECT o.entity, o.external_id, o.version, o.sync_token, o.changed_at, o.deleted
         FROM unnest(CAST(:entities AS text[]), CAST(:ids AS text[])) AS u (entity, id)
         JOIN quickbooks_object o ON o.company_id = :company AND o.entity = u.entity AND o.external_id = u.id
          FOR UPDATE OF o"""
)
_CHANGE = text(
    """INSERT INTO quickbooks_change (tenant_id, company_id, entity, external_id, version, cycle, deleted, body)
       VALUES (:tenant, :company, :entity, :id, :version, :cycle, :deleted, CAST(:body AS jsonb))"""
)
_OBJECT = text(
    """INSERT INTO quickbooks_object AS o
         (company_id, entity, external_id, tenant_id, version, change_id, sync_token, changed_at, deleted)
       SELECT :company, :entity, :id, :tenant, :version, change_id, :token, :changed_at, :deleted
         FROM quickbooks_change
        WHERE company_id = :company AND entity = :entity AND external_id = :id AND version = :version
       ON CONFLICT (company_id, entity, external_id) DO UPDATE
          SET version = excluded.version, change_id = excluded.change_id, sync_token = excluded.sync_token,
              changed_at = coalesce(excluded.changed_at, o.changed_at), deleted = excluded.deleted, judge_at = NULL"""
)
_GET = text(
    """SELECT o.version, o.change_id, o.sync_token, o.changed_at, o.deleted, c.body::text, c.seen_at
         FROM quickbooks_object o JOIN quickbooks_change c USING (change_id)
        WHERE o.company_id = :company AND o.entity = :entity AND o.external_id = :id"""
)


@dataclass(frozen=True, slots=True)
class Newest:
    """Which version of an object we know."""

    version: int
    token: str | None
    changed_at: datetime | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest version of an object, with its content; amounts are Decimals. `raw` is None when deleted."""

    version: int
    change_id: int
    token: str | None
    changed_at: datetime | None
    deleted: bool
    raw: Mapping[str, Any] | None
    seen_at: datetime


Key = tuple[str, str]
"""Entity and QuickBooks' id."""


def newest(connection: Connection, company_id: UUID, keys: Iterable[Key]) -> dict[Key, Newest]:
    """The versions known of these objects, locked until the transaction ends."""
    wanted = sorted(set(keys))
    values = {"company": company_id, "entities": [e for e, _ in wanted], "ids": [i for _, i in wanted]}
    return {
        (row.entity, row.external_id): Newest(row.version, row.sync_token, row.changed_at, row.deleted)
        for row in connection.execute(_NEWEST, values)
    }


def is_news(sighting: Sighting, known: Newest | None) -> bool:
    """Whether a sighting is a later version than the known one, as far as QuickBooks lets one tell."""
    if known is None:
        return True
    if known.deleted or sighting.deleted:
        return not known.deleted
    order = compare_tokens(sighting.token, known.token)
    if order:
        return order > 0
    if sighting.changed_at is None or known.changed_at is None:
        return False
    return sighting.changed_at > known.changed_at


def compare_tokens(one: str | None, other: str | None) -> int:
    """Below, at or above 0 as the first SyncToken is older, the same or newer; 0 when they cannot be compared.

    Tokens count up with every write. https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features
    """
    if one is None or other is None or not (one.isdecimal() and other.isdecimal()):
        return 0
    return (int(one) > int(other)) - (int(one) < int(other))


def put(
    connection: Connection,
    tenant: str,
    company_id: UUID,
    cycle: int | None,
    versions: Sequence[tuple[Sighting, int]],
) -> None:
    """Write new versions, each with its number."""
    rows = [
        {
            "tenant": tenant,
            "company": company_id,
            "entity": sighting.entity,
            "id": sighting.id,
            "version": version,
            "cycle": cycle,
            "token": sighting.token,
            "changed_at": sighting.changed_at,
            "deleted": sighting.deleted,
            "body": None if sighting.raw is None else body.dump(storable(sighting.raw)),
        }
        for sighting, version in versions
    ]
    if rows:
        connection.execute(_CHANGE, rows)
        connection.execute(_OBJECT, rows)


def get(connection: Connection, company_id: UUID, entity: str, external_id: str) -> Seen | None:
    """The newest version of an object; None when we were never shown it."""
    row = connection.execute(_GET, {"company": company_id, "entity": entity, "id": external_id}).one_or_none()
    if row is None:
        return None
    return Seen(
        version=row.version,
        change_id=row.change_id,
        token=row.sync_token,
        changed_at=row.changed_at,
        deleted=row.deleted,
        raw=body.load(row.body) if row.body is not None else None,
        seen_at=row.seen_at,
    )


def storable(value: Any) -> Any:
    """The value without what PostgreSQL has no form for: characters that are none."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {storable(str(name)): storable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value
