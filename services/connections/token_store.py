"""The row that holds a company's tokens: encrypted, versioned, its ends told by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections.vault import Vault
from services.quickbooks.oauth import TokenSet

_READ = text(
    """SELECT t.tenant_id, c.state, t.version, t.access_token, t.refresh_token, t.refreshing_since,
              extract(epoch FROM clock_timestamp() - t.refreshing_since)::float8,
              extract(epoch FROM t.access_expires_at - clock_timestamp())::float8,
              t.refresh_expires_at <= clock_timestamp(),
              coalesce(t.hard_expires_at <= clock_timestamp(), false)
         FROM company_token t JOIN company c USING (company_id) WHERE t.company_id = :company"""
)
_PUT = text(
    """INSERT INTO company_token AS t
         (company_id, tenant_id, access_token, refresh_token, access_expires_at, refresh_expires_at, hard_expires_at)
       VALUES (:company, :tenant, :access, :refresh,
               clock_timestamp() + make_interval(secs => :access_seconds),
               clock_timestamp() + make_interval(secs => :refresh_seconds),
               clock_timestamp() + make_interval(secs => :hard_seconds))
       ON CONFLICT (company_id) DO UPDATE
          SET access_token = excluded.access_token, refresh_token = excluded.refresh_token,
              access_expires_at = excluded.access_expires_at, refresh_expires_at = excluded.refresh_expires_at,
              hard_expires_at = excluded.hard_expires_at, version = nextval('company_token_version'),
              refreshing_since = NULL, refreshed_at = clock_timestamp()"""
)
_RENEW = text(
    """UPDATE company_token
          SET access_token = :access, refresh_token = :refresh, version = nextval('company_token_version'),
              access_expires_at = clock_timestamp() + make_interval(secs => :access_seconds),
              refresh_expires_at = clock_timestamp() + make_interval(secs => :refresh_seconds),
              hard_expires_at = coalesce(clock_timestamp() + make_interval(secs => :hard_seconds), hard_expires_at),
              refreshing_since = NULL, refreshed_at = clock_timestamp()
        WHERE company_id = :company AND version = :version"""
)
_MARK = text(
    """UPDATE company_token SET refreshing_since = CASE WHEN :on THEN clock_timestamp() END
        WHERE company_id = :company AND version = :version"""
)
_DUE = text(
    """SELECT t.company_id FROM company_token t JOIN company c USING (company_id)
        WHERE c.state = 'active' AND t.access_expires_at < statement_timestamp() + make_interval(secs => :within)
        ORDER BY t.access_expires_at LIMIT :limit"""
)


@dataclass(frozen=True, slots=True)
class Held:
    """A company's tokens as one statement saw them."""

    tenant: str
    state: str  # of the company
    version: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    refreshing_since: datetime | None  # a refresh that never told what came of it
    marked_for: float | None  # seconds since then
    seconds_left: float  # of the access token
    lapsed: bool  # the refresh token was not used for its whole life
    over: bool  # Intuit's hard limit has passed


def read(connection: Connection, vault: Vault, company_id: UUID) -> Held | None:
    """What is stored; None for a company without tokens."""
    row = connection.execute(_READ, {"company": company_id}).one_or_none()
    if row is None:
        return None
    tenant, state, version, access, refresh, *rest = row
    return Held(tenant, state, version, vault.open(access), vault.open(refresh), *rest)


def put(connection: Connection, vault: Vault, tenant: str, company_id: UUID, tokens: TokenSet) -> None:
    """Store what a new authorization brought, whatever was there before."""
    connection.execute(_PUT, {"company": company_id, "tenant": tenant, **_values(vault, tokens)})


def renew(connection: Connection, vault: Vault, company_id: UUID, version: int, tokens: TokenSet) -> bool:
    """Store what a refresh of that version brought; False when the row is gone or newer meanwhile."""
    values = {"company": company_id, "version": version, **_values(vault, tokens)}
    return bool(connection.execute(_RENEW, values).rowcount)


def mark(connection: Connection, company_id: UUID, version: int, *, refreshing: bool) -> None:
    """Note that Intuit is about to be asked, or that it certainly was not."""
    connection.execute(_MARK, {"company": company_id, "version": version, "on": refreshing})


def due(connection: Connection, *, within: float, limit: int) -> list[UUID]:
    """Active companies whose access token ends within so many seconds, the most urgent first."""
    return list(connection.execute(_DUE, {"within": within, "limit": limit}).scalars())


def _values(vault: Vault, tokens: TokenSet) -> dict[str, Any]:
    """Lifetimes instead of moments: our clock and the database's may differ."""
    now, hard = datetime.now(UTC), tokens.refresh_hard_expires_at
    return {
        "access": vault.encrypt(tokens.access_token),
        "refresh": vault.encrypt(tokens.refresh_token),
        "access_seconds": (tokens.access_expires_at - now).total_seconds(),
        "refresh_seconds": (tokens.refresh_expires_at - now).total_seconds(),
        "hard_seconds": (hard - now).total_seconds() if hard else None,
    }
