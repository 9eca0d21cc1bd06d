"""Handing invoices over as CSV files for QuickBooks' own import, and credit notes as a list to enter there.

With or without a connection.
What was handed over is never exported straight: its operations wait until the document is found in QuickBooks (the
wizard's history step links it), or until somebody says that the file was not imported and takes it back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from services.exceptions import desk, replays
from services.ledger import documents, timeline, waits
from services.ledger.operations import COLUMNS, from_row
from services.outbound import unlinked
from services.outbound.csv_files import File, Handover, Selection, composed, matching
from services.outbound.csv_rows import Missing
from services.outbound.forms import INVOICE
from services.refusals import conflict, invalid, missing

_HANDED = text(
    """INSERT INTO csv_handover (tenant_id, actor, first_date, last_date, missing)
       VALUES (:tenant, :actor, :first, :last, CAST(:missing AS jsonb)) RETURNING handover_id, created_at"""
)
_FILE = text(
    """INSERT INTO csv_file (handover_id, number, tenant_id, company_id, name, invoices, rows, content)
       VALUES (:handover_id, :number, :tenant, :company, :name, :invoices, :rows, :content)"""
)
_DOCUMENT = text(
    """INSERT INTO csv_document (handover_id, tenant_id, kind, document_id, file_number)
       VALUES (:handover_id, :tenant, :kind, :document_id, :file_number)"""
)
# What keeps an export back is settled by the hand-over: it waits like the others.
_FAILED = text(
    f"""SELECT {COLUMNS} FROM operation o
         WHERE o.tenant_id = :tenant AND o.document_kind = :kind AND o.document_id = :id
           AND o.kind IN ('export_invoice', 'export_credit_memo') AND o.state = 'failed'
           AND o.outcome IN ('none', 'unsent', 'refused')
         FOR UPDATE"""  # noqa: S608 - constant columns
)
_LISTED = text(
    """SELECT h.handover_id, h.created_at, h.actor, h.first_date, h.last_date, h.missing,
              (SELECT coalesce(jsonb_agg(jsonb_build_object('number', f.number, 'name', f.name,
                        'company_id', f.company_id, 'invoices', f.invoices, 'rows', f.rows, 'kind',
                        (SELECT c.kind FROM csv_document c WHERE c.handover_id = f.handover_id
                            AND c.file_number = f.number LIMIT 1)) ORDER BY f.number), '[]')
                 FROM csv_file f WHERE f.handover_id = h.handover_id) AS files,
              (SELECT count(*) FROM csv_document c WHERE c.handover_id = h.handover_id
                  AND c.taken_back_at IS NULL) AS standing
         FROM csv_handover h
        WHERE h.tenant_id = :tenant AND (CAST(:id AS uuid) IS NULL OR h.handover_id = :id)
        ORDER BY h.created_at DESC, h.handover_id LIMIT :limit"""
)
_CONTENT = text(
    """SELECT name, content FROM csv_file WHERE tenant_id = :tenant AND handover_id = :id AND number = :number"""
)
_STANDING = text(
    """SELECT c.kind, c.document_id FROM csv_document c JOIN document d USING (tenant_id, kind, document_id)
        WHERE c.tenant_id = :tenant AND c.handover_id = :id AND c.taken_back_at IS NULL
          AND (:everything OR c.document_id = ANY (CAST(:named AS text[]))
               OR d.number = ANY (CAST(:named AS text[])))
        ORDER BY c.kind, c.document_id"""
)
_TAKE_BACK = text(
    """UPDATE csv_document SET taken_back_at = clock_timestamp(), taken_back_by = :actor, reason = :reason
        WHERE tenant_id = :tenant AND handover_id = :id AND kind = :kind AND document_id = :document_id
          AND taken_back_at IS NULL"""
)


@dataclass(frozen=True, slots=True)
class Past:
    """A hand-over that was made; `standing` of its documents are still held back."""

    handover_id: UUID
    created_at: datetime
    actor: str
    first_date: date | None
    last_date: date | None
    missing: Sequence[Missing]
    files: Sequence[File]
    standing: int


def preview(connection: Connection, tenant: str, selection: Selection) -> Handover:
    """The files as they would be handed over now. Changes nothing. Raises `Refusal`."""
    return composed(connection, tenant, selection, matching(connection, tenant, selection))[0]


def hand_over(connection: Connection, tenant: str, selection: Selection, *, actor: str) -> Handover:
    """Make the files, and hold what they carry back from export. Raises `Refusal` when nothing is to be handed over."""
    selected = [(row.kind, row.document_id) for row in matching(connection, tenant, selection)]
    documents.lock(connection, tenant, selected)
    made, carried = composed(connection, tenant, selection, matching(connection, tenant, selection))
    if not made.files:
        why = f": {made.left_out[0].why}" if made.left_out else ""
        raise conflict("nothing_to_hand_over", f"nothing of this selection can be handed over{why}")
    row = connection.execute(
        _HANDED,
        {
            "tenant": tenant,
            "actor": actor,
            "first": selection.first,
            "last": selection.last,
            "missing": json.dumps([{"kind": m.kind, "key": m.key, "name": m.name} for m in made.missing]),
        },
    ).one()
    for file in made.files:
        connection.execute(
            _FILE,
            {
                "handover_id": row.handover_id,
                "tenant": tenant,
                "number": file.number,
                "company": file.company_id,
                "name": file.name,
                "invoices": file.invoices,
                "rows": file.rows,
                "content": file.content,
            },
        )
        for document_id in carried[file.number]:
            _hold(connection, tenant, row.handover_id, file, document_id, actor)
    return replace(made, handover_id=row.handover_id, created_at=row.created_at, actor=actor)


def take_back(
    connection: Connection, tenant: str, handover_id: UUID, named: Sequence[str], *, actor: str, reason: str
) -> int:
    """The file, or the documents named by id or number, were not imported or entered: they are exported again.

    Returns how many documents. Raises `Refusal`.
    """
    if not reason.strip():
        raise invalid("reason", "reason is empty; say why the file was not imported")
    past(connection, tenant, handover_id)
    values = {"tenant": tenant, "id": handover_id, "everything": not named, "named": list(named)}
    found = connection.execute(_STANDING, values).all()
    if not found:
        raise conflict("nothing_to_take_back", "nothing of this is handed over any more", field="invoices")
    documents.lock(connection, tenant, [(row.kind, row.document_id) for row in found])
    for row in found:
        connection.execute(
            _TAKE_BACK,
            {
                "tenant": tenant,
                "id": handover_id,
                "kind": row.kind,
                "document_id": row.document_id,
                "actor": actor,
                "reason": reason.strip(),
            },
        )
        facts = {"handover_id": str(handover_id), "reason": reason.strip()}
        timeline.append(connection, tenant, row.kind, row.document_id, actor, "csv_taken_back", facts)
    waits.release_all(connection, tenant, [unlinked.handed_over(row.kind, row.document_id) for row in found])
    return len(found)


def listed(connection: Connection, tenant: str, *, limit: int = 100) -> list[Past]:
    """Hand-overs, the newest first."""
    values = {"tenant": tenant, "id": None, "limit": limit}
    return [_past(row) for row in connection.execute(_LISTED, values)]


def past(connection: Connection, tenant: str, handover_id: UUID) -> Past:
    """One hand-over. Raises `Refusal`."""
    row = connection.execute(_LISTED, {"tenant": tenant, "id": handover_id, "limit": 1}).first()
    if row is None:
        raise missing(f"there is no CSV hand-over {handover_id}")
    return _past(row)


def content(connection: Connection, tenant: str, handover_id: UUID, number: int) -> tuple[str, str]:
    """Name and text of a file, as it was handed over. Raises `Refusal`."""
    row = connection.execute(_CONTENT, {"tenant": tenant, "id": handover_id, "number": number}).first()
    if row is None:
        raise missing(f"CSV hand-over {handover_id} has no file {number}")
    return row.name, row.content


def _hold(
    connection: Connection, tenant: str, handover_id: UUID, file: File, document_id: str, actor: str
) -> None:
    values = {
        "handover_id": handover_id,
        "tenant": tenant,
        "kind": file.kind,
        "document_id": document_id,
        "file_number": file.number,
    }
    connection.execute(_DOCUMENT, values)
    facts = {"handover_id": str(handover_id), "file": file.name}
    timeline.append(connection, tenant, file.kind, document_id, actor, "handed_over_csv", facts)
    failed = connection.execute(_FAILED, {"tenant": tenant, "kind": file.kind, "id": document_id})
    for operation in [from_row(row) for row in failed]:
        replays.again(connection, operation.operation_id, actor, "handed over as CSV")
        desk.settle(connection, operation, f"handed over as CSV in {file.name}", actor=actor)


def _past(row: Row[Any]) -> Past:
    return Past(
        handover_id=row.handover_id,
        created_at=row.created_at,
        actor=row.actor,
        first_date=row.first_date,
        last_date=row.last_date,
        missing=[Missing(**one) for one in row.missing],
        files=[
            File(
                one["number"],
                one["name"],
                UUID(one["company_id"]) if one["company_id"] else None,
                one["invoices"],
                one["rows"],
                one["kind"] or INVOICE.kind,
            )
            for one in row.files
        ],
        standing=row.standing,
    )
