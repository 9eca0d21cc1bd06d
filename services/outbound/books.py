"""What an exporter must know of the company it writes to: country, currency, preferences, settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from services.database.statement import Statement


def columns(client: str) -> str:
    """Select list of `Books` for queries that alias the table as `c`; `client` is SQL for the client's id."""
    return f"""c.company_id, c.realm_id, c.name, c.environment, c.country, c.home_currency, c.preferences,
              (SELECT coalesce(jsonb_object_agg(s.name, s.value ORDER BY s.scope LIKE 'client:%',
                                                s.scope LIKE 'company:%'), '{{}}')
                 FROM setting s WHERE s.tenant_id = c.tenant_id
                  AND s.scope IN ('tenant', 'company:' || c.company_id, 'client:' || {client})) AS settings,
              coalesce(c.look_first_until > clock_timestamp(), false) AS look_first"""  # noqa: S608 - our own words


_COMPANY = Statement(f"SELECT {columns(':client_id')} FROM company c WHERE c.company_id = :company_id")  # noqa: S608 - constant columns
_CHOICE = Statement(
    """SELECT c.company_id, c.realm_id FROM company c
        WHERE c.tenant_id = :tenant AND c.state <> 'disconnected'
          AND CASE WHEN :target <> '' THEN c.realm_id = :target OR c.company_id::text = :target
                   ELSE c.company_id = coalesce(
                     (SELECT (s.value #>> '{}')::uuid FROM setting s
                       WHERE s.tenant_id = :tenant AND s.scope = 'client:' || :client_id AND s.name = 'company'),
                     (SELECT d.company_id FROM company d WHERE d.tenant_id = :tenant AND d.is_default)) END"""
)
# Where documents are, or are on their way to.
_OF_DOCUMENTS = Statement(
    """SELECT x.company_id FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)
        CROSS JOIN LATERAL (
          SELECT l.company_id, l.state IN ('synced', 'drift') AS live, 1 AS rank, l.created_at FROM link l
           WHERE l.tenant_id = :tenant AND l.kind = u.kind AND l.document_id = u.id
          UNION ALL
          SELECT o.company_id, false, 2, o.created_at FROM operation o
           WHERE o.tenant_id = :tenant AND o.document_kind = u.kind AND o.document_id = u.id
             AND o.company_id IS NOT NULL) AS x
        ORDER BY x.live DESC, x.rank, x.created_at DESC LIMIT 1"""
)


@dataclass(frozen=True, slots=True)
class Books:
    """One QuickBooks company as an exporter sees it."""

    company_id: UUID
    realm_id: str
    name: str
    environment: str
    country: str
    home_currency: str
    preferences: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    look_first: bool = False  # a backup was restored: what is created may be there already

    def reference(self, name: str) -> str | None:
        """The QuickBooks id that a setting such as `default_class` points at."""
        value = self.settings.get(name)
        return value.get("id") if isinstance(value, dict) else None

    @property
    def in_us(self) -> bool:
        """US companies have sales tax and TAX/NON codes; Intuit says US, or USA since 2025."""
        return self.country in {"US", "USA", ""}

    def preference(self, group: str, name: str) -> Any:
        """A preference as Intuit names it, e.g. ("SalesFormsPrefs", "CustomTxnNumbers"); None when it did not say."""
        return (self.preferences.get(group) or {}).get(name)

    @property
    def multicurrency(self) -> bool:
        """Whether documents may be in another currency than the home currency."""
        return self.preference("CurrencyPrefs", "MultiCurrencyEnabled") is True

    @property
    def automated_sales_tax(self) -> bool:
        """Whether QuickBooks computes sales tax from addresses by itself."""
        return self.preference("TaxPrefs", "PartnerTaxEnabled") is True

    @property
    def sales_tax_off(self) -> bool:
        """Whether the company said that it charges no tax; then it drops any tax we send."""
        return self.preference("TaxPrefs", "UsingSalesTax") is False

    @property
    def closed_through(self) -> date | None:
        """The last day of the period that is closed, as last read; None while the books are open."""
        day = self.preference("AccountingInfoPrefs", "BookCloseDate")
        return date.fromisoformat(day) if day else None

    @property
    def cutover(self) -> date | None:
        """Invoices and credit notes dated before it were brought over before we came."""
        day = self.settings.get("cutover_date")
        return date.fromisoformat(day) if day else None


def load(connection: Connection, company_id: UUID, client_id: str) -> Books:
    """Company facts and settings in one statement; a client's setting wins over the company's over the tenant's."""
    return Books(*_COMPANY.one(connection, {"company_id": company_id, "client_id": client_id}))


def choose(
    connection: Connection, tenant: str, target: str | None, client_id: str
) -> tuple[UUID | None, str]:
    """The company of a document: the targeted one, else the client's, else the tenant's default.

    Returns its id, or None and the key to wait for; a target that is not connected never falls back to another.
    """
    values = {"tenant": tenant, "target": target or "", "client_id": client_id}
    row = _CHOICE.first(connection, values)
    return (row[0] if row else None), (f"realm:{target}" if target else "default")


def of_documents(connection: Connection, tenant: str, references: Iterable[tuple[str, str]]) -> UUID | None:
    """The company in which documents `(kind, id)` are, or will be; None when none of them was ever seen."""
    listed = list(references)
    values = {"tenant": tenant, "kinds": [k for k, _ in listed], "ids": [i for _, i in listed]}
    row = _OF_DOCUMENTS.first(connection, values)
    return row[0] if row else None
