"""What a company says of itself: CompanyInfo and Preferences, read at connect, daily, and when they change."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections import companies
from services.connections.clients import Clients
from services.connections.companies import Company
from services.database import Database
from services.quickbooks import body, calls
from services.quickbooks.entities import CompanyInfo, Preferences

EVERY = timedelta(days=1)

_STORE = text(
    """UPDATE company
          SET name = :name, country = :country, home_currency = :currency, facts_read_at = clock_timestamp(),
              company_info = CAST(:info AS jsonb), preferences = CAST(:preferences AS jsonb)
        WHERE company_id = :company"""
)
_DUE = text(
    """SELECT company_id FROM company
        WHERE state = 'active' AND coalesce(facts_read_at < clock_timestamp() - CAST(:every AS interval), true)
        ORDER BY facts_read_at NULLS FIRST LIMIT :limit"""
)
_OUTDATED = text("UPDATE company SET facts_read_at = NULL WHERE company_id = :company")
_PREFERENCES = text("SELECT preferences FROM company WHERE company_id = :company")


def read(database: Database, clients: Clients, tenant: str, company_id: UUID) -> Company:
    """Read and store both; two metered reads. Raises `QuickBooksError` when QuickBooks does not answer."""
    with database.transaction(tenant) as connection:
        realm_id = companies.get(connection, company_id).realm_id
    info = clients.look(company_id, calls.read("CompanyInfo", realm_id)).one(CompanyInfo)
    preferences = clients.look(company_id, calls.read("Preferences")).one(Preferences)
    currency = preferences.currency_prefs and preferences.currency_prefs.home_currency
    values = {
        "company": company_id,
        "name": info.company_name or "",
        "country": info.country or "",
        "currency": currency.value if currency else "",
        "info": body.dump(info.to_wire()),
        "preferences": body.dump(preferences.to_wire()),
    }
    with database.transaction(tenant) as connection:
        connection.execute(_STORE, values)
        return companies.get(connection, company_id)


def outdated(connection: Connection, company_id: UUID) -> None:
    """Have them read again soon: Intuit said that they changed."""
    connection.execute(_OUTDATED, {"company": company_id})


def due(connection: Connection, *, limit: int = 100) -> list[UUID]:
    """Active companies whose facts are older than a day, never read ones first."""
    return list(connection.execute(_DUE, {"every": EVERY, "limit": limit}).scalars())


def preferences(connection: Connection, company_id: UUID) -> Preferences | None:
    """The company's preferences as last read; None when they never were."""
    stored = connection.execute(_PREFERENCES, {"company": company_id}).scalar()
    return Preferences.model_validate(stored) if stored else None
