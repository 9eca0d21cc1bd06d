"""Documents: what the PSA billed, as its events last described it.

A document seen only by reference is a placeholder, so that whoever waits for it and whoever brings it lock the
same row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection

from services.database.statement import Statement

_ENSURE = Statement(
    """INSERT INTO document (tenant_id, kind, document_id)
       SELECT :tenant, k, i FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (k, i) ORDER BY k, i
       ON CONFLICT DO NOTHING""",
)
_COLUMNS = """kind, document_id, number, client_id, client_name, currency, total, document_date, state,
              applied_sequence, data"""
_GET = Statement(
    f"SELECT {_COLUMNS} FROM document WHERE tenant_id = :tenant AND kind = :kind AND document_id = :id"  # noqa: S608 - constant columns
)
_LOCK = Statement(
    f"""SELECT {_COLUMNS}
         FROM document
        WHERE tenant_id = :tenant
          AND (kind, document_id) IN (SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])))
        ORDER BY kind, document_id FOR UPDATE"""  # noqa: S608 - constant columns
)
# An update that changes nothing locks the row; xmax tells a row just made from one that was there.
_CLAIM = Statement(
    f"""INSERT INTO document AS d (tenant_id, kind, document_id) VALUES (:tenant, :kind, :id)
        ON CONFLICT (tenant_id, kind, document_id) DO UPDATE SET updated_at = d.updated_at
        RETURNING {_COLUMNS}, xmax = 0 AS fresh"""  # noqa: S608 - constant columns
)
DESCRIBE = """UPDATE document SET applied_sequence = :sequence, updated_at = clock_timestamp(),
              number = coalesce(:number, number), client_id = coalesce(:client_id, client_id),
              client_name = coalesce(:client_name, client_name), currency = coalesce(:currency, currency),
              total = coalesce(:total, total), document_date = coalesce(:document_date, document_date),
              state = coalesce(:state, state), data = coalesce(CAST(:data AS jsonb), document.data)
        WHERE tenant_id = :tenant AND kind = :kind AND document_id = :id"""
"""Take over what an event says, with the values of `Description.columns` and the event's place."""

_DESCRIBE = Statement(DESCRIBE)


@dataclass(frozen=True, slots=True)
class Document:
    """One document; `total` in minor units of `currency`, `data` the event data that described it whole."""

    kind: str
    document_id: str
    number: str | None
    client_id: str | None
    client_name: str | None
    currency: str | None
    total: int | None
    document_date: date | None
    state: str
    applied_sequence: int
    data: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Description:
    """What an event says of its document; None leaves a field as it is."""

    state: str | None = None
    number: str | None = None
    client_id: str | None = None
    client_name: str | None = None
    currency: str | None = None
    total: int | None = None
    document_date: date | None = None
    data: dict[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """The values that `DESCRIBE` wants of it."""
        return {
            "state": self.state,
            "number": self.number,
            "client_id": self.client_id,
            "client_name": self.client_name,
            "currency": self.currency,
            "total": self.total,
            "document_date": self.document_date,
            "data": json.dumps(self.data) if self.data is not None else None,
        }


def claim(connection: Connection, tenant: str, kind: str, document_id: str) -> tuple[Document, bool]:
    """Lock one document, made as a placeholder if nobody has seen it; and whether this made it."""
    *columns, fresh = _CLAIM.one(connection, {"tenant": tenant, "kind": kind, "id": document_id})
    return Document(*columns), fresh


def lock(
    connection: Connection, tenant: str, references: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Document]:
    """Lock the documents `(kind, id)` in id order, so that two transactions never wait for each other in a ring.

    Unseen ones are made as placeholders first.
    """
    ordered = sorted(set(references))
    values = {"tenant": tenant, "kinds": [k for k, _ in ordered], "ids": [i for _, i in ordered]}
    found = _locked(connection, values)
    if len(found) < len(ordered):
        _ENSURE.run(connection, values)
        found = _locked(connection, values)
    return found


def _locked(connection: Connection, values: dict[str, Any]) -> dict[tuple[str, str], Document]:
    return {(row[0], row[1]): Document(*row) for row in _LOCK.all(connection, values)}


def describe(
    connection: Connection, tenant: str, kind: str, document_id: str, sequence: int, described: Description
) -> None:
    """Take over what the event with this sequence says. The caller holds the document's lock."""
    place = {"tenant": tenant, "kind": kind, "id": document_id, "sequence": sequence}
    _DESCRIBE.run(connection, place | described.columns())


def get(connection: Connection, tenant: str, kind: str, document_id: str) -> Document:
    """A document that is known to exist, without locking it."""
    return Document(*_GET.one(connection, {"tenant": tenant, "kind": kind, "id": document_id}))
