"""Writing an invoice off, where a company has an item for it: a credit memo on that item, applied to the invoice.

Two calls, one operation, each time that billing writes some of it off. Elsewhere, and outside the US where bad debts
have tax rules of their own, a person does it.
https://quickbooks.intuit.com/learn-support/en-us/help-article/bad-debts/write-bad-debt-quickbooks-online/L0VuZ0c50_US_en_US
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from messages import validate
from messages.invoices import InvoiceWrittenOff
from messages.money import to_decimal
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Found, Look, Prepared, Problem, Send, Settled, Skip
from services.outbound import (
    announcements,
    applications,
    closed_books,
    dossiers,
    forms,
    lines,
    marker,
    payment_maker,
    texts,
    troubles,
    unlinked,
    unsupported,
    words,
)
from services.outbound import books as books_
from services.outbound.books import Books
from services.outbound.dossiers import Dossier, target
from services.outbound.export_form import ExportForm
from services.outbound.findings import Finding, problem
from services.outbound.forms import CREDIT_MEMO
from services.outbound.handler import asked, sent
from services.quickbooks import calls
from services.quickbooks.entities import CreditMemo, Payment
from services.quickbooks.errors import QuickBooksError
from services.quickbooks.reply import Reply

EVENT = "com.algapsa.billing.invoice.written_off.v1"
MEMO, APPLIED = "write_off", "write_off_application"
"""Kinds of the links to the credit memo, and to the payment of zero that applies it."""

_SAID_BEFORE = text(
    """SELECT EXISTS (SELECT FROM operation o JOIN operation mine ON mine.operation_id = :id
        WHERE (o.tenant_id, o.document_kind, o.document_id, o.kind)
              = (mine.tenant_id, mine.document_kind, mine.document_id, mine.kind)
          AND o.revision < mine.revision AND o.state = 'succeeded'
          AND o.payload #- '{data,actor}' -> 'data' = mine.payload #- '{data,actor}' -> 'data')"""
)


class WriteOff(ExportForm):
    """Handler of `write_off`."""

    act = "write off"
    needs_auto_sync = False  # the books must follow, and a recipe never waits

    def __init__(self) -> None:
        super().__init__("write_off", CREDIT_MEMO)

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """First the credit memo, then its application; a person does both where no item is set."""
        assert operation.company_id is not None
        invoice = dossiers.one(connection, operation.tenant_id, "invoice", operation.document_id)
        document = invoice.document
        books = books_.load(connection, operation.company_id, document.client_id or "")
        item = books.reference("write_off_item")
        if item is None or not books.in_us:
            otherwise = "Or set write_off_item for the company, and retry." if books.in_us else ""
            return unsupported.by_hand(connection, operation, otherwise)
        held = unlinked.check(connection, operation, document, [invoice], books)
        if held is not None:
            return held
        if connection.execute(_SAID_BEFORE, {"id": operation.operation_id}).scalar_one():
            return Skip("written_off_already", "billing said it before, and QuickBooks has it")
        data = validate(EVENT, operation.payload["data"])
        assert isinstance(data, InvoiceWrittenOff)
        currency = data.currency or document.currency or books.home_currency
        wrong = [one for one in [troubles.other_currency(invoice, currency)] if one is not None]
        assert invoice.link is not None
        in_currency = forms.currency(_InCurrency(currency, invoice.link.snapshot), books, wrong)
        if wrong:
            return Fail(_refusal(wrong, invoice))
        dated, remark = closed_books.dated(operation, data.date)
        closed = closed_books.check(books, document, self.act, [dated], redatable=True)
        if closed is not None:
            return Fail(closed)
        key = _key(connection, operation)
        memo = dossiers.one(connection, operation.tenant_id, MEMO, key)
        common = {
            "TxnDate": dated.isoformat(),
            "CustomerRef": {"value": str(invoice.link.snapshot["CustomerRef"]["value"])},
            **in_currency,
        }
        amount = to_decimal(data.amount, currency)
        if not memo.live:
            said = f"{words.label(document)}: {data.reason}"
            wire = _memo(operation, key, common, amount, item, said, remark, books)
            return self._create(connection, operation, wire, requestid)
        mark = marker.of(operation.tenant_id, operation.company_id, APPLIED, key)
        amounts = {target(invoice): amount, target(memo): amount}
        note = marker.note(mark, remark)
        wire = applications.of_zero(common["CustomerRef"]["value"], dated, amounts, in_currency, note)
        return Send(calls.create("Payment", wire, requestid=requestid))

    def recipe(self, connection: Connection, operation: Operation) -> Problem | None:
        """What a person does, where the company has no item for it."""
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, "")
        ours = books.reference("write_off_item") is not None and books.in_us
        return None if ours else unsupported.by_hand(connection, operation).problem

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Link the credit memo, and go on to apply it; link the application, and tell billing."""
        assert operation.company_id is not None
        key = _key(connection, operation)
        invoice = dossiers.one(connection, operation.tenant_id, "invoice", operation.document_id)
        if reply.call.entity == "CreditMemo":
            memo = reply.one(CreditMemo)
            link = _link(
                operation, invoice, key, MEMO, "CreditMemo", memo.id, memo.sync_token, memo.total_amt, reply
            )
            links.put(connection, replace(link, number=memo.doc_number))
            return Settled({"credit_memo": link.external_id, "total": str(link.total)}, again=True)
        payment = reply.one(Payment)
        link = _link(
            operation,
            invoice,
            key,
            APPLIED,
            "Payment",
            payment.id,
            payment.sync_token,
            payment.total_amt,
            reply,
        )
        links.put(connection, link)
        books = books_.load(connection, operation.company_id, invoice.document.client_id or "")
        assert invoice.link is not None
        announcements.synced(connection, operation, invoice.document, books, invoice.link, "updated")
        trouble = payment_maker.landed_elsewhere(invoice.document, asked(reply), link.snapshot)
        note = {"quickbooks_id": link.external_id, "company": books.realm_id}
        return Settled(note, [trouble] if trouble is not None else [])

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """As for others; a credit memo that could not be applied is named."""
        said = super().refused(connection, operation, refusal)
        memo = dossiers.one(connection, operation.tenant_id, MEMO, _key(connection, operation))
        if not memo.live or memo.link is None:
            return said
        there = f"Credit memo {memo.link.number} (id {memo.link.external_id}) stands unapplied in QuickBooks"
        return replace(
            said,
            happened=f"{said.happened} {there}.",
            fix=f"{said.fix} If the invoice was paid after all, delete that credit memo and discard this item.",
        )

    def find(self, operation: Operation, look: Look) -> Found:
        """Each of both is looked for in its own way."""
        if "Line" in sent(operation) and "DocNumber" not in sent(operation):
            return payment_maker.found(operation, look)
        return super().find(operation, look)


class _InCurrency:
    """At the rate of the invoice that is written off, so that nothing is gained or lost by the exchange."""

    def __init__(self, currency: str, invoice: Mapping[str, Any]) -> None:
        rate = invoice.get("ExchangeRate")
        self.currency = currency
        self.exchange_rate = Decimal(str(rate)) if rate is not None else None


def _key(connection: Connection, operation: Operation) -> str:
    """The id under which memo and application are linked: the invoice's, with a number for each further write-off."""
    first = dossiers.one(connection, operation.tenant_id, MEMO, operation.document_id).link
    if first is None or first.operation_id in {None, operation.operation_id}:
        return operation.document_id
    return f"{operation.document_id}/{operation.revision}"


def _memo(
    operation: Operation,
    key: str,
    common: dict[str, Any],
    amount: Decimal,
    item: str,
    said: str,
    remark: str | None,
    books: Books,
) -> dict[str, Any]:
    """The credit memo; its number is made of its marker, because billing has none for it."""
    mark = marker.of(operation.tenant_id, operation.company_id, MEMO, key)
    return {
        "DocNumber": mark.replace("AS-", "WO-"),
        **common,
        "Line": [
            {
                "DetailType": "SalesItemLineDetail",
                "Amount": amount,
                "Description": texts.fitted(f"Written off: {said}", lines.LONGEST_DESCRIPTION),
                "SalesItemLineDetail": {
                    "ItemRef": {"value": item},
                    "Qty": Decimal(1),
                    "UnitPrice": amount,
                    "TaxCodeRef": {"value": "NON"},
                },
            }
        ],
        "TxnTaxDetail": {"TotalTax": Decimal(0)},
        "EmailStatus": "NotSet",
        "PrintStatus": "NotSet",
        **forms.defaults(books),
        "PrivateNote": marker.note(mark, said, remark),
    }


def _link(
    operation: Operation,
    invoice: Dossier,
    key: str,
    kind: str,
    entity: str,
    id_: str,
    sync_token: str,
    total: Decimal | None,
    reply: Reply,
) -> Link:
    assert operation.company_id is not None
    return Link(
        tenant_id=operation.tenant_id,
        company_id=operation.company_id,
        kind=kind,
        document_id=key,
        external_type=entity,
        external_id=id_,
        sync_token=sync_token,
        number=None,
        total=total or Decimal(0),
        currency=invoice.document.currency,
        state="synced",
        snapshot=dict(reply.data[entity]),
        operation_id=operation.operation_id,
    )


def _refusal(found: list[Finding], invoice: Dossier) -> Problem:
    document = invoice.document
    return problem(
        found,
        title=f"Cannot write off {words.label(document)}",
        client_id=document.client_id,
        amount=document.total,
        currency=document.currency,
    )


WRITE_OFF = WriteOff()
