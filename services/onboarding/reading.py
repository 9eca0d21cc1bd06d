"""Reading a company's customers, invoices, credit memos and payments: full pages only, each kept as soon as it came.

QuickBooks cannot be asked for ids beyond another (`Id` takes = and IN only), so pages go by position in the order
of ids and overlap by a row; see `services.quickbooks.pages`. Each page is one transaction: a run that died goes on
behind the last page it kept.
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries#pagination
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import simplejson
from sqlalchemy import Connection, text

from services.database import Database
from services.ledger.ports import Clients
from services.onboarding import runs
from services.onboarding.runs import Reading, Run
from services.quickbooks import body, calls
from services.quickbooks.pages import Pages
from services.quickbooks.query import PAGE, select

QUERIES = {
    # Inactive customers hold their names, so they must be known before one is created.
    "Customer": select("Customer").with_inactive(),
    "Invoice": select("Invoice"),
    "CreditMemo": select("CreditMemo"),
    "Payment": select("Payment"),
}
BOOKS = ("Customer", "Invoice", "CreditMemo")
"""What every run reads; payments are read when they are to be brought over."""

_BEGIN = text(
    """INSERT INTO onboarding_reading (run_id, tenant_id, entity, expected) VALUES (:run, :tenant, :entity, :expected)
       ON CONFLICT DO NOTHING"""
)
_KEEP = text(
    """INSERT INTO onboarding_object (run_id, tenant_id, entity, external_id, data)
       SELECT :run, :tenant, :entity, r ->> 'Id', r FROM jsonb_array_elements(CAST(:data AS jsonb)) AS r
       ON CONFLICT (run_id, entity, external_id) DO UPDATE SET data = excluded.data"""
)
_STEP = text(
    """UPDATE onboarding_reading SET taken = taken + :rows, pages = pages + 1, full_pages = full_pages + :is_full,
              done = :done
        WHERE run_id = :run AND entity = :entity"""
)
_SEEN = text("SELECT external_id FROM onboarding_object WHERE run_id = :run AND entity = :entity")
_CUSTOMERS = text(
    """SELECT external_id, data ->> 'DisplayName' AS name, coalesce(data ->> 'CompanyName', '') AS company,
              coalesce(data ->> 'FullyQualifiedName', '') AS full_name,
              coalesce((data ->> 'Active')::boolean, true) AS active,
              coalesce(data -> 'ParentRef' ->> 'value', '') AS parent,
              coalesce(data -> 'CurrencyRef' ->> 'value', '') AS currency,
              coalesce(data -> 'PrimaryEmailAddr' ->> 'Address', '') AS email
         FROM onboarding_object WHERE run_id = :run AND entity = 'Customer' AND data ? 'DisplayName'
        ORDER BY external_id"""
)
_FORMS = text(
    """SELECT entity, external_id, coalesce(data ->> 'DocNumber', '') AS number, data ->> 'TxnDate' AS day,
              data ->> 'TotalAmt' AS total, coalesce(data -> 'CurrencyRef' ->> 'value', '') AS currency,
              coalesce(data -> 'CustomerRef' ->> 'value', '') AS customer,
              coalesce(data ->> 'PrivateNote', '') LIKE 'Voided%' AS voided
         FROM onboarding_object WHERE run_id = :run AND entity IN ('Invoice', 'CreditMemo')
        ORDER BY entity, external_id"""
)


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer as read; `parent` is the id of the customer above a sub-customer, `active` whether it is in use."""

    id: str
    name: str
    company: str
    full_name: str
    active: bool
    parent: str
    currency: str
    email: str


@dataclass(frozen=True, slots=True)
class SalesForm:
    """An invoice or credit memo as read; `total` as QuickBooks writes it, positive for both."""

    entity: str
    id: str
    number: str
    day: str
    total: str
    currency: str
    customer: str
    voided: bool


def read(
    database: Database,
    clients: Clients,
    run: Run,
    entities: Iterable[str] = BOOKS,
    *,
    progress: Callable[[Reading], None] = lambda _: None,
    size: int = PAGE,
    seconds: float = float("inf"),
) -> bool:
    """Read what is not read yet, whole pages for about so many seconds; returns whether all is read.

    `progress` hears of every page. Errors of the wire pass through. One metered read a page, and one more an entity
    to know how many there will be.
    """
    enough = time.monotonic() + seconds
    for entity in entities:
        with database.transaction(run.tenant_id) as connection:
            known = runs.readings(connection, run.run_id).get(entity)
            kept = connection.execute(_SEEN, {"run": run.run_id, "entity": entity}).scalars().all()
        if known is None:
            expected = clients.look(run.company_id, calls.count(QUERIES[entity])).count
            with database.transaction(run.tenant_id) as connection:
                values = {"run": run.run_id, "tenant": run.tenant_id, "entity": entity, "expected": expected}
                connection.execute(_BEGIN, values)
        elif known.done:
            continue
        pages = Pages(QUERIES[entity], size, resume=kept)
        while call := pages.next():
            reply = clients.look(run.company_id, call)
            kept_now = pages.take_raw(reply)
            rows = reply.data["QueryResponse"].get(entity) or []
            values = {
                "run": run.run_id,
                "tenant": run.tenant_id,
                "entity": entity,
                "data": simplejson.dumps(kept_now, use_decimal=True),
                "rows": len(kept_now),
                "is_full": int(len(rows) == size),
                "done": pages.next() is None,
            }
            with database.transaction(run.tenant_id) as connection:
                connection.execute(_KEEP, values)
                connection.execute(_STEP, values)
                now = runs.readings(connection, run.run_id)[entity]
            progress(now)
            if time.monotonic() > enough and not now.done:
                return False
    return True


def put_customer(connection: Connection, run: Run, data: dict[str, Any]) -> None:
    """Add a customer that the run has created to what was read."""
    values = {"run": run.run_id, "tenant": run.tenant_id, "entity": "Customer"}
    connection.execute(_KEEP, {**values, "data": body.dump([data])})


def customers(connection: Connection, run_id: UUID) -> list[Customer]:
    """The customers of the company, inactive ones too."""
    return [Customer(*row) for row in connection.execute(_CUSTOMERS, {"run": run_id})]


def sales_forms(connection: Connection, run_id: UUID) -> list[SalesForm]:
    """The invoices and credit memos of the company."""
    return [SalesForm(*row) for row in connection.execute(_FORMS, {"run": run_id})]
