"""Documents that are referred to and are not in QuickBooks: waited for, or a named exception when none will come."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from services.ledger import waits
from services.ledger.documents import Document
from services.ledger.operations import Operation
from services.ledger.ports import Condition, Fail, Hold, Move, Prepared, Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import books as books_
from services.outbound import words
from services.outbound.books import Books
from services.outbound.dossiers import Dossier

# Also what was linked since it was looked at: holding on to that starts the look over.
_STILL_COMING = text(
    """SELECT u.kind, u.id FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)
        WHERE NOT condition_met(:tenant, 'link', u.kind || '/' || u.id)
           OR EXISTS (SELECT FROM link l WHERE l.tenant_id = :tenant AND l.kind = u.kind AND l.document_id = u.id)"""
)


def check(
    connection: Connection, operation: Operation, document: Document, needed: Sequence[Dossier], books: Books
) -> Prepared | None:
    """What keeps an operation from referring to the documents it needs: None when all are there, in its company."""
    missing = [one for one in needed if one.link is None]
    if missing:
        coming = _still_coming(connection, operation.tenant_id, missing)
        if coming:
            names = ", ".join(words.label(one.document) for one in coming)
            conditions = [waits.link_condition(one.document.kind, one.document.document_id) for one in coming]
            return Hold(conditions, f"waiting for {names} to be in QuickBooks")
        return Fail(never_came(document, [one.document for one in missing], books))
    companies = {one.link.company_id for one in needed if one.link is not None}
    if companies and companies != {operation.company_id}:
        if len(companies) == 1 and operation.outcome == "none":
            return Move(companies.pop(), "the documents it refers to are in that company")
        return Fail(_several_companies(connection, document, needed))
    gone = [one for one in needed if not one.live]
    return Fail(_gone(document, gone)) if gone else None


def handed_over(kind: str, document_id: str) -> Condition:
    """A document that a CSV file carries to QuickBooks is linked to what it became there, or taken back."""
    return Condition("csv", f"{kind}/{document_id}")


def carried(dossier: Dossier) -> Hold | None:
    """What keeps a document that was handed over as CSV from being touched before it is found in QuickBooks."""
    if dossier.link is not None or not dossier.handed_over:
        return None
    document = dossier.document
    return Hold(
        [handed_over(document.kind, document.document_id)],
        "handed over as CSV: waiting to be linked in the wizard's history step, or taken back",
    )


def before_us(document: Document, books: Books) -> bool:
    """Whether a document is from before the cutover, or was never described to us at all."""
    if document.data is None or document.document_date is None:
        return True
    judged = document.kind in {"invoice", "credit_note"}
    return judged and books.cutover is not None and document.document_date < books.cutover


def never_came(document: Document, missing: Sequence[Document], books: Books) -> Problem:
    """The documents it refers to were left out of QuickBooks for good; those before the cutover group into one."""
    early = all(before_us(one, books) for one in missing)
    names = ", ".join(words.label(one) for one in missing)
    if early:
        told = all(one.data is not None for one in missing)
        cause = f"unlinked_before_cutover:{books.company_id}"
        why = (
            "it is from before the cutover"
            if told
            else "billing never described it, as what is older than we are"
        )
    else:
        cause, why = f"unlinked:{document.kind}:{document.document_id}", "it was left out of the export"
    return Problem(
        type=EXPORT_ERROR,
        code="unlinked_before_cutover" if early else "unlinked_document",
        cause=cause,
        title=f"{words.title(document)} refers to what is not linked to QuickBooks",
        happened=f"{names} has no counterpart in QuickBooks that we know of: {why}.",
        why="It can only be applied to a document that is known to be there.",
        fix="Link the document in the wizard's history step and retry, or enter this in QuickBooks by hand and "
        "discard the item with a note.",
        details={"unlinked": [[one.kind, one.document_id] for one in missing]},
        **words.facts(document),
    )


def _still_coming(connection: Connection, tenant: str, missing: Sequence[Dossier]) -> list[Dossier]:
    by_reference = {(one.document.kind, one.document.document_id): one for one in missing}
    values = {
        "tenant": tenant,
        "kinds": [kind for kind, _ in by_reference],
        "ids": [id_ for _, id_ in by_reference],
    }
    return [by_reference[row.kind, row.id] for row in connection.execute(_STILL_COMING, values)]


def _several_companies(connection: Connection, document: Document, needed: Sequence[Dossier]) -> Problem:
    where = {one.link.company_id: "" for one in needed if one.link}
    for company_id in where:
        books = books_.load(connection, company_id, "")
        where[company_id] = f"{books.name} (realm {books.realm_id})"
    return Problem(
        type=EXPORT_ERROR,
        code="several_companies",
        cause=f"several_companies:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} refers to documents in several QuickBooks companies",
        happened="; ".join(
            f"{words.label(one.document)} is in {where[one.link.company_id]}" for one in needed if one.link
        ),
        why="Money and credit cannot cross from one set of books to another.",
        fix="Record one payment for each company in billing, or settle it by hand and discard this item with a note.",
        **words.facts(document),
    )


def _gone(document: Document, gone: Sequence[Dossier]) -> Problem:
    names = "; ".join(
        f"{words.label(one.document)} was {one.link.state.replace('_', ' ')}" for one in gone if one.link
    )
    return Problem(
        type=EXPORT_ERROR,
        code="target_gone",
        cause=f"target_gone:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} refers to what is no longer in QuickBooks",
        happened=f"{names} in QuickBooks.",
        why="Nothing can be applied to a document that was voided or deleted.",
        fix="Re-export the document, or correct this in billing; then retry.",
        **words.facts(document),
    )
