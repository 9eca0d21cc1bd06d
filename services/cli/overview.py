"""Facts of several rooms side by side, as operators want to see them. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger.ports import Condition

_COMPANIES = text(
    """SELECT c.company_id, c.tenant_id, c.name, c.realm_id, c.environment, c.state, c.is_default,
              c.attention_reason, c.connected_at, t.refresh_expires_at,
              EXISTS (SELECT FROM pause p WHERE p.scope = 'fleet'
                         OR (p.tenant_id = c.tenant_id AND (p.scope = 'tenant' OR p.company_id = c.company_id))),
              (SELECT count(*) FROM operation o WHERE o.company_id = c.company_id
                  AND o.state IN ('queued', 'running', 'waiting', 'scheduled', 'failed'))
         FROM company c LEFT JOIN company_token t USING (company_id)
        ORDER BY c.tenant_id, c.connected_at, c.company_id"""
)
_WAITS = text("SELECT condition, key FROM wait WHERE operation_id = :id ORDER BY condition, key")


@dataclass(frozen=True, slots=True)
class Connected:
    """A company, its authorization and its backlog."""

    company_id: UUID
    tenant_id: str
    name: str
    realm_id: str
    environment: str
    state: str
    is_default: bool
    attention_reason: str | None
    connected_at: datetime
    refresh_expires_at: datetime | None
    paused: bool
    unfinished: int  # operations


def companies(connection: Connection) -> list[Connected]:
    """Every company that the transaction's scope may see."""
    return [Connected(*row) for row in connection.execute(_COMPANIES)]


def waits(connection: Connection, operation_id: UUID) -> list[Condition]:
    """What an operation waits for."""
    return [Condition(*row) for row in connection.execute(_WAITS, {"id": operation_id})]
