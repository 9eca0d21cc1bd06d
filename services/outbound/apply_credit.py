"""Applying credit to an invoice: a Payment of zero for each application, or the money of a prepayment put to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from messages.credits import CreditApplied
from services.ledger import links, waits
from services.ledger.documents import Document
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Fail, Hold, Look, Prepared, Send, Settled, Skip
from services.mapping.mappings import lookup
from services.outbound import (
    allocations,
    announcements,
    applications,
    closed_books,
    credit_troubles,
    customers,
    dossiers,
    forms,
    marker,
    room,
    troubles,
    unlinked,
)
from services.outbound import books as books_
from services.outbound.books import Books
from services.outbound.dossiers import Dossier, Reference
from services.outbound.findings import problem
from services.outbound.handler import asked, looking_first, present, sent
from services.outbound.payment_maker import PaymentMaker, landed_elsewhere, link_of
from services.outbound.words import label
from services.quickbooks import calls, query
from services.quickbooks.call import Call
from services.quickbooks.errors import Refused
from services.quickbooks.reply import Reply


class ApplyCredit(PaymentMaker):
    """Handler of `apply_credit`."""

    kind = "apply_credit"
    act = "apply"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Build the call once invoice and credit are in QuickBooks."""
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(
            connection, operation.tenant_id, [own, *map(tuple, operation.payload["involves"])]
        )
        applied = applications.read(known[own])
        invoice, source = (known[reference] for reference in applications.involved(applied))
        if known[own].live and not operation.repair:
            return Skip("applied_already", "billing said it before, and QuickBooks has it")
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, invoice.document.client_id or "")
        from_memo = applied.source_kind == "credit_note"
        needed = [invoice, source] if from_memo else [invoice]
        held = unlinked.check(connection, operation, known[own].document, needed, books)
        held = held or room.hold(connection, operation)
        if held is not None:
            return held
        if not from_memo:
            return self._from_prepayment(
                connection, operation, known[own], applied, invoice, books, requestid
            )
        return self._from_memo(connection, operation, known[own], applied, needed, books, requestid)

    def _from_memo(
        self,
        connection: Connection,
        operation: Operation,
        dossier: Dossier,
        applied: CreditApplied,
        needed: Sequence[Dossier],
        books: Books,
        requestid: str,
    ) -> Prepared:
        """A Payment of zero that uses the credit memo up and settles the invoice by the same amount."""
        invoice, memo = needed
        client_id = invoice.document.client_id or memo.document.client_id or ""
        client = customers.keys("customer", client_id, applied.currency, books)
        mappings = lookup(connection, books.company_id, set(client))
        findings = [troubles.other_currency(one, applied.currency) for one in needed]
        found = [one for one in findings if one is not None]
        customer = customers.payer(needed, client, books, mappings, found)
        currency = forms.currency(_InCurrency(applied.currency), books, found)
        if found:
            return Fail(_findings(found, dossier.document))
        dated, remark = closed_books.dated(operation, applied.date)
        closed = closed_books.check(books, dossier.document, self.act, [dated], redatable=True)
        if closed is not None:
            return Fail(closed)
        amounts = applications.share(applied, invoice, memo)
        note = marker.note(marker.marker(operation), remark)
        wire = applications.of_zero(customer, dated, amounts, currency, note)
        call = calls.create("Payment", wire, requestid=requestid)
        if operation.seen is None:
            return looking_first(Send(call), books)
        theirs = self._same_by_quickbooks(connection, operation, amounts, operation.seen["payments"])
        if theirs is not None:
            return Adopt(call, theirs)
        return Fail(credit_troubles.used_already(dossier.document, invoice, memo, amounts, operation.seen))

    def _same_by_quickbooks(
        self,
        connection: Connection,
        operation: Operation,
        amounts: allocations.Amounts,
        found: Sequence[Mapping[str, Any]],
    ) -> Mapping[str, Any] | None:
        """The Payment by which QuickBooks applied just this by itself; one of another application is not it."""
        assert operation.company_id is not None
        for raw in found:
            if Decimal(raw["TotalAmt"]) or allocations.read(raw) != dict(amounts):
                continue
            note = raw.get("PrivateNote")
            if marker.bears_any(note) and not marker.bears(note, marker.marker(operation)):
                continue
            taken = links.of_object(connection, operation.company_id, "Payment", raw["Id"])
            if all(link.document_id == operation.document_id for link in taken):
                return raw
        return None

    def _from_prepayment(
        self,
        connection: Connection,
        operation: Operation,
        dossier: Dossier,
        applied: CreditApplied,
        invoice: Dossier,
        books: Books,
        requestid: str,
    ) -> Prepared:
        """The Payment of the prepayment gets a line on the invoice: no new cash."""
        paid = self._payments_of(connection, operation, applied)
        if not paid:
            condition = waits.link_condition("prepayment", applied.source_id)
            return Hold([condition], f"waiting for the payment of prepayment {applied.source_id}")
        wrong = troubles.other_currency(invoice, applied.currency)
        if wrong is not None:
            return Fail(_findings([wrong], dossier.document))
        seen = (operation.seen or {}).get("object")
        if operation.seen is not None and seen is None:
            return Fail(credit_troubles.money_gone(dossier.document, applied))
        amounts = applications.share(applied, invoice)
        amount = next(iter(amounts.values()))
        mark = marker.marker(operation)
        for payment in paid:
            assert payment.link is not None
            current = seen if seen and seen["Id"] == payment.link.external_id else payment.link.snapshot
            if marker.bears(current.get("PrivateNote"), mark) and operation.call is not None:
                return Adopt(Call.from_json(operation.call), current)
            if Decimal(current.get("UnappliedAmt", 0)) < amount:
                continue
            closed = closed_books.check(books, dossier.document, self.act, [current["TxnDate"]])
            if closed is not None:
                return Fail(closed)
            lines = allocations.lines(allocations.added(allocations.read(current), amounts))
            note = marker.note(mark, current.get("PrivateNote"))
            changed = {**current, "Line": lines, "PrivateNote": note}
            return Send(calls.update_full("Payment", changed, requestid=requestid))
        return Fail(credit_troubles.money_used(dossier.document, applied, [one for one in paid if one.link]))

    def _payments_of(
        self, connection: Connection, operation: Operation, applied: CreditApplied
    ) -> list[Dossier]:
        """The payments of a prepayment invoice that are in the operation's company."""
        found: list[Reference] = [
            reference
            for reference in dossiers.settling(connection, operation.tenant_id, applied.source_id)
            if reference[0] == "payment"
        ]
        loaded = dossiers.load(connection, operation.tenant_id, found) if found else {}
        return [one for one in loaded.values() if one.link and one.link.company_id == operation.company_id]

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Write the links, tell billing, and report credit that did not land where it was to."""
        own = (operation.document_kind, operation.document_id)
        dossier = dossiers.one(connection, operation.tenant_id, *own)
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, "")
        link = link_of(operation, dossier.document, reply)
        for one in links.of_object(connection, operation.company_id, "Payment", link.external_id):
            if one.kind == "payment":  # the money of a prepayment: its own link follows
                links.put(connection, replace(one, sync_token=link.sync_token, snapshot=link.snapshot))
        links.put(connection, link)
        announcements.synced(connection, operation, dossier.document, books, link, "created")
        trouble = landed_elsewhere(dossier.document, asked(reply), link.snapshot)
        note = {"quickbooks_id": link.external_id, "company": books.realm_id}
        return Settled(note, [trouble] if trouble is not None else [])

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """Whether QuickBooks was faster: the invoice as it is, and the payments on it. Two reads."""
        wire = sent(operation)
        if "Id" in wire:
            return super().inspect(operation, refusal, look)
        if refusal.fault.code in closed_books.REFUSALS:
            return None
        invoice_id = next(id_ for kind, id_ in allocations.read(wire) if kind == "Invoice")
        invoice = present(look, "Invoice", invoice_id)
        ids = [
            link["TxnId"] for link in (invoice or {}).get("LinkedTxn") or () if link["TxnType"] == "Payment"
        ]
        payments: list[Mapping[str, Any]] = []
        for select in query.select("Payment").each_in("Id", ids):
            payments += look(calls.query(select)).data["QueryResponse"].get("Payment") or ()
        said = refusal.fault.detail or refusal.fault.message
        return {"invoice": invoice, "payments": payments, "said": said}


class _InCurrency:
    """An application has a currency, and QuickBooks knows the rate from the documents it ties."""

    exchange_rate = None

    def __init__(self, currency: str) -> None:
        self.currency = currency


def _findings(found: Sequence[Any], document: Document) -> Any:
    return problem(
        found,
        title=f"Cannot apply {label(document)}",
        client_id=document.client_id,
        amount=document.total,
        currency=document.currency,
    )
