"""Connected QuickBooks companies of a tenant: one default, each with a life of its own.

    active --(authorization gone)--> expired --(reconnect)--> active
    active, expired --(disconnect)--> disconnected --(reconnect)--> active

Work of a company that is not active waits and is released by a reconnect. The default company stays the default
through a disconnect: documents wait for it and never fall to another company by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

import outbox
from services.ledger import timeline, waits
from services.ledger.ports import Condition, Problem
from services.refusals import conflict, missing

State = Literal["active", "expired", "disconnected"]

EXPIRED_TYPE = "accounting_connection_expired"
EXPIRED_TITLE = "Accounting connection needs attention"
_RECONNECT = (
    "Click Reconnect QuickBooks and approve the same company. What waits for it then goes on by itself."
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Company:
    """One company, as far as it may be shown. `realm_id` is Intuit's name of it."""

    company_id: UUID
    tenant_id: str
    environment: str
    realm_id: str
    name: str
    country: str
    home_currency: str
    state: State
    is_default: bool
    attention_reason: str | None
    attention_since: datetime | None
    facts_read_at: datetime | None
    connected_at: datetime
    connected_by: str
    disconnected_at: datetime | None

    @property
    def label(self) -> str:
        """Name and realm, for sentences."""
        return f"{self.name} (realm {self.realm_id})" if self.name else f"realm {self.realm_id}"


class Attention(Protocol):
    """The exception list, as the connection sees it. One open exception a company."""

    def needed(self, connection: Connection, company: Company, problem: Problem) -> None:
        """Open the exception of this company, or count a repeat of the open one."""

    def settled(self, connection: Connection, company: Company, resolution: str) -> None:
        """Close what is open for this company's connection."""


_COLUMNS = ", ".join(field.name for field in fields(Company))
_SELECT = f"SELECT {_COLUMNS} FROM company "  # noqa: S608 - constant columns
_OF_TENANT = text(_SELECT + "WHERE tenant_id = :tenant ORDER BY connected_at, company_id")
_BY_ID = text(_SELECT + "WHERE company_id = :company")
_LOCKED = text(_SELECT + "WHERE company_id = :company FOR UPDATE")
_BY_REALM = text(_SELECT + "WHERE tenant_id = :tenant AND realm_id = :realm AND environment = :environment")
_ELSEWHERE = text(
    """SELECT environment FROM company
        WHERE tenant_id = :tenant AND environment <> :environment AND state <> 'disconnected' LIMIT 1"""
)
_ACTIVATE = text(
    f"""INSERT INTO company (tenant_id, environment, realm_id, state, is_default, connected_by)
        VALUES (:tenant, :environment, :realm, 'active',
                NOT EXISTS (SELECT FROM company WHERE tenant_id = :tenant AND is_default), :actor)
        ON CONFLICT (tenant_id, environment, realm_id) DO UPDATE
           SET state = 'active', attention_reason = NULL, attention_since = NULL,
               disconnected_at = NULL, facts_read_at = NULL,
               connected_at = clock_timestamp(), connected_by = excluded.connected_by
        RETURNING {_COLUMNS}"""  # noqa: S608 - constant columns
)
_LIMITER = text(
    "INSERT INTO company_limiter (company_id, tenant_id) VALUES (:company, :tenant) ON CONFLICT DO NOTHING"
)
_EXPIRE = text(
    f"""UPDATE company
           SET state = 'expired', attention_reason = :reason, attention_since = clock_timestamp()
         WHERE company_id = :company AND state = 'active' RETURNING {_COLUMNS}"""  # noqa: S608 - constant columns
)
_DISCONNECT = text(
    """UPDATE company
          SET state = 'disconnected', attention_reason = NULL, attention_since = NULL,
              disconnected_at = clock_timestamp()
        WHERE company_id = :company"""
)
_DROP_TOKEN = text("DELETE FROM company_token WHERE company_id = :company RETURNING refresh_token")
# First every other one, because an index allows one default at any moment.
_NO_DEFAULT = text("UPDATE company SET is_default = false WHERE tenant_id = :tenant AND is_default")
_DEFAULT = text("UPDATE company SET is_default = true WHERE company_id = :company")


def listed(connection: Connection, tenant: str) -> list[Company]:
    """All companies a tenant ever connected, oldest connection first."""
    return [Company(*row) for row in connection.execute(_OF_TENANT, {"tenant": tenant})]


def get(connection: Connection, company_id: UUID) -> Company:
    """The company. Raises `Refusal` when there is none in the scope of the transaction."""
    return _one(connection.execute(_BY_ID, {"company": company_id}).one_or_none(), str(company_id))


def by_realm(connection: Connection, tenant: str, environment: str, realm_id: str) -> Company:
    """The tenant's company of that realm. Raises `Refusal` when there is none."""
    values = {"tenant": tenant, "realm": realm_id, "environment": environment}
    return _one(connection.execute(_BY_REALM, values).one_or_none(), realm_id)


def claim(
    connection: Connection, tenant: str, *, environment: str, realm_id: str, actor: str
) -> tuple[Company | None, Company]:
    """Make the company the tenant's, or active again; returns it as it was (None: unknown) and as it is.

    Raises `Refusal`: `realm_in_use` when another tenant has it, `environment_mismatch` when this tenant still
    has companies of the other environment.
    """
    other = connection.execute(_ELSEWHERE, {"tenant": tenant, "environment": environment}).scalar()
    if other is not None:
        raise conflict(
            "environment_mismatch",
            f"this tenant still has a {other} company connected, and this one belongs to {environment};"
            f" the two never mix: disconnect the {other} company first",
        )
    values = {"tenant": tenant, "environment": environment, "realm": realm_id, "actor": actor}
    row = connection.execute(_BY_REALM, values).one_or_none()
    try:
        with connection.begin_nested():
            company = Company(*connection.execute(_ACTIVATE, values).one())
    except IntegrityError as taken:
        if "company_one_tenant" not in str(taken.orig):
            raise
        raise conflict(
            "realm_in_use",
            f"QuickBooks company {realm_id} is connected to another tenant;"
            " disconnect it there first, or approve another company",
        ) from None
    return Company(*row) if row else None, company


def activate(
    connection: Connection, tenant: str, *, environment: str, realm_id: str, actor: str, attention: Attention
) -> Company:
    """A company came back from Intuit approved: claim it, close its exception and release what waited for it.

    The caller stores its tokens in the same transaction. Raises as `claim`.
    """
    before, company = claim(connection, tenant, environment=environment, realm_id=realm_id, actor=actor)
    connection.execute(_LIMITER, {"company": company.company_id, "tenant": tenant})
    action = "reconnected" if before else "connected"
    note(connection, company, actor, action, {"realm_id": realm_id, "environment": environment})
    if before is not None and before.state == "expired":
        attention.settled(connection, company, f"{action} by {actor}")
        told = {
            "reason": "authorization_gone",
            "since": before.attention_since,
            "restored_at": company.connected_at,
        }
        tell(connection, company, "connection.restored.v1", told)
    _release(connection, company)
    return company


def lock(connection: Connection, company_id: UUID) -> Company:
    """The company, not to be changed by anybody else until the running transaction ends. Raises as `get`."""
    return _one(connection.execute(_LOCKED, {"company": company_id}).one_or_none(), str(company_id))


def make_default(connection: Connection, company_id: UUID, actor: str) -> Company:
    """Send documents that name no company to this one from now on. Raises `Refusal` unless it is connected."""
    company = lock(connection, company_id)
    if company.state == "disconnected":
        raise conflict(
            "company_disconnected",
            f"{company.label} is disconnected and cannot be the default; reconnect it first",
        )
    if company.is_default:
        return company
    connection.execute(_NO_DEFAULT, {"tenant": company.tenant_id})
    connection.execute(_DEFAULT, {"company": company_id})
    company = get(connection, company_id)
    note(connection, company, actor, "made_default", {})
    if company.state == "active":
        _release(connection, company)
    return company


def expire(
    connection: Connection, company_id: UUID, reason: str, attention: Attention, *, actor: str = "algasync"
) -> bool:
    """Record that the authorization is gone; False when the company was not active. Its work waits from now on."""
    row = connection.execute(_EXPIRE, {"company": company_id, "reason": reason}).one_or_none()
    if row is None:
        return False
    company = Company(*row)
    note(connection, company, actor, "expired", {"reason": reason})
    problem = _problem(company, reason)
    attention.needed(connection, company, problem)
    told = {
        "reason": "authorization_gone",
        "since": company.attention_since,
        "title": f"{EXPIRED_TITLE}: {company.label}",
        "fix": problem.fix,
    }
    tell(connection, company, "connection.attention_needed.v1", told)
    _log.warning("company_expired", tenant=company.tenant_id, company=str(company_id), reason=reason)
    return True


def disconnect(connection: Connection, company_id: UUID, actor: str, attention: Attention) -> bytes | None:
    """Forget the company's tokens; returns the encrypted refresh token to revoke, None when it had none.

    App credentials, links, mappings and settings stay. Raises `Refusal` when it is disconnected already.
    """
    company = lock(connection, company_id)
    if company.state == "disconnected":
        raise conflict("company_disconnected", f"{company.label} is disconnected already")
    token: bytes | None = connection.execute(_DROP_TOKEN, {"company": company_id}).scalar()
    connection.execute(_DISCONNECT, {"company": company_id})
    note(connection, company, actor, "disconnected", {})
    attention.settled(connection, company, f"disconnected by {actor}")
    return token


def _problem(company: Company, reason: str) -> Problem:
    return Problem(
        type=EXPIRED_TYPE,
        code="connection_expired",
        cause=f"connection:{company.company_id}",
        title=EXPIRED_TITLE,
        happened=f"QuickBooks no longer accepts the connection of {company.label}.",
        why=reason,
        fix=_RECONNECT,
        details={"realm_id": company.realm_id, "company": company.name, "environment": company.environment},
    )


def tell(connection: Connection, company: Company, event: str, facts: dict[str, Any]) -> None:
    """Tell billing something about a company's connection; `facts` join company and cause in the event."""
    told = {name: fact.isoformat() if isinstance(fact, datetime) else fact for name, fact in facts.items()}
    named = {
        "company_id": str(company.company_id),
        "realm_id": company.realm_id,
        "name": company.name or None,
    }
    data = {"company": named, "cause": {"check": "connection"}, **told}
    outbox.emit(connection, company.tenant_id, event, str(company.company_id), data)


def _release(connection: Connection, company: Company) -> None:
    keys = [str(company.company_id), f"realm:{company.realm_id}"] + ["default"] * company.is_default
    conditions = [Condition("company", key) for key in keys]
    woken = waits.release_all(connection, company.tenant_id, conditions, company_id=company.company_id)
    if woken:
        _log.info(
            "work_released", tenant=company.tenant_id, company=str(company.company_id), operations=woken
        )


def note(connection: Connection, company: Company, actor: str, action: str, facts: dict[str, Any]) -> None:
    """Write into a company's timeline."""
    timeline.append(connection, company.tenant_id, "company", str(company.company_id), actor, action, facts)


def _one(row: Any, asked: str) -> Company:
    if row is None:
        raise missing(f"there is no QuickBooks company {asked} in this tenant", code="unknown_company")
    return Company(*row)
