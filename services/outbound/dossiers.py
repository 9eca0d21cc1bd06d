"""What is known of documents, ours and those they refer to: how billing described them, and where they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.database.statement import Row, Statement
from services.ledger import links
from services.ledger.documents import Document
from services.ledger.links import Link
from services.outbound import books
from services.outbound.books import Books

Reference = tuple[str, str]
"""Kind and id of a document of billing."""

_DOCUMENT = [column.name for column in fields(Document)]
_END = len(_DOCUMENT) + len(fields(Link)) + 1  # of a dossier's columns in a row
_LIVE = "('synced', 'drift')"
# A document that moved from one company to another has a dead link there and a live one here.
_COLUMNS = f"""u.kind, u.document_id, {", ".join(f"d.{name}" for name in _DOCUMENT[2:])},
               {links.COLUMNS},
               CASE WHEN l.link_id IS NULL THEN EXISTS (
                 SELECT FROM csv_document f WHERE f.tenant_id = :tenant AND f.kind = u.kind
                    AND f.document_id = u.document_id AND f.taken_back_at IS NULL) ELSE false END AS handed_over"""
_JOINED = f"""LEFT JOIN document d ON d.tenant_id = :tenant AND d.kind = u.kind AND d.document_id = u.document_id
          LEFT JOIN LATERAL (
            SELECT * FROM link x
             WHERE x.tenant_id = :tenant AND x.kind = u.kind AND x.document_id = u.document_id
             ORDER BY x.state IN {_LIVE} DESC, x.link_id DESC LIMIT 1) l ON true"""  # noqa: S608 - constant states
_LOAD = Statement(
    f"""SELECT {_COLUMNS}
          FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, document_id) {_JOINED}"""  # noqa: S608 - constant columns
)
# One document by itself, because PostgreSQL plans anew for every list of them.
_WITH_BOOKS = Statement(
    f"""SELECT {_COLUMNS}, {books.columns("coalesce(d.client_id, '')")}
          FROM (SELECT CAST(:kind AS text) AS kind, CAST(:id AS text) AS document_id) u {_JOINED}
          JOIN company c ON c.company_id = :company"""  # noqa: S608 - constant columns
)
_APPLIED = text(
    f"""SELECT l.kind, l.document_id FROM link l
         WHERE l.tenant_id = :tenant AND l.state IN {_LIVE} AND (
           (l.kind = 'payment' AND l.document_id IN (
             SELECT d.document_id FROM document d WHERE d.tenant_id = :tenant AND d.kind = 'payment'
                AND d.data -> 'allocations' @> jsonb_build_array(jsonb_build_object('invoice_id', CAST(:id AS text)))))
           OR (l.kind = 'credit_application' AND l.document_id IN (
             SELECT d.document_id FROM document d WHERE d.tenant_id = :tenant AND d.kind = 'credit_application'
                AND d.data ->> 'invoice_id' = :id)))
         ORDER BY l.link_id"""  # noqa: S608 - constant states
)
_USED = text(
    f"""SELECT l.kind, l.document_id FROM link l JOIN document d USING (tenant_id, kind, document_id)
         WHERE l.tenant_id = :tenant AND l.kind = 'credit_application' AND l.state IN {_LIVE}
           AND d.data ->> 'source_id' = :id ORDER BY l.link_id"""  # noqa: S608 - constant states
)
_EXPORTED = text(
    """SELECT EXISTS (SELECT FROM operation WHERE tenant_id = :tenant AND document_kind = :kind
                         AND document_id = :id AND company_id = :company AND kind = :operation
                         AND state = 'succeeded')"""
)


@dataclass(frozen=True, slots=True)
class Dossier:
    """One document. `document.applied_sequence` is 0 while it is only referred to; `link` is the live one, if any."""

    document: Document
    link: Link | None
    handed_over: bool = False
    """Whether a CSV file carries it to QuickBooks."""

    @property
    def live(self) -> bool:
        """Whether it is in QuickBooks now, as far as we know."""
        return self.link is not None and self.link.state in {"synced", "drift"}

    @property
    def described(self) -> bool:
        """Whether billing ever said what it is."""
        return self.document.data is not None


def is_prepayment(dossier: Dossier) -> bool:
    """Whether it is a prepayment invoice: not exported itself, its payment stands for it."""
    return (dossier.document.data or {}).get("type") == "prepayment"


def target(dossier: Dossier) -> tuple[str, str]:
    """What a line of a Payment links to: type and id in QuickBooks. For documents that are there."""
    assert dossier.link is not None
    return (dossier.link.external_type, dossier.link.external_id)


def load(connection: Connection, tenant: str, references: Iterable[Reference]) -> dict[Reference, Dossier]:
    """Every document asked for, seen or not, in one statement."""
    wanted = list(dict.fromkeys(references))
    values = {"tenant": tenant, "kinds": [kind for kind, _ in wanted], "ids": [id_ for _, id_ in wanted]}
    return {(row[0], row[1]): _from_row(row) for row in _LOAD.all(connection, values)}


def one(connection: Connection, tenant: str, kind: str, document_id: str) -> Dossier:
    """The dossier of one document."""
    return load(connection, tenant, [(kind, document_id)])[(kind, document_id)]


def with_books(
    connection: Connection, tenant: str, reference: Reference, company_id: UUID
) -> tuple[Dossier, Books]:
    """The dossier of one document, and the company as it is for the document's client; one statement."""
    kind, document_id = reference
    values = {"tenant": tenant, "kind": kind, "id": document_id, "company": company_id}
    row = _WITH_BOOKS.one(connection, values)
    return _from_row(row), Books(*row[_END:])


def settling(connection: Connection, tenant: str, invoice_id: str) -> list[Reference]:
    """Our payments and credit applications that settle a part of the invoice in QuickBooks, oldest first."""
    return _references(connection, _APPLIED, {"tenant": tenant, "id": invoice_id})


def using(connection: Connection, tenant: str, source_id: str) -> list[Reference]:
    """Our live credit applications that use a credit note, or a prepayment."""
    return _references(connection, _USED, {"tenant": tenant, "id": source_id})


def exported_before(
    connection: Connection, tenant: str, reference: Reference, company_id: UUID, operation: str
) -> bool:
    """Whether an operation of that kind brought the document to the company once, whatever became of the link."""
    kind, document_id = reference
    values = {
        "tenant": tenant,
        "kind": kind,
        "id": document_id,
        "company": company_id,
        "operation": operation,
    }
    found: bool = connection.execute(_EXPORTED, values).scalar_one()
    return found


def _from_row(row: Row) -> Dossier:
    document, (*link, handed_over) = row[: len(_DOCUMENT)], row[len(_DOCUMENT) : _END]
    if document[8] is None:  # not even a placeholder
        document = (*document[:8], "placeholder", 0, None)
    linked = links.from_row(link) if link[0] is not None else None
    return Dossier(Document(*document), linked, handed_over)


def _references(connection: Connection, query: Any, values: dict[str, Any]) -> list[Reference]:
    return [(row.kind, row.document_id) for row in connection.execute(query, values)]
