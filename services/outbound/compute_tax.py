"""Tax of a draft, computed by QuickBooks: the draft is entered there, its tax told to billing, and the draft removed.

QuickBooks has no call that only computes. The draft is an invoice of its own number that stands in the books for a
moment; two calls, one operation, and the removal is never forgotten.
"""

from __future__ import annotations

import datetime
from dataclasses import replace
from decimal import Decimal

from sqlalchemy import Connection

import outbox
from messages import validate
from messages.accounting import DocumentTaxComputed
from messages.invoices import Document as Billed
from messages.invoices import InvoiceTaxRequested
from messages.money import to_minor
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Prepared, Send, Settled, Skip
from services.mapping.mappings import lookup
from services.outbound import announcements, closed_books, dossiers, forms, marker, tax_shares, voids
from services.outbound import books as books_
from services.outbound.books import Books
from services.outbound.dossiers import Dossier
from services.outbound.export_form import ExportForm
from services.outbound.findings import Finding, problem
from services.outbound.forms import INVOICE
from services.outbound.handler import looking_first
from services.outbound.words import label
from services.quickbooks import calls
from services.quickbooks.entities import Invoice
from services.quickbooks.reply import Reply

EVENT = "com.algapsa.billing.invoice.tax_requested.v1"
DRAFT = "tax_draft"
"""Kind of the link to the draft in QuickBooks."""


class ComputeTax(ExportForm):
    """Handler of `compute_tax`."""

    act = "compute the tax of"
    needs_auto_sync = False  # somebody asked for it and waits

    def __init__(self) -> None:
        super().__init__("compute_tax", INVOICE)

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Remove a draft that is there; enter one while the tax is still wanted."""
        dossier = dossiers.one(connection, operation.tenant_id, "invoice", operation.document_id)
        draft = dossiers.one(connection, operation.tenant_id, DRAFT, operation.document_id)
        if draft.live:
            assert draft.link is not None
            current = operation.seen["object"] if operation.seen else draft.link.snapshot
            if current is None:
                return voids.adopt(operation, voids.deleted(draft.link.external_id))
            token = str(current["SyncToken"])
            return Send(
                calls.delete("Invoice", id=draft.link.external_id, sync_token=token, requestid=requestid)
            )
        if dossier.document.state != "draft":
            return Skip("no_draft", "the invoice is no draft any more, so nobody waits for its tax")
        billed = validate(EVENT, dossier.document.data)
        assert isinstance(billed, InvoiceTaxRequested)
        return self._enter(connection, operation, dossier, billed, requestid)

    def _enter(
        self,
        connection: Connection,
        operation: Operation,
        dossier: Dossier,
        billed: InvoiceTaxRequested,
        requestid: str,
    ) -> Prepared:
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, billed.client.id)
        mark = marker.of(operation.tenant_id, operation.company_id, DRAFT, operation.document_id)
        numbered = billed.model_copy(update={"number": mark.replace("AS-", "TAX-")})
        mappings = lookup(connection, books.company_id, set(forms.keys(numbered, books)))
        dated, remark = closed_books.dated(operation, billed.invoice_date)
        said = "Draft, only to compute its tax; it is removed at once."
        wire, findings = forms.build(
            INVOICE, numbered, books, mappings, mark, dated=dated, remark=remark or said
        )
        if books.preference("SalesFormsPrefs", "AutoApplyCredit") is True:
            findings.append(_credits_would_be_applied(books))
        if findings:
            title = f"Cannot compute the tax of {label(dossier.document)}"
            return Fail(problem(findings, title=title, client_id=billed.client.id, amount=billed.total))
        closed = closed_books.check(books, dossier.document, self.act, [dated], redatable=True)
        if closed is not None:
            return Fail(closed)
        return looking_first(self._create(connection, operation, wire, requestid), books)

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """The draft is there: tell billing its tax, and remove it next. The draft is gone: done, or on to a new one."""
        draft = dossiers.one(connection, operation.tenant_id, DRAFT, operation.document_id)
        if reply.call.operation == "delete":
            assert draft.link is not None
            links.put(connection, replace(draft.link, state="deleted"))
            ours = draft.link.operation_id == operation.operation_id
            return Settled({"removed": draft.link.external_id}, again=not ours)
        dossier = dossiers.one(connection, operation.tenant_id, "invoice", operation.document_id)
        answered = reply.one(Invoice)
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        link = Link(
            tenant_id=operation.tenant_id,
            company_id=operation.company_id,
            kind=DRAFT,
            document_id=operation.document_id,
            external_type="Invoice",
            external_id=answered.id,
            sync_token=answered.sync_token,
            number=answered.doc_number,
            total=answered.total_amt,
            currency=dossier.document.currency,
            state="synced",
            snapshot=dict(reply.data["Invoice"]),
            operation_id=operation.operation_id,
        )
        links.put(connection, link)
        if dossier.document.applied_sequence == operation.revision:  # else billing has asked anew
            billed = validate(EVENT, dossier.document.data)
            assert isinstance(billed, InvoiceTaxRequested)
            tell(connection, operation, dossier, billed, books, link, answered)
        return Settled({"draft": link.external_id, "total": str(link.total)}, again=True)


def tell(
    connection: Connection,
    operation: Operation,
    dossier: Dossier,
    billed: Billed,
    books: Books,
    link: Link,
    answered: Invoice,
) -> None:
    """Emit `document.tax_computed`."""
    mappings = lookup(connection, books.company_id, set(forms.keys(billed, books)))
    lines = tax_shares.of_lines(billed, answered, books, mappings)
    subtotal = sum(line.net_amount for line in billed.lines)
    detail = answered.txn_tax_detail
    tax = to_minor((detail.total_tax if detail else None) or Decimal(0), billed.currency)
    outbox.emit(
        connection,
        operation.tenant_id,
        "document.tax_computed.v1",
        billed.id,
        DocumentTaxComputed(
            company=announcements.company(books),
            cause=announcements.cause(operation),
            document=announcements.linked(dossier.document, books, link),
            date=billed.invoice_date,
            currency=billed.currency,
            subtotal=subtotal,
            tax=tax,
            total=subtotal + tax,
            lines=lines,
            computed_at=datetime.datetime.now(datetime.UTC),
        ),
    )


def _credits_would_be_applied(books: Books) -> Finding:
    return Finding(
        "credits_are_applied_automatically",
        "tax",
        "the QuickBooks company applies open credits to new invoices by itself, and would apply them to the draft",
        "Switch off Account and settings, Advanced, Automation, Automatically apply credits in QuickBooks; or let "
        "the tax be computed in billing.",
        f"auto_apply_credit:{books.company_id}",
    )


COMPUTE_TAX = ComputeTax()
