"""Exporting an invoice: created once, updated by later revisions, and found again when an answer was lost."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import Connection

import outbox
from messages import validate
from messages.accounting import Cause, Company, DocumentSynced, LinkedDocument
from messages.invoices import InvoiceCorrected, InvoiceFinalized
from messages.money import to_decimal, to_minor
from services.ledger import documents, links
from services.ledger.documents import Document
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Found, Look, Prepared, Problem, Send, Settled, Skip
from services.mapping.mappings import lookup
from services.outbound import books as books_
from services.outbound import invoices
from services.outbound.books import Books
from services.outbound.findings import EXPORT_ERROR, problem
from services.outbound.marker import marker
from services.quickbooks import body as bodies
from services.quickbooks import calls, query
from services.quickbooks.call import Call
from services.quickbooks.entities import Invoice
from services.quickbooks.errors import QuickBooksError
from services.quickbooks.reply import Reply

_DEEP_LINK = {
    "production": "https://app.qbo.intuit.com/app/invoice?txnId={}",
    "sandbox": "https://app.sandbox.qbo.intuit.com/app/invoice?txnId={}",
}


class ExportInvoice:
    """Handler of `export_invoice`."""

    kind = "export_invoice"
    queue = "export"
    needs_auto_sync = True

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Build the call from the invoice as billing last described it."""
        document = documents.get(connection, operation.tenant_id, "invoice", operation.document_id)
        invoice = read(document)
        if invoice.type == "prepayment":
            return Skip(
                "prepayment", "a prepayment invoice is not exported; its payment is, as unapplied credit"
            )
        if not invoice.lines:
            return Skip("no_lines", "the invoice has no lines, and QuickBooks keeps no empty invoices")
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, invoice.client.id)
        mappings = lookup(connection, books.company_id, set(invoices.keys(invoice, books)))
        wire, findings = invoices.build(invoice, books, mappings, marker(operation))
        if findings:
            return Fail(
                problem(
                    findings,
                    title=f"Invoice {invoice.number} for {invoice.client.name} cannot be exported",
                    client_id=invoice.client.id,
                    amount=invoice.total,
                    currency=invoice.currency,
                )
            )
        link = links.of_document(connection, books.company_id, "invoice", operation.document_id)
        if link is None:
            return Send(calls.create("Invoice", wire, requestid=requestid))
        return Send(
            calls.update_sparse(
                "Invoice", wire, id=link.external_id, sync_token=link.sync_token, requestid=requestid
            )
        )

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Write link and snapshot, tell billing, and report a total that QuickBooks sees differently."""
        document = documents.get(connection, operation.tenant_id, "invoice", operation.document_id)
        invoice = read(document)
        wire = _sent(operation) if operation.call else {}
        answered = reply.one(Invoice)
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, invoice.client.id)
        total = answered.total_amt if answered.total_amt is not None else Decimal(0)
        links.put(
            connection,
            Link(
                tenant_id=operation.tenant_id,
                company_id=operation.company_id,
                kind="invoice",
                document_id=operation.document_id,
                external_type="Invoice",
                external_id=str(answered.id),
                sync_token=str(answered.sync_token),
                number=answered.doc_number,
                total=total,
                currency=invoice.currency,
                state="synced",
                snapshot=dict(reply.data["Invoice"]),
                operation_id=operation.operation_id,
            ),
        )
        updated = "Id" in wire
        _announce(connection, operation, invoice, books, answered, "updated" if updated else "created")
        expected = to_decimal(invoice.total, invoice.currency)
        note = {
            "quickbooks_id": str(answered.id),
            "number": answered.doc_number,
            "total": str(total),
            "currency": invoice.currency,
            "company": books.realm_id,
        }
        if total == expected or invoice.tax_source == "pending_external":
            return Settled(note)
        return Settled(note, [_total_differs(operation, invoice, answered, expected, total)])

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """Say what QuickBooks did not accept, in its words and ours."""
        document = documents.get(connection, operation.tenant_id, "invoice", operation.document_id)
        fault = refusal.fault
        code, advice = (fault.code, fault.advice) if fault is not None else ("", "")
        said = (fault.detail or fault.message) if fault is not None else str(refusal)
        return Problem(
            type=EXPORT_ERROR,
            code=f"quickbooks_{code}" if code else "quickbooks_refused",
            cause=f"quickbooks:{code}:{operation.document_kind}:{operation.document_id}",
            title=f"QuickBooks refused invoice {document.number} for {document.client_name}",
            happened=f"QuickBooks answered: {said}",
            why=fault.name if fault is not None else "QuickBooks did not accept the document.",
            fix=f"{advice} Then retry.".strip(),
            details={"code": code, "intuit_tid": refusal.intuit_tid, "said": said},
            client_id=document.client_id,
            amount=document.total,
            currency=document.currency,
        )

    def find(self, operation: Operation, look: Look) -> Found:
        """Look for the invoice by its number; adopt only a full match, never a bookkeeper's of the same number."""
        wire = _sent(operation)
        if "Id" in wire:  # an update is the same however often it is made
            return Found()
        select = query.select("Invoice").where("DocNumber", "=", wire["DocNumber"])
        reply = look(calls.query(select))
        candidates = reply.all(Invoice)
        ours = [invoice for invoice in candidates if _is_ours(invoice, wire)]
        if ours:
            return Found(reply=_as_answer(operation, reply, ours[0]))
        if candidates:
            return Found(problem=_stranger(operation, wire, candidates[0]))
        return Found()


def read(document: Document) -> InvoiceFinalized | InvoiceCorrected:
    """The invoice as its event described it."""
    data = validate("com.algapsa.billing.invoice.finalized.v1", document.data)
    assert isinstance(data, (InvoiceFinalized, InvoiceCorrected))
    return data


def _sent(operation: Operation) -> dict[str, Any]:
    assert operation.call is not None
    wire: dict[str, Any] = bodies.load(Call.from_json(operation.call).body)
    return wire


def _is_ours(found: Invoice, wire: Mapping[str, Any]) -> bool:
    mark = wire["PrivateNote"].rsplit(" ", 1)[-1]
    return (
        found.doc_number == wire["DocNumber"]
        and found.customer_ref is not None
        and found.customer_ref.value == wire["CustomerRef"]["value"]
        and found.txn_date == datetime.date.fromisoformat(wire["TxnDate"])
        and mark in (found.private_note or "")
    )


def _as_answer(operation: Operation, reply: Reply, found: Invoice) -> Reply:
    """The reply that the lost create would have had."""
    assert operation.call is not None
    raw = next(row for row in reply.data["QueryResponse"]["Invoice"] if row["Id"] == found.id)
    data = {"Invoice": raw}
    return Reply(
        Call.from_json(operation.call), reply.status, bodies.dump(data), data, reply.intuit_tid, reply.time
    )


def _announce(
    connection: Connection,
    operation: Operation,
    invoice: InvoiceFinalized | InvoiceCorrected,
    books: Books,
    answered: Invoice,
    action: Literal["created", "updated"],
) -> None:
    outbox.emit(
        connection,
        operation.tenant_id,
        "document.synced.v1",
        invoice.id,
        DocumentSynced(
            company=Company(company_id=books.company_id, realm_id=books.realm_id, name=books.name or None),
            cause=Cause(event_id=operation.event_id, operation_id=operation.operation_id),
            document=LinkedDocument(
                kind="invoice",
                billing_id=invoice.id,
                billing_number=invoice.number,
                quickbooks_type="Invoice",
                quickbooks_id=str(answered.id),
                quickbooks_number=answered.doc_number,
                url=_DEEP_LINK[books.environment].format(answered.id),
            ),
            action=action,
            revision=operation.revision,
            date=invoice.invoice_date,
            currency=invoice.currency,
            total=invoice.total,
            quickbooks_total=to_minor(answered.total_amt or Decimal(0), invoice.currency),
            synced_at=datetime.datetime.now(datetime.UTC),
        ),
    )


def _total_differs(
    operation: Operation,
    invoice: InvoiceFinalized | InvoiceCorrected,
    answered: Invoice,
    expected: Decimal,
    total: Decimal,
) -> Problem:
    tax = answered.txn_tax_detail.total_tax if answered.txn_tax_detail is not None else None
    ours = to_decimal(invoice.tax, invoice.currency)
    rule = (
        f"QuickBooks computed a tax of {tax} instead of {ours}"
        if tax is not None and tax != ours
        else "a line amounts to something else in QuickBooks"
    )
    return Problem(
        type="accounting_sync_drift",
        code="total_differs",
        cause=f"total_differs:{operation.document_kind}:{operation.document_id}",
        title=f"Invoice {invoice.number} has another total in QuickBooks",
        happened=f"Billing says {expected} {invoice.currency}, QuickBooks says {total}.",
        why=f"The invoice was exported, but {rule}.",
        fix="Compare the tax set-up of both sides; correct it there and re-export, or accept QuickBooks' figure.",
        details={"ours": str(expected), "quickbooks": str(total), "quickbooks_id": str(answered.id)},
        client_id=invoice.client.id,
        amount=invoice.total,
        currency=invoice.currency,
    )


def _stranger(operation: Operation, wire: Mapping[str, Any], found: Invoice) -> Problem:
    return Problem(
        type=EXPORT_ERROR,
        code="number_in_use",
        cause=f"number_in_use:{operation.company_id}:{wire['DocNumber']}",
        title=f"Number {wire['DocNumber']} is another invoice in QuickBooks",
        happened=f"QuickBooks has an invoice {found.doc_number} (id {found.id}) that algasync did not make.",
        why="Customer, date, total or marker differ, so it is not bound to ours: it may be a bookkeeper's.",
        fix="Compare both. If it is the same sale, link it in the wizard's history step; else renumber the other one "
        "in QuickBooks and retry.",
        details={"quickbooks_id": str(found.id)},
    )
