"""The lists of a company that mappings and settings choose from: items, tax codes, terms, accounts and the others.

Read whole (all pages, inactive ones too) and kept, so that a choice, a check or a forecast costs no metered read
while the list is younger than `EXPIRES`. What disappears from a list stays known by its last name.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/item
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.database import Database
from services.ledger.ports import Clients
from services.quickbooks import body, calls
from services.quickbooks.pages import all_raw
from services.quickbooks.query import Select, select

EXPIRES = timedelta(hours=12)
"""Age from which a list is read again before somebody chooses from it."""

LISTS: Mapping[str, Select] = {
    **{
        entity: select(entity).with_inactive()
        for entity in (
            "Item",
            "Term",
            "PaymentMethod",
            "Customer",
            "Account",
            "Class",
            "Department",
            "TaxRate",
        )
    },
    # TAX and NON have no Active, so a query that names it would leave them out; inactive ones come by themselves.
    "TaxCode": select("TaxCode"),
}
"""What is kept, and how it is asked for."""

_AGES = text(
    """SELECT entity, read_at, clock_timestamp() - read_at < CAST(:expires AS interval) AS fresh
         FROM catalog WHERE company_id = :company"""
)
_LIST_READ = text(
    """INSERT INTO catalog AS c (company_id, tenant_id, entity) VALUES (:company, :tenant, :entity)
       ON CONFLICT (company_id, entity) DO UPDATE SET read_at = clock_timestamp()"""
)
_KEEP = text(
    """INSERT INTO catalog_entry (company_id, tenant_id, entity, external_id, name, active, data)
       SELECT :company, :tenant, :entity, r ->> 'Id',
              coalesce(r ->> 'FullyQualifiedName', r ->> 'DisplayName', r ->> 'Name', ''),
              coalesce((r ->> 'Active')::boolean, true), r
         FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS r
       ON CONFLICT (company_id, entity, external_id) DO UPDATE
          SET name = excluded.name, active = excluded.active, data = excluded.data, gone_at = NULL"""
)
_GONE = text(
    """UPDATE catalog_entry SET gone_at = clock_timestamp()
        WHERE company_id = :company AND entity = :entity AND gone_at IS NULL
          AND external_id <> ALL (CAST(:ids AS text[]))"""
)
# As text, because a driver's JSON would make floats of rates and prices.
_ENTRIES = text(
    """SELECT entity, external_id, name, active, gone_at IS NOT NULL AS gone, data::text AS data FROM catalog_entry
        WHERE company_id = :company AND entity = :entity ORDER BY lower(name), external_id"""
)
_FIND = text(
    """SELECT e.entity, e.external_id, e.name, e.active, e.gone_at IS NOT NULL AS gone, e.data::text AS data
         FROM unnest(CAST(:entities AS text[]), CAST(:ids AS text[])) AS wanted (entity, external_id)
         JOIN catalog_entry e USING (entity, external_id) WHERE e.company_id = :company"""
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a list. `gone`: it was there once and is not listed any more."""

    entity: str
    id: str
    name: str  # with its parents, as "Hardware:Laptops"
    active: bool
    gone: bool
    data: dict[str, Any]


def ages(connection: Connection, company_id: UUID) -> dict[str, tuple[datetime, bool]]:
    """When each list was read, and whether that is recent enough."""
    rows = connection.execute(_AGES, {"company": company_id, "expires": EXPIRES})
    return {row.entity: (row.read_at, row.fresh) for row in rows}


def read(
    database: Database,
    clients: Clients,
    tenant: str,
    company_id: UUID,
    entities: Iterable[str],
    *,
    refresh: bool = False,
) -> None:
    """Read the lists that are older than `EXPIRES`, or all of them with `refresh`; one metered read a page.

    Each is stored whole when its last page came. Errors of the wire pass through; what was kept before stays.
    """
    with database.transaction(tenant) as connection:
        known = ages(connection, company_id)
    for entity in entities:
        if not refresh and entity in known and known[entity][1]:
            continue
        found = list(all_raw(lambda call: clients.look(company_id, call), LISTS[entity]))
        with database.transaction(tenant) as connection:
            store(connection, tenant, company_id, entity, found)


def read_some(
    database: Database, clients: Clients, tenant: str, company_id: UUID, entity: str, ids: Collection[str]
) -> None:
    """Look for rows that a list lacks, because they may be newer than it; one metered read a hundred."""
    found: list[dict[str, Any]] = []
    for wanted in LISTS[entity].each_in("Id", sorted(ids)):
        reply = clients.look(company_id, calls.query(wanted))
        found += reply.data["QueryResponse"].get(entity) or []
    with database.transaction(tenant) as connection:
        values = {"company": company_id, "tenant": tenant, "entity": entity}
        connection.execute(_KEEP, {**values, "rows": body.dump(found)})


def store(
    connection: Connection, tenant: str, company_id: UUID, entity: str, rows: Collection[Mapping[str, Any]]
) -> None:
    """Keep a list as it was read just now, whole: what is not among the rows is gone from the company."""
    values = {"company": company_id, "tenant": tenant, "entity": entity}
    connection.execute(_LIST_READ, values)  # first: two readers of one list come one after the other
    connection.execute(_KEEP, {**values, "rows": body.dump(list(rows))})
    connection.execute(_GONE, {**values, "ids": [str(row["Id"]) for row in rows]})


def entries(connection: Connection, company_id: UUID, entity: str) -> list[Entry]:
    """A list as kept, by name; what is inactive or gone too."""
    rows = connection.execute(_ENTRIES, {"company": company_id, "entity": entity})
    return [_entry(row) for row in rows]


def find(
    connection: Connection, company_id: UUID, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Entry]:
    """Entries by entity and id, in one statement; what was never seen is not in the answer."""
    if not wanted:
        return {}
    values = {
        "company": company_id,
        "entities": [one for one, _ in wanted],
        "ids": [id_ for _, id_ in wanted],
    }
    return {(row.entity, row.external_id): _entry(row) for row in connection.execute(_FIND, values)}


def _entry(row: Any) -> Entry:
    return Entry(row.entity, row.external_id, row.name, row.active, row.gone, body.load(row.data))
