"""Exporting invoices and credit notes: created once, changed by later revisions, found when an answer was lost."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from messages import validate
from messages.invoices import Document as Billed
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Fail, Found, Hold, Look, Prepared, Send, Settled, Skip
from services.mapping.mappings import lookup
from services.outbound import (
    announcements,
    closed_books,
    dossiers,
    earlier,
    forms,
    new_customers,
    revisions,
    room,
    totals,
    troubles,
    unlinked,
    voids,
)
from services.outbound.books import Books
from services.outbound.dossiers import Dossier
from services.outbound.findings import problem
from services.outbound.forms import CREDIT_MEMO, INVOICE, Form
from services.outbound.handler import (
    DUPLICATE_NUMBER,
    OutboundHandler,
    as_answer,
    as_it_is,
    asked,
    decided,
    looking_first,
    sent,
)
from services.outbound.marker import bears, marker
from services.outbound.words import label
from services.quickbooks import calls, query
from services.quickbooks.call import Call
from services.quickbooks.entities import CreditMemo, Invoice
from services.quickbooks.errors import Refused
from services.quickbooks.reply import Reply

_TYPES: Mapping[str, type[Invoice | CreditMemo]] = {"Invoice": Invoice, "CreditMemo": CreditMemo}


class ExportForm(OutboundHandler):
    """Handler of `export_invoice` and `export_credit_memo`."""

    redatable = True

    def __init__(self, kind: str, form: Form) -> None:
        self.kind = kind
        self.entity = form.entity
        self._form = form

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Build the call from the document as billing last described it."""
        form = self._form
        assert operation.company_id is not None
        reference = (form.kind, operation.document_id)
        dossier, books = dossiers.with_books(connection, operation.tenant_id, reference, operation.company_id)
        billed = validate(form.event, dossier.document.data)
        assert isinstance(billed, Billed)
        if billed.type == "prepayment":
            return Skip(
                "prepayment", "a prepayment invoice is not exported; its payment is, as unapplied credit"
            )
        if not billed.lines:
            if dossier.live and dossier.link is not None and dossier.link.total:
                return Fail(troubles.emptied(dossier))
            return Skip("no_lines", "the document has no lines, and QuickBooks keeps no empty ones")
        link, carried = dossier.link, unlinked.carried(dossier)
        if carried is not None:
            return carried
        if link is None and books.cutover is not None and billed.invoice_date < books.cutover:
            return Skip(
                "before_cutover", f"dated before the cutover of {books.cutover}, so it was there before us"
            )
        if link is not None and link.company_id != books.company_id:
            return Fail(troubles.in_other_company(dossier, books))
        wire, failed = self._body(connection, operation, dossier, billed, books)
        if failed is not None:
            return failed
        if link is None:
            return looking_first(self._create(connection, operation, wire, requestid), books)
        said = None if operation.repair else earlier.said(connection, operation, form, books)
        return self._change(connection, operation, dossier, wire, link, requestid, said)

    def _body(
        self, connection: Connection, operation: Operation, dossier: Dossier, billed: Billed, books: Books
    ) -> tuple[dict[str, Any], Fail | Hold | None]:
        """The wire body, and everything that keeps it from being sent."""
        mappings = lookup(connection, books.company_id, set(forms.keys(billed, books)))
        dated, remark = closed_books.dated(operation, billed.invoice_date)
        there = dossier.link.snapshot.get("TxnDate") if dossier.link is not None else None
        kept = closed_books.kept(books, dated, there)
        wire, findings = forms.build(
            self._form, billed, books, mappings, marker(operation), dated=kept or dated, remark=remark
        )
        if kept is not None:
            del wire["PrivateNote"]  # it says why the date is another
        held = new_customers.hold(connection, operation, billed, books, findings)
        if held is not None:
            return wire, held
        if findings:
            return wire, Fail(
                problem(
                    findings,
                    title=f"Cannot export {label(dossier.document)}",
                    client_id=billed.client.id,
                    amount=billed.total,
                    currency=billed.currency,
                )
            )
        by_hand = self.by_hand
        if dossier.link is not None:
            by_hand = troubles.corrected_by_hand(self._form, dossier.document, dossier.link.snapshot)
        closed = closed_books.check(
            books,
            dossier.document,
            self.act,
            [kept or dated, there],
            redatable=dossier.link is None,
            by_hand=by_hand,
        )
        return wire, Fail(closed) if closed is not None else None

    def _create(
        self,
        connection: Connection,
        operation: Operation,
        wire: dict[str, Any],
        requestid: str,
        link: Link | None = None,
    ) -> Prepared:
        same = (operation.seen or {}).get("same_number", ())
        # What somebody voided keeps its number: making the document again shares it.
        voided = [found for found in same if self._was_ours(found, wire)]
        call = calls.create(self._form.entity, wire, requestid=requestid, allow_duplicate_number=bool(voided))
        for found in same:
            if self.is_ours(found, wire):
                return Adopt(call, found)
            if found not in voided:
                return Fail(troubles.number_in_use(operation, self._form, found))
        reference = (operation.document_kind, operation.document_id)
        assert operation.company_id is not None
        lost = (
            link is None
            and (operation.revision > 1 or operation.repair > 0)
            and dossiers.exported_before(
                connection, operation.tenant_id, reference, operation.company_id, self.kind
            )
        )
        return Send(call, look_first=lost)

    def _change(
        self,
        connection: Connection,
        operation: Operation,
        dossier: Dossier,
        wire: dict[str, Any],
        link: Link,
        requestid: str,
        said: Mapping[str, Any] | None = None,
    ) -> Prepared:
        """Only what differs from what is there, with the SyncToken under which it was seen.

        What billing `said` before and no longer says is emptied, by sending all the rest as it stands there.
        """
        form, seen = self._form, operation.seen
        current: dict[str, Any] | None = None
        if dossier.live:
            current = seen.get("object") if seen is not None else link.snapshot
        if current is None:
            if operation.repair:
                return self._create(connection, operation, wire, requestid, link)
            return Fail(troubles.not_there(dossier, form))
        changed = revisions.changes(wire, {} if operation.repair and seen is None else current, said)
        emptied = revisions.emptied(wire, current, said)
        if not changed and not emptied:
            if seen is not None and operation.call is not None:
                return Adopt(Call.from_json(operation.call), current)
            return Skip("nothing_changed", "QuickBooks has it like that already")
        edits = revisions.edited(link.snapshot, current, changed)
        if edits and not decided(operation, "overwrite") and not operation.repair:
            return Fail(troubles.edited(dossier, form, edits))
        short = False
        if "Line" in changed:
            held = room.hold(connection, operation)
            if held is not None:
                return held
            used, total = totals.used(form, current), totals.billed(form, dossier.document)
            short = total < used
            if short and seen is not None:
                more = troubles.used_more(dossier, form, used, total)
                return Fail(replace(more, cause=voids.cause(form.kind, operation.document_id)))
        if emptied:
            rest = {name: value for name, value in current.items() if name not in emptied}
            call = calls.update_full(form.entity, rest | changed, requestid=requestid)
        else:
            call = calls.update_sparse(
                form.entity,
                changed,
                id=link.external_id,
                sync_token=str(current["SyncToken"]),
                requestid=requestid,
                current=current,
                dropped_lines=revisions.line_ids(current),
            )
        # The balance we know may be of a time before the money was taken off again.
        return Send(call, look_first=short)

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Write link and snapshot, tell billing, and report a total that QuickBooks sees differently."""
        form = self._form
        assert operation.company_id is not None
        reference = (form.kind, operation.document_id)
        dossier, books = dossiers.with_books(connection, operation.tenant_id, reference, operation.company_id)
        document = dossier.document
        answered = reply.one(_TYPES[form.entity])
        link = Link(
            tenant_id=operation.tenant_id,
            company_id=operation.company_id,
            kind=form.kind,
            document_id=operation.document_id,
            external_type=form.entity,
            external_id=str(answered.id),
            sync_token=str(answered.sync_token),
            number=answered.doc_number,
            total=answered.total_amt or Decimal(0),
            currency=document.currency or (dossier.link.currency if dossier.link else None),
            state="synced",
            snapshot=dict(reply.data[form.entity]),
            linked_via=dossier.link.linked_via if dossier.link else "export",
            operation_id=operation.operation_id,
        )
        links.put(connection, link)
        action: announcements.Action = "created" if dossier.link is None or not dossier.live else "updated"
        announcements.synced(connection, operation, document, books, link, action)
        if action == "updated":
            voids.try_again(connection, operation.tenant_id, [reference])  # there may be more room on it now
        note = {
            "quickbooks_id": link.external_id,
            "number": link.number,
            "total": str(link.total),
            "currency": link.currency,
            "company": books.realm_id,
        }
        whole = "Line" in asked(reply) and not _as_it_stood(asked(reply), dossier)
        differs = totals.differs(operation, form, document, answered) if whole else None
        return Settled(note, [differs] if differs is not None else [])

    def find(self, operation: Operation, look: Look) -> Found:
        """Look for it by its number; adopt only a full match, never a bookkeeper's of the same number."""
        wire = sent(operation)
        if "Id" in wire:
            return as_it_is(operation, look)
        reply, candidates = self._same_number(wire, look)
        for raw in candidates:
            if self.is_ours(raw, wire):
                return Found(reply=as_answer(operation, reply, raw))
        others = [raw for raw in candidates if not self._was_ours(raw, wire)]
        if others and bears(others[0].get("PrivateNote"), _mark(wire)):
            problem = troubles.altered(operation, self._form.entity, others[0], totals.asked_for(wire))
            return Found(problem=problem, altered=True)
        if others:
            return Found(problem=troubles.number_in_use(operation, self._form, others[0]))
        return Found()

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """A number in use may be our own document of which we lost the link; a stale token is read again."""
        wire = sent(operation)
        if "Id" not in wire and refusal.fault.code == DUPLICATE_NUMBER:
            return {"same_number": self._same_number(wire, look)[1]}
        return super().inspect(operation, refusal, look)

    def _same_number(self, wire: Mapping[str, Any], look: Look) -> tuple[Reply, list[dict[str, Any]]]:
        """What has the document's number, ours first."""
        reply = look(calls.query(query.select(self._form.entity).where("DocNumber", "=", wire["DocNumber"])))
        rows = reply.data["QueryResponse"].get(self._form.entity) or ()
        return reply, sorted(map(dict, rows), key=lambda raw: not self.is_ours(raw, wire))

    def is_ours(self, raw: Mapping[str, Any], wire: Mapping[str, Any]) -> bool:
        """Whether an object of QuickBooks is, in full, what a body made."""
        found = _TYPES[self._form.entity].model_validate(raw)
        return (
            found.doc_number == wire["DocNumber"]
            and found.customer_ref is not None
            and found.customer_ref.value == wire["CustomerRef"]["value"]
            and found.txn_date == datetime.date.fromisoformat(wire["TxnDate"])
            and totals.asked_for(wire) in {None, found.total_amt}
            and bears(found.private_note, _mark(wire))
        )

    def _was_ours(self, raw: Mapping[str, Any], wire: Mapping[str, Any]) -> bool:
        """Whether it is what we made of the same document before, and somebody voided since."""
        found = _TYPES[self._form.entity].model_validate(raw)
        note = found.private_note or ""
        return not found.total_amt and note.lower().startswith("void") and bears(note, _mark(wire))


def _as_it_stood(wire: Mapping[str, Any], dossier: Dossier) -> bool:
    """Whether a full update left lines and tax as they were: then its total is no news."""
    stood = dossier.link.snapshot if dossier.link is not None else {}
    full = "Id" in wire and "sparse" not in wire
    return full and all(
        revisions.covers(stood.get(name), wire.get(name), name) for name in ("Line", "TxnTaxDetail")
    )


def _mark(wire: Mapping[str, Any]) -> str:
    return str(wire["PrivateNote"].rsplit(" ", 1)[-1])


EXPORT_INVOICE = ExportForm("export_invoice", INVOICE)
EXPORT_CREDIT_MEMO = ExportForm("export_credit_memo", CREDIT_MEMO)
