"""Where to go: the pages that belong to an exception, so that nobody has to search for what it speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import Connection, text

from services.psa import pages

if TYPE_CHECKING:
    from services.exceptions.exceptions import SyncException

SETTINGS: Final = "/msp/settings?tab=integrations&category=accounting"
"""Where AlgaPSA shows connection, mappings and this list; relative to the PSA, whose address only the PSA knows."""

FAULTS: Final = "https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes"

# Pages of QuickBooks below /app, by `fault_words.Place`.
_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "customers": ("Customers in QuickBooks", "customers"),
    "items": ("Products and services in QuickBooks", "items"),
    "taxes": ("Taxes in QuickBooks", "salestax"),
    "accounts": ("Chart of accounts in QuickBooks", "chartofaccounts"),
    "terms": ("Terms in QuickBooks", "terms"),
    "settings": ("Account and settings in QuickBooks", "accountsettings"),
    "banking": ("Bank transactions in QuickBooks", "banking"),
    "plan": ("Billing and subscription of QuickBooks", "accountsettings?p=billing"),
}
_THERE: Final = text(
    """SELECT l.external_type, l.external_id, l.number, k.environment FROM link l JOIN company k USING (company_id)
        WHERE l.tenant_id = :tenant AND l.kind = :kind AND l.document_id = :id
          AND (CAST(:company AS uuid) IS NULL OR l.company_id = :company)
        ORDER BY l.link_id DESC LIMIT 1"""
)
_ENVIRONMENT: Final = text("SELECT environment FROM company WHERE company_id = :company")


@dataclass(frozen=True, slots=True)
class Pointer:
    """One link. `rel`: document (the thing itself), place (where to fix it), help, or psa (relative to the PSA)."""

    rel: Literal["document", "place", "help", "psa"]
    label: str
    url: str


def of(connection: Connection, found: SyncException) -> list[Pointer]:
    """The links of an exception, the nearest to its remedy first; never none."""
    pointers = [*_document(connection, found), *_place(connection, found)]
    if found.code.startswith("quickbooks_"):
        pointers.append(Pointer("help", "Intuit's list of error codes", FAULTS))
    return [*pointers, Pointer("psa", "Accounting integration in AlgaPSA", SETTINGS)]


def _document(connection: Connection, found: SyncException) -> list[Pointer]:
    told = found.details.get("url")
    if isinstance(told, str) and told.startswith("https://"):
        return [Pointer("document", "The document in QuickBooks", told)]
    values = {
        "tenant": found.tenant_id,
        "kind": found.entity_kind,
        "id": found.entity_id,
        "company": found.company_id,
    }
    row = connection.execute(_THERE, values).one_or_none()
    url = pages.page(row.environment, row.external_type, row.external_id) if row else None
    if row is None or url is None:
        return []
    return [Pointer("document", f"{row.external_type} {row.number or row.external_id} in QuickBooks", url)]


def _place(connection: Connection, found: SyncException) -> list[Pointer]:
    place = _PLACES.get(str(found.details.get("place")))
    if place is None or found.company_id is None:
        return []
    environment = connection.execute(_ENVIRONMENT, {"company": found.company_id}).scalar_one_or_none()
    label, path = place
    return [Pointer("place", label, f"{pages.HOSTS[environment]}/app/{path}")] if environment else []
