"""The CSV files of a selection of documents: one a company and a currency, of a size that QuickBooks imports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from messages import validate
from messages.credits import CreditNoteFinalized
from messages.invoices import InvoiceFinalized
from services.mapping.mappings import Key, lookup
from services.outbound import books as books_
from services.outbound import csv_rows
from services.outbound.books import Books
from services.outbound.csv_rows import Handed, Missing
from services.outbound.forms import CREDIT_MEMO, INVOICE
from services.refusals import invalid, missing
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


def composed(
    connection: Connection, tenant: str, selection: Selection, found: Sequence[Row[Any]]
) -> tuple[Handover, Mapping[int, Sequence[str]]]:
    """The hand-over that would be made of what was found, and the ids of the documents in each file by its number."""
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


def matching(connection: Connection, tenant: str, selection: Selection) -> Sequence[Row[Any]]:
    """What the selection finds, by date and number. Raises `Refusal` when it is too much, or lacks what is named."""
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
