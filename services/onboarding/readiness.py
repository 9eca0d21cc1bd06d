"""Whether a document would be exported if it were finalized now: every finding by line, with the fix.

The PSA asks before it finalizes an invoice. Answered from what is known here, in milliseconds and without a call to
QuickBooks, by the rules that export it later. Trouble of ours never keeps an invoice from being finalized: then the
answer says that nothing was checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from messages import validate
from messages.errors import BadMessage
from messages.invoices import Document as Billed
from services.connections import catalog
from services.database import Database
from services.ledger.documents import Document
from services.ledger.ports import Handler
from services.mapping import settings
from services.mapping.mappings import lookup
from services.onboarding import choices, plan
from services.onboarding.plan import Finding, Step
from services.outbound import books as books_
from services.outbound import closed_books, forms, marker, new_customers
from services.outbound.books import Books
from services.outbound.forms import CREDIT_MEMO, INVOICE, Form

Kind = Literal["invoice", "credit_note"]

MOST = 200
"""Documents of one question."""

WITHIN = 2_000
"""Milliseconds for each statement: whoever waits for this is a person who finalizes an invoice."""

_FORMS: Final[Mapping[str, Form]] = {"invoice": INVOICE, "credit_note": CREDIT_MEMO}
_LINE = re.compile(r"^lines(?:\.|\[)(\d+)\]?\.?")
# Which list a reference of a sales form points into, and what it is called on the form.
_HEADER = (
    ("CustomerRef", "Customer", "customer"),
    ("SalesTermRef", "Term", "terms"),
    ("ClassRef", "Class", "class"),
)
_DETAIL = (("ItemRef", "Item", "item"), ("TaxCodeRef", "TaxCode", "tax code"), ("ClassRef", "Class", "class"))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said about one document before it is finalized.

    `refuse`: it would be exported and would fail, so mend it first. `applies` is False when it would not be exported
    by itself now, and `why` says why. `checked` is False when nothing could be looked at; then nothing is refused.
    """

    document_id: str
    number: str
    refuse: bool
    applies: bool
    checked: bool
    why: str
    findings: tuple[Finding, ...] = ()
    lists_read_at: datetime | None = None  # the oldest list that was looked into; None when none was read yet


def check(
    database: Database, tenant: str, kind: Kind, documents: Sequence[Mapping[str, Any]]
) -> list[Verdict]:
    """Judge documents as the event of their finalization would describe them; see `messages`. Never raises for us.

    A draft may lack `number`, `finalized_at` and `actor`.
    """
    try:
        with database.transaction(tenant) as connection:
            connection.execute(text(f"SET LOCAL statement_timeout = {WITHIN}"))
            return [_checked(connection, tenant, kind, data) for data in documents]
    except SQLAlchemyError as away:
        log.error("readiness_not_checked", error=type(away).__name__)
        why = "not checked, because our database did not answer; finalize it, the export says what is wrong"
        return [
            Verdict(str(data.get("id", "")), str(data.get("number") or ""), False, True, False, why)
            for data in documents
        ]


def period(
    connection: Connection,
    tenant: str,
    company: Any,
    handlers: Mapping[str, Handler],
    begin: date,
    until: date,
    *,
    limit: int = plan.MOST,
) -> list[Step]:
    """What of the documents dated in a period would not go through now, and what rests with a person already."""
    found = plan.steps(connection, tenant, company, handlers, begin=begin, until=until, limit=limit)
    return [step for step in found if step.would == "ask" or step.differs]


def _checked(connection: Connection, tenant: str, kind: Kind, data: Mapping[str, Any]) -> Verdict:
    form = _FORMS[kind]
    given = {
        **data,
        "number": data.get("number") or "DRAFT",
        "finalized_at": data.get("finalized_at") or datetime.now(UTC).isoformat(),
        "actor": data.get("actor") or {"type": "system"},
    }
    id_, number = str(data.get("id", "")), str(data.get("number") or "")
    try:
        billed = validate(form.event, given)
    except BadMessage as bad:
        findings = tuple(_invalid(problem.field, problem.message) for problem in bad.problems)
        return Verdict(id_, number, True, True, True, "it breaks the contract of its event", findings)
    assert isinstance(billed, Billed)
    company_id, _ = books_.choose(connection, tenant, billed.target_company, billed.client.id)
    if company_id is None:
        target = (
            f"company {billed.target_company}" if billed.target_company else "a QuickBooks company for it"
        )
        return Verdict(
            id_, number, False, False, True, f"{target} is not connected; it would wait until one is"
        )
    books = books_.load(connection, company_id, billed.client.id)
    mappings = lookup(connection, company_id, set(forms.keys(billed, books)))
    mark = marker.of(tenant, company_id, kind, billed.id)
    wire, wrong = forms.build(form, billed, books, mappings, mark)
    if new_customers.wanted(books):  # then it is created before the document
        wrong = [one for one in wrong if one.code != new_customers.MISSING]
    findings = tuple(Finding(one.code, one.where, one.what, one.fix) for one in wrong)
    ages = catalog.ages(connection, company_id)
    findings += tuple(_unusable(connection, books, billed, wire, set(ages)))
    closed = closed_books.check(books, _as_document(kind, billed), "export", [billed.invoice_date])
    if closed is not None:
        findings += (Finding(closed.code, "invoice date", closed.happened, closed.fix),)
    why = _exempt(connection, tenant, books, billed)
    looked = [ages[entity][0] for _, entity, _ in (*_HEADER, *_DETAIL) if entity in ages]
    return Verdict(
        id_,
        number,
        refuse=bool(findings) and not why,
        applies=not why,
        checked=True,
        why=why or ("it would fail" if findings else "it would be exported"),
        findings=findings,
        lists_read_at=min(looked, default=None),
    )


def _exempt(connection: Connection, tenant: str, books: Books, billed: Billed) -> str:
    """Why the document would not be exported by itself now, "" when it would."""
    chosen = settings.resolve(connection, tenant, company_id=books.company_id, client_id=billed.client.id)
    if not chosen.entitled:
        return "this tenant's edition does not include QuickBooks Online"
    if not chosen.auto_sync:
        return "automatic sync is off; it would wait until it is switched on"
    if billed.type == "prepayment":
        return "a prepayment invoice is not exported; its payment is, as unapplied credit"
    if not billed.lines:
        return "it has no lines, and QuickBooks keeps no empty documents"
    if books.cutover is not None and billed.invoice_date < books.cutover:
        return f"it is dated before the cutover of {books.cutover}"
    return ""


def _unusable(
    connection: Connection, books: Books, billed: Billed, wire: Mapping[str, Any], read: set[str]
) -> Iterator[Finding]:
    """What the document would name that QuickBooks does not take any more, as far as its lists were read."""
    named = [one for one in _references(billed, wire) if one[0] in read]
    known = catalog.find(connection, books.company_id, {(entity, id_) for entity, id_, _ in named})
    for entity, id_, where in named:
        entry = known.get((entity, id_))
        hindrance = choices.choice(entry, {}, "").hindrance if entry is not None else ""
        if entry is None:
            hindrance = f"there is no {entity} {id_} in QuickBooks"
        if hindrance:
            fix = (
                f"Map it to another one: algasync mappings choices shows what there is. {where.capitalize()}."
            )
            yield Finding("unusable_in_quickbooks", where, hindrance, fix)


def _references(billed: Billed, wire: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """List, id and place of everything that the form refers to."""
    for name, entity, called in _HEADER:
        if name in wire:
            yield entity, str(wire[name]["value"]), called
    if "DepartmentRef" in wire:
        yield "Department", str(wire["DepartmentRef"]["value"]), "location"
    code = (wire.get("TxnTaxDetail") or {}).get("TxnTaxCodeRef")
    if code is not None:
        yield "TaxCode", str(code["value"]), "tax"
    whole = len(wire["Line"]) == len(billed.lines)  # a line with a finding of its own is left out
    for position, line in enumerate(wire["Line"], start=1):
        detail = line.get("SalesItemLineDetail") or {}
        place = f"line {position}" if whole else f"line {line.get('Description', '')!r}"
        for name, entity, called in _DETAIL:
            if name in detail:
                yield entity, str(detail[name]["value"]), f"{place}, {called}"


def _invalid(field: str, message: str) -> Finding:
    """A broken field as a person counts lines: data.lines.0.quantity is line 1, quantity."""
    where = field.removeprefix("data.")
    found = _LINE.match(where)
    if found:
        where = f"line {int(found[1]) + 1}, {where[found.end() :]}".rstrip(", ")
    return Finding("invalid_document", where, message, "Correct it in billing.")


def _as_document(kind: str, billed: Billed) -> Document:
    return Document(
        kind=kind,
        document_id=billed.id,
        number=billed.number,
        client_id=billed.client.id,
        client_name=billed.client.name,
        currency=billed.currency,
        total=billed.total,
        document_date=billed.invoice_date,
        state="draft",
        applied_sequence=0,
        data=None,
    )
