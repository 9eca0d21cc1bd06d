"""Links: which document of ours is which object in which QuickBooks company."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import simplejson
from sqlalchemy import Connection

from services.database.statement import Statement

_PUT = Statement(
    """INSERT INTO link AS l (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token,
                              number, total, currency, state, snapshot, linked_via, operation_id)
       VALUES (:tenant_id, :company_id, :kind, :document_id, :external_type, :external_id, :sync_token,
               :number, :total, :currency, :state, CAST(:snapshot AS jsonb), :linked_via, :operation_id)
       ON CONFLICT (company_id, kind, document_id) DO UPDATE SET
              external_type = excluded.external_type, external_id = excluded.external_id,
              sync_token = excluded.sync_token, number = excluded.number, total = excluded.total,
              currency = excluded.currency, state = excluded.state, snapshot = excluded.snapshot,
              linked_via = excluded.linked_via, operation_id = excluded.operation_id, updated_at = clock_timestamp()""",
)
# The snapshot comes as text, because a driver's JSON would make floats of its amounts.
COLUMNS = """l.tenant_id, l.company_id, l.kind, l.document_id, l.external_type, l.external_id, l.sync_token, l.number,
             l.total, l.currency, l.state, l.snapshot::text, l.linked_via, l.operation_id"""
"""Select list that `from_row` understands, for queries that alias the table as `l`."""

_OURS = Statement(
    f"SELECT {COLUMNS} FROM link l WHERE company_id = :company_id AND kind = :kind AND document_id = :document_id"  # noqa: S608 - constant columns
)
_THEIRS = Statement(
    f"""SELECT {COLUMNS} FROM link l WHERE company_id = :company_id AND external_type = :external_type
           AND external_id = :external_id ORDER BY link_id"""  # noqa: S608 - constant columns
)


@dataclass(frozen=True, slots=True)
class Link:
    """One link; `total` as QuickBooks said it, in the document's currency; `snapshot` the entity it returned.

    Amounts in the snapshot are Decimals, with the digits QuickBooks sent.
    """

    tenant_id: str
    company_id: UUID
    kind: str
    document_id: str
    external_type: str
    external_id: str
    sync_token: str
    number: str | None
    total: Decimal | None
    currency: str | None
    state: str
    snapshot: dict[str, Any]
    linked_via: str = "export"
    operation_id: UUID | None = None


def from_row(row: Any) -> Link:
    """A link from a row selected with `COLUMNS`."""
    columns = list(row)
    columns[11] = simplejson.loads(columns[11], use_decimal=True)
    return Link(*columns)


def put(connection: Connection, link: Link) -> None:
    """Write the link of a document, replacing what was known of it.

    Raises `IntegrityError` when another document is linked to the same object: that must never be overwritten.
    """
    _PUT.run(
        connection,
        {
            "tenant_id": link.tenant_id,
            "company_id": link.company_id,
            "kind": link.kind,
            "document_id": link.document_id,
            "external_type": link.external_type,
            "external_id": link.external_id,
            "sync_token": link.sync_token,
            "number": link.number,
            "total": link.total,
            "currency": link.currency,
            "state": link.state,
            "snapshot": simplejson.dumps(link.snapshot, use_decimal=True),
            "linked_via": link.linked_via,
            "operation_id": link.operation_id,
        },
    )


def of_document(connection: Connection, company_id: UUID, kind: str, document_id: str) -> Link | None:
    """The link of our document in that company."""
    values = {"company_id": company_id, "kind": kind, "document_id": document_id}
    row = _OURS.first(connection, values)
    return from_row(row) if row else None


def of_object(connection: Connection, company_id: UUID, external_type: str, external_id: str) -> list[Link]:
    """Our documents behind an object in QuickBooks; several only for credit applications."""
    values = {"company_id": company_id, "external_type": external_type, "external_id": external_id}
    return [from_row(row) for row in _THEIRS.all(connection, values)]
