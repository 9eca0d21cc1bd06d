"""What of ours has no counterpart in QuickBooks yet: named by lists and documents, with suggestions by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.database import Database
from services.mapping.mappings import Kind
from services.onboarding import choices, suggestions
from services.onboarding.suggestions import Ours, Suggestion

LATELY = 180
"""Days of document dates that are looked through, beside what is still to be sent."""

# Keys of each kind as documents `d` name them, with a name for people.
_SOURCES: Mapping[str, str] = {
    Kind.ITEM: """SELECT l ->> 'service_id', l ->> 'description', ''
                    FROM d, jsonb_array_elements(d.data -> 'lines') AS l""",
    Kind.ITEM_CATEGORY: "SELECT l ->> 'category_id', '', '' FROM d, jsonb_array_elements(d.data -> 'lines') AS l",
    Kind.DISCOUNT_ITEM: """SELECT '', 'Discount', '' FROM d, jsonb_array_elements(d.data -> 'lines') AS l
                            WHERE l -> 'is_discount' = 'true'""",
    # An untaxed line in the US needs no code.
    Kind.TAX_CODE: """SELECT coalesce(l ->> 'tax_region', 'default'), '', ''
                        FROM d, jsonb_array_elements(d.data -> 'lines') AS l
                       WHERE :abroad OR l ->> 'tax_amount' <> '0'""",
    Kind.TERM: "SELECT data ->> 'terms', '', '' FROM d",
    Kind.PAYMENT_METHOD: "SELECT data ->> 'method', '', '' FROM d WHERE kind = 'payment'",
    Kind.CLASS: "SELECT l ->> 'class', '', '' FROM d, jsonb_array_elements(d.data -> 'lines') AS l",
    Kind.CUSTOMER: "SELECT client_id, client_name, '' FROM d",
    Kind.BILLING_PROFILE: """SELECT data -> 'billing_profile' ->> 'id', data -> 'billing_profile' ->> 'name', '' FROM d
                              WHERE (data -> 'billing_profile' ->> 'bills_separately')::boolean""",
}
_LISTED: Mapping[str, str] = {
    Kind.ITEM: "SELECT service_id, name, sku FROM onboarding_service WHERE tenant_id = :tenant AND active",
    Kind.CUSTOMER: """SELECT client_id, name, '' FROM onboarding_client
                       WHERE tenant_id = :tenant AND kind = 'client'""",
    Kind.BILLING_PROFILE: """SELECT client_id, name, '' FROM onboarding_client
                              WHERE tenant_id = :tenant AND kind = 'billing_profile'""",
}
_NOTHING = "SELECT NULL, NULL, NULL WHERE false"
_COMPANY = text("SELECT country FROM company WHERE company_id = :company")


@dataclass(frozen=True, slots=True)
class Unmapped:
    """Something of ours without a counterpart, its name as far as known, and what it may be."""

    key: str
    name: str
    suggestions: list[Suggestion]


def of(database: Database, tenant: str, company_id: UUID, kind: Kind) -> list[Unmapped]:
    """What of a kind is not mapped, by name. A name that the PSA listed counts before one from documents.

    Comparing names takes its time, so no transaction is open meanwhile.
    """
    with database.transaction(tenant) as connection:
        ours = _ours(connection, tenant, company_id, kind)
        listed = choices.listed(connection, company_id, kind) if ours else []
    found = suggestions.of(ours, listed)
    return [Unmapped(one.key, one.name, found[one.key]) for one in ours]


def _ours(connection: Connection, tenant: str, company_id: UUID, kind: Kind) -> list[Ours]:
    abroad = connection.execute(_COMPANY, {"company": company_id}).scalar_one() not in {"US", "USA", ""}
    values: dict[str, Any] = {"tenant": tenant, "company": company_id, "kind": kind, "days": LATELY}
    statement = f"""
        WITH d AS (
          SELECT kind, client_id, client_name, data FROM document
           WHERE tenant_id = :tenant AND data IS NOT NULL
             AND document_date >= CAST(clock_timestamp() AS date) - CAST(:days AS integer)),
        listed (key, name, sku) AS ({_LISTED.get(kind, _NOTHING)}),
        billed (key, name, sku) AS ({_SOURCES[kind]})
        SELECT key, coalesce(max(name) FILTER (WHERE listed), max(name), '') AS name, coalesce(max(sku), '') AS sku
          FROM (SELECT *, true AS listed FROM listed UNION ALL SELECT *, false FROM billed) AS u
         WHERE key IS NOT NULL
           AND NOT EXISTS (SELECT FROM mapping m WHERE m.company_id = :company AND m.kind = :kind AND m.key = u.key)
         GROUP BY key ORDER BY lower(coalesce(max(name), key)), key"""  # noqa: S608 - constant parts
    if ":abroad" in statement:
        values["abroad"] = abroad
    return [
        Ours(row.key, row.name or row.key, row.sku) for row in connection.execute(text(statement), values)
    ]
