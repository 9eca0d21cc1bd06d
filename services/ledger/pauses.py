"""Stop switches: the fleet, a tenant, a company, or one kind of a company's work, each with who and why.

Paused work waits; nothing is lost. What a person retries passes the switch of its kind, so that it shows whether the
cause is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger import timeline, waits

Scope = Literal["fleet", "tenant", "company", "kind"]

_TENANTS = text("SELECT DISTINCT tenant_id FROM wait WHERE condition = 'pause' AND key = 'fleet'")


@dataclass(frozen=True, slots=True)
class Pause:
    """One stop switch that is on."""

    scope: str
    tenant_id: str | None
    company_id: UUID | None
    reason: str
    actor: str
    created_at: datetime
    kind: str | None = None  # of operation, with scope kind


def key(scope: Scope, company_id: UUID | None = None, kind: str | None = None) -> str:
    """The key under which operations wait for this switch."""
    match scope:
        case "company":
            return str(company_id)
        case "kind":
            return f"{company_id}/{kind}"
    return scope


def pause(
    connection: Connection,
    scope: Scope,
    *,
    actor: str,
    reason: str,
    tenant: str | None = None,
    company_id: UUID | None = None,
    kind: str | None = None,
) -> bool:
    """Switch off; False when it was off already. Calls under way finish, nothing new starts."""
    _check(scope, tenant, company_id, kind)
    done = connection.execute(
        text(
            """INSERT INTO pause (scope, tenant_id, company_id, kind, reason, actor)
               VALUES (:scope, :tenant, :company_id, :kind, :reason, :actor) ON CONFLICT DO NOTHING"""
        ),
        {
            "scope": scope,
            "tenant": tenant,
            "company_id": company_id,
            "kind": kind,
            "reason": reason,
            "actor": actor,
        },
    )
    if done.rowcount and tenant is not None:
        timeline.append(
            connection, tenant, scope, key(scope, company_id, kind), actor, "paused", {"reason": reason}
        )
    return bool(done.rowcount)


def resume(
    connection: Connection,
    scope: Scope,
    *,
    actor: str,
    tenant: str | None = None,
    company_id: UUID | None = None,
    kind: str | None = None,
) -> int | None:
    """Switch on again and wake what waited; None when it was not off, else how many operations woke."""
    _check(scope, tenant, company_id, kind)
    done = connection.execute(
        text(
            """DELETE FROM pause WHERE scope = :scope AND tenant_id IS NOT DISTINCT FROM :tenant
                  AND company_id IS NOT DISTINCT FROM CAST(:company_id AS uuid)
                  AND kind IS NOT DISTINCT FROM CAST(:kind AS text)"""
        ),
        {"scope": scope, "tenant": tenant, "company_id": company_id, "kind": kind},
    )
    if not done.rowcount:
        return None
    if tenant is not None:
        timeline.append(connection, tenant, scope, key(scope, company_id, kind), actor, "resumed", {})
        tenants = [tenant]
    else:
        tenants = list(connection.execute(_TENANTS).scalars())
    return sum(waits.release(connection, one, "pause", key(scope, company_id, kind)) for one in tenants)


def active(connection: Connection) -> list[Pause]:
    """The switches that are off, as far as the transaction's scope may see them."""
    rows = connection.execute(
        text(
            "SELECT scope, tenant_id, company_id, reason, actor, created_at, kind FROM pause ORDER BY pause_id"
        )
    )
    return [Pause(*row) for row in rows]


def _check(scope: Scope, tenant: str | None, company_id: UUID | None, kind: str | None) -> None:
    fits = (
        (scope == "fleet") == (tenant is None)
        and (scope in {"company", "kind"}) == (company_id is not None)
        and (scope == "kind") == (kind is not None)
    )
    if not fits:
        raise ValueError(
            f"scope {scope} does not fit tenant {tenant!r}, company {company_id!r} and kind {kind!r}"
        )
