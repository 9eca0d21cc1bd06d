"""Telling billing that a document of its is in QuickBooks as it wanted, in the transaction that records it."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy import Connection

import outbox
from messages.accounting import Cause, Company, DocumentSynced, LinkedDocument
from messages.money import to_minor
from services.ledger.documents import Document
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.outbound.books import Books

Action = Literal["created", "updated", "linked", "voided", "deleted"]

_HOSTS = {"production": "https://app.qbo.intuit.com", "sandbox": "https://app.sandbox.qbo.intuit.com"}
_PAGES = {"Invoice": "invoice", "CreditMemo": "creditmemo", "Payment": "recvpayment"}


def synced(
    connection: Connection, operation: Operation, document: Document, books: Books, link: Link, action: Action
) -> None:
    """Emit `document.synced`."""
    total = document.total
    there = to_minor(link.total or Decimal(0), document.currency) if document.currency else None
    if there is not None and document.kind == "credit_note":
        there = -there
    outbox.emit(
        connection,
        operation.tenant_id,
        "document.synced.v1",
        document.document_id,
        DocumentSynced(
            company=company(books),
            cause=cause(operation),
            document=linked(document, books, link),
            action=action,
            revision=operation.revision,
            date=document.document_date,
            currency=document.currency,
            total=total,
            quickbooks_total=there,
            synced_at=datetime.datetime.now(datetime.UTC),
        ),
    )


def company(books: Books) -> Company:
    """The company as events name it."""
    return Company(company_id=books.company_id, realm_id=books.realm_id, name=books.name or None)


def cause(operation: Operation) -> Cause:
    """What led to an event of ours."""
    return Cause(event_id=operation.event_id, operation_id=operation.operation_id)


def linked(document: Document, books: Books, link: Link) -> LinkedDocument:
    """The document on both sides, with its page in QuickBooks."""
    page = _PAGES.get(link.external_type)
    return LinkedDocument.model_validate(
        {
            "kind": document.kind,
            "billing_id": document.document_id,
            "billing_number": document.number,
            "quickbooks_type": link.external_type,
            "quickbooks_id": link.external_id,
            "quickbooks_number": link.number,
            "url": f"{_HOSTS[books.environment]}/app/{page}?txnId={link.external_id}" if page else None,
        }
    )
