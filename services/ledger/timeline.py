"""Who did what: the append-only, hash-chained record of a document (or company, mapping, setting)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from services.database.statement import Statement
from services.ledger.operations import Operation

_APPEND = Statement("SELECT timeline_append(:tenant, :kind, :id, :actor, :action, CAST(:details AS jsonb))")
_READ = text(
    """SELECT position, at, actor, action, details, encode(hash, 'hex') AS hash,
              hash = timeline_hash(previous, tenant_id, subject_kind, subject_id, position, at, actor, action, details)
              AND previous = coalesce(lag(hash) OVER (ORDER BY position), '\\x') AS intact
         FROM timeline WHERE tenant_id = :tenant AND subject_kind = :kind AND subject_id = :id
        ORDER BY position""",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `intact` says whether its hash and its place in the chain are as written."""

    position: int
    at: datetime
    actor: str
    action: str
    details: dict[str, Any]
    hash: str
    intact: bool


def append(
    connection: Connection,
    tenant: str,
    subject_kind: str,
    subject_id: str,
    actor: str,
    action: str,
    details: dict[str, Any],
) -> int:
    """Write an entry inside the caller's transaction and return its position, 1 for the first."""
    position: int
    (position,) = _APPEND.one(
        connection,
        {
            "tenant": tenant,
            "kind": subject_kind,
            "id": subject_id,
            "actor": actor,
            "action": action,
            "details": json.dumps(details, default=str),
        },
    )
    return position


def note(connection: Connection, operation: Operation, action: str, details: dict[str, Any]) -> None:
    """Write what the fleet did for an operation to the history of its document, inside the caller's transaction."""
    append(
        connection,
        operation.tenant_id,
        operation.document_kind,
        operation.document_id,
        "algasync",
        action,
        {**facts(operation), **details},
    )


def facts(operation: Operation) -> dict[str, Any]:
    """What every entry about an operation says of it."""
    return {
        "operation_id": str(operation.operation_id),
        "operation": operation.kind,
        "attempt": operation.attempt,
    }


def read(connection: Connection, tenant: str, subject_kind: str, subject_id: str) -> list[Entry]:
    """All entries of a subject, oldest first, each checked against its hash and its predecessor's."""
    rows = connection.execute(_READ, {"tenant": tenant, "kind": subject_kind, "id": subject_id})
    return [Entry(*row) for row in rows]
