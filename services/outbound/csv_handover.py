"""Handing invoices over as CSV files for QuickBooks' own import, and credit notes as a list to enter there.

With or without a connection.
What was handed over is never exported straight: its operations wait until the document is found in QuickBooks (the
wizard's history step links it), or until somebody says that the file was not imported and takes it back.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from messages import validate
from messages.credits import CreditNoteFinalized
from messages.invoices import InvoiceFinalized
from services.exceptions import desk, replays
from services.ledger import documents, timeline, waits
from services.ledger.operations import COLUMNS, from_row
from services.mapping.mappings import Key, lookup
from services.outbound import books as books_
from services.outbound import csv_rows, unlinked
from services.outbound.books import Books
from services.outbound.csv_rows import Handed, Missing
from services.outbound.forms import CREDIT_MEMO, INVOICE
from services.refusals import conflict, invalid, missing
from services.spreadsheets import Cell, write

MOST: Final = 5000
"""Documents in one hand-over; they are locked together."""

PER_FILE, ROWS_PER_FILE = 100, 1000
"""What QuickBooks imports at a time: documents, and rows. A document is never split."""

_NAMES: Final = {"invoice": "quickbooks-invoices", "credit_note": "credit-notes-to-enter"}

_FOUND = text(
    """SELECT d.kind, d.document_id, d.number, d.state, d.currency, d.client_id, d.data,
              (SELECT i.number FROM document i WHERE i.tenant_id = d.tenant_id AND i.kind = 'invoice'
                  AND i.document_id = d.data ->> 'credits_invoice') AS credits_number,
              EXISTS (SELECT FROM link l WHERE l.tenant_id = d.tenant_id AND l.kind = d.kind
                         AND l.document_id = d.document_id AND l.state IN ('synced', 'drift')) AS linked,
              EXISTS (SELECT FROM csv_document c WHERE c.tenant_id = d.tenant_id AND c.kind = d.kind
                         AND c.document_id = d.document_id AND c.taken_back_at IS NULL) AS handed_over,
              EXISTS (SELECT FROM operation o WHERE o.tenant_id = d.tenant_id AND o.document_kind = d.kind
                         AND o.document_id = d.document_id AND o.finished_at IS NULL
                         AND o.kind LIKE 'export\\_%' AND o.outcome IN ('intended', 'unknown')) AS under_way
         FROM document d
        WHERE d.tenant_id = :tenant AND d.kind IN ('invoice', 'credit_note') AND d.applied_sequence > 0
          AND d.data IS NOT NULL
          AND (CAST(:first AS date) IS NULL OR d.document_date >= :first)
          AND (CAST(:last AS date) IS NULL OR d.document_date <= :last)
          AND (:everything OR d.document_id = ANY (CAST(:named AS text[]))
               OR d.number = ANY (CAST(:named AS text[])))
        ORDER BY d.document_date, d.number, d.document_id LIMIT :limit"""
)
_DEFAULT = text("SELECT company_id FROM company WHERE tenant_id = :tenant AND is_default")
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
class Selection:
    """Which documents: dated in a period (both ends included), or named by id or number, or both."""

    first: date | None = None
    last: date | None = None
    named: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class File:
    """One file for one QuickBooks company and one currency, of invoices or credit notes: `kind` says which.

    `invoices` counts the documents in it.
    """

    number: int
    name: str
    company_id: UUID | None
    invoices: int
    rows: int
    kind: str = INVOICE.kind
    content: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A document of the selection that is in no file, and why."""

    kind: str
    document_id: str
    number: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Handover:
    """What was, or would be (`handover_id` None), handed over. `missing` says which names are billing's own."""

    handover_id: UUID | None
    created_at: datetime | None
    actor: str
    first_date: date | None
    last_date: date | None
    files: Sequence[File]
    invoices: int
    credit_notes: int
    left_out: Sequence[LeftOut]
    missing: Sequence[Missing]


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
    return _composed(connection, tenant, selection, _found(connection, tenant, selection))[0]


def hand_over(connection: Connection, tenant: str, selection: Selection, *, actor: str) -> Handover:
    """Make the files, and hold what they carry back from export. Raises `Refusal` when nothing is to be handed over."""
    selected = [(row.kind, row.document_id) for row in _found(connection, tenant, selection)]
    documents.lock(connection, tenant, selected)
    made, carried = _composed(connection, tenant, selection, _found(connection, tenant, selection))
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


def _composed(
    connection: Connection, tenant: str, selection: Selection, found: Sequence[Row[Any]]
) -> tuple[Handover, Mapping[int, Sequence[str]]]:
    """The hand-over, and the ids of the documents in each file."""
    left_out, going, corrected = list[LeftOut](), list[Handed](), dict[str, str | None]()
    for row in found:
        billed, why = _judged(row)
        if billed is None:
            left_out.append(LeftOut(row.kind, row.document_id, row.number, why))
        else:
            going.append(billed)
            corrected[billed.id] = row.credits_number
    lacking: set[Missing] = set()
    files, carried = list[File](), dict[int, list[str]]()
    today = connection.execute(text("SELECT current_date")).scalar_one()
    for (kind, company_id, currency), documents_ in _by_books(connection, tenant, going).items():
        columns = csv_rows.COLUMNS if kind == INVOICE.kind else csv_rows.CREDIT_NOTE_COLUMNS
        for chunk in _chunks(_tabled(connection, documents_, corrected, company_id, lacking)):
            number = len(files) + 1
            table = [row for _, rows in chunk for row in rows]
            name = f"{_NAMES[kind]}-{today}-{currency}{f'-{number}' if number > 1 else ''}.csv"
            text_ = write(columns, table)
            files.append(File(number, name, company_id, len(chunk), len(table), kind, text_))
            carried[number] = [document.id for document, _ in chunk]
    handover = Handover(
        handover_id=None,
        created_at=None,
        actor="",
        first_date=selection.first,
        last_date=selection.last,
        files=files,
        invoices=sum(one.kind == INVOICE.kind for one in going),
        credit_notes=sum(one.kind == CREDIT_MEMO.kind for one in going),
        left_out=left_out,
        missing=sorted(lacking, key=lambda one: (one.kind, one.key)),
    )
    return handover, carried


def _found(connection: Connection, tenant: str, selection: Selection) -> Sequence[Row[Any]]:
    if selection.first is None and selection.last is None and not selection.named:
        raise invalid("from", "say which invoices: a period, or their numbers or ids")
    if selection.first is not None and selection.last is not None and selection.last < selection.first:
        raise invalid("to", f"the period ends on {selection.last}, before it begins on {selection.first}")
    values = {
        "tenant": tenant,
        "first": selection.first,
        "last": selection.last,
        "everything": not selection.named,
        "named": list(selection.named),
        "limit": MOST + 1,
    }
    found = connection.execute(_FOUND, values).all()
    if len(found) > MOST:
        raise invalid("from", f"the selection has more than {MOST} documents; choose a shorter period")
    known = {row.document_id for row in found} | {row.number for row in found}
    unknown = [name for name in selection.named if name not in known]
    if unknown:
        said = ", ".join(unknown[:5])
        raise missing(f"there is no invoice or credit note {said} in this selection", field="invoices")
    return found


def _judged(row: Row[Any]) -> tuple[Handed | None, str]:
    """The document as it goes into the file, or why it does not."""
    if row.linked:
        return None, "it is in QuickBooks already"
    if row.handed_over:
        return None, "it was handed over before; take that back first, if the file was not imported"
    if row.under_way:
        return None, "its export is under way, and whether it has arrived is not known yet"
    if row.state not in {"finalized", "written_off"}:
        return None, f"it is {row.state}"
    billed = validate((INVOICE if row.kind == INVOICE.kind else CREDIT_MEMO).event, row.data)
    assert isinstance(billed, InvoiceFinalized | CreditNoteFinalized)
    if billed.type == "prepayment":
        return None, "a prepayment invoice is not exported; its payment is, as unapplied credit"
    if all(line.net_amount == 0 and line.service_id is None for line in billed.lines):
        return None, "it has no lines that could stand in a file"
    return billed, ""


def _by_books(
    connection: Connection, tenant: str, going: Sequence[Handed]
) -> dict[tuple[str, UUID | None, str], list[Handed]]:
    """A file is imported into one company, and has no column for the currency; invoices come before credit notes."""
    chosen: dict[tuple[str | None, str], UUID | None] = {}
    found = defaultdict[tuple[str, UUID | None, str], list[Handed]](list)
    default = connection.execute(
        _DEFAULT, {"tenant": tenant}
    ).scalar()  # its names are known after a disconnect, too
    for document in sorted(going, key=lambda one: one.kind != INVOICE.kind):
        wanted = (document.target_company, document.client.id)
        if wanted not in chosen:
            connected, _ = books_.choose(connection, tenant, *wanted)
            chosen[wanted] = connected or (default if document.target_company is None else None)
        found[document.kind, chosen[wanted], document.currency].append(document)
    return found


def _tabled(
    connection: Connection,
    going: Sequence[Handed],
    corrected: Mapping[str, str | None],
    company_id: UUID | None,
    lacking: set[Missing],
) -> Iterator[tuple[Handed, list[list[Cell]]]]:
    books: Books | None = None
    if company_id is not None:
        books = books_.load(connection, company_id, "")
    wanted: set[Key] = {key for document in going for key in csv_rows.keys(document, books)}
    mappings = lookup(connection, company_id, wanted) if company_id is not None else {}
    for document in going:
        if isinstance(document, InvoiceFinalized):
            yield document, csv_rows.rows(document, books, mappings, lacking)
        else:
            number = corrected[document.id]
            yield document, csv_rows.credit_note_rows(document, number, books, mappings, lacking)


def _chunks(
    tabled: Iterator[tuple[Handed, list[list[Cell]]]],
) -> Iterator[list[tuple[Handed, list[list[Cell]]]]]:
    chunk: list[tuple[Handed, list[list[Cell]]]] = []
    size = 0
    for document, rows in tabled:
        if chunk and (len(chunk) == PER_FILE or size + len(rows) > ROWS_PER_FILE):
            yield chunk
            chunk, size = [], 0
        chunk.append((document, rows))
        size += len(rows)
    if chunk:
        yield chunk


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
