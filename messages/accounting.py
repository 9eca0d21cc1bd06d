"""What we tell the billing system: what became of its documents, and what happened in QuickBooks.

Each event names the company, both sides' ids and numbers, amounts, dates and what caused it. Amounts are
integer minor units of the currency the event names, also where QuickBooks speaks decimals.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from messages.clients import Actor
from messages.errors import Problem
from messages.lines import TaxComponent
from messages.shape import (
    Count,
    Currency,
    Date,
    DocumentKey,
    EventData,
    ExchangeRate,
    Identifier,
    Instant,
    Minor,
    Name,
    NotNegativeMinor,
    OptionalIdentifier,
    OptionalText,
    PositiveMinor,
    Rows,
    Shape,
    Uuid,
    refuse,
)

DocumentKind = Literal[
    "invoice", "credit_note", "credit_application", "credit", "payment", "refund", "client"
]


class Company(Shape):
    """A QuickBooks company, as we and as Intuit know it."""

    company_id: Uuid
    realm_id: Identifier
    name: OptionalText = None


class Cause(Shape):
    """What led to the event: at least one of these."""

    event_id: Uuid | None = None
    """The billing event behind it."""
    operation_id: Uuid | None = None
    """Our operation that had this effect."""
    change_id: OptionalIdentifier = None
    """The change seen in QuickBooks."""
    check: OptionalIdentifier = None
    """The recurring check that noticed it, such as token_refresh."""
    actor: Actor | None = None
    """The person who asked for it."""

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if all(value is None for _, value in self):
            refuse([Problem("event_id", "is missing, and so is every other cause; name at least one")])
        return self


class LinkedDocument(Shape):
    """A document that both sides have."""

    kind: DocumentKind
    billing_id: Identifier
    billing_number: OptionalIdentifier = None
    quickbooks_type: Identifier
    """Invoice, CreditMemo, Payment, Customer, ..."""
    quickbooks_id: Identifier
    quickbooks_number: OptionalText = None
    url: OptionalText = None
    """Where to see it in QuickBooks."""


class Entity(Shape):
    """Something at least one side has."""

    kind: Identifier
    billing_id: OptionalIdentifier = None
    billing_number: OptionalIdentifier = None
    quickbooks_type: OptionalIdentifier = None
    quickbooks_id: OptionalIdentifier = None
    quickbooks_number: OptionalText = None
    url: OptionalText = None


class Customer(Shape):
    """A QuickBooks customer and, when linked, the client it stands for."""

    quickbooks_customer_id: Identifier
    quickbooks_customer_name: OptionalText = None
    client_id: OptionalIdentifier = None
    client_name: OptionalText = None


class AccountingEvent(EventData):
    """What every event to billing names."""

    company: Company
    cause: Cause


# --- documents ---


class _DocumentEvent(AccountingEvent):
    kind = "document"  # of any kind: the data says which

    document: LinkedDocument

    @property
    def key(self) -> DocumentKey:
        """The document as billing knows it."""
        return DocumentKey(self.document.kind, self.document.billing_id)


class DocumentSynced(_DocumentEvent):
    """A document of billing is in QuickBooks as billing has it."""

    action: Literal["created", "updated", "linked", "voided", "deleted"]
    """What we did there; `linked` adopted what was there already."""
    revision: Count
    """Sequence of the billing event this brings QuickBooks up to."""
    date: Date | None = None
    currency: Currency | None = None
    total: Minor | None = None
    quickbooks_total: Minor | None = None
    """As QuickBooks answered, with billing's sign."""
    synced_at: Instant


class Difference(Shape):
    """One field on which the books disagree, as a person would read it."""

    field: Name
    billing_value: OptionalText = None
    quickbooks_value: OptionalText = None
    owner: Literal["billing", "quickbooks"]
    """Whose value counts."""


class DocumentDrifted(_DocumentEvent):
    """Someone changed, voided or deleted our document in QuickBooks."""

    change: Literal["changed", "voided", "deleted"]
    differences: Rows[Difference]
    date: Date | None = None
    """The document's date in QuickBooks."""
    currency: Currency | None = None
    total: Minor | None = None
    quickbooks_total: Minor | None = None
    exception_id: Uuid | None = None
    """The open exception that offers the resolutions."""
    detected_at: Instant


class LineTax(Shape):
    """The tax of one line."""

    line_id: Identifier
    net_amount: Minor
    tax_amount: Minor
    components: Rows[TaxComponent]


class DocumentTaxComputed(_DocumentEvent):
    """QuickBooks computed the tax of a draft; billing takes it over and finalizes."""

    date: Date
    currency: Currency
    subtotal: Minor
    tax: Minor
    total: Minor
    lines: Rows[LineTax]
    computed_at: Instant

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        problems = []
        for index, line in enumerate(self.lines):
            parts = sum(component.amount for component in line.components)
            if line.components and parts != line.tax_amount:
                problems.append(
                    Problem(
                        f"lines[{index}].components",
                        f"add up to {parts}, but tax_amount is {line.tax_amount}; make them equal",
                    )
                )
        taxes = sum(line.tax_amount for line in self.lines)
        if taxes != self.tax:
            problems.append(
                Problem(
                    "tax", f"is {self.tax}, but the lines' tax_amount adds up to {taxes}; make them equal"
                )
            )
        if self.subtotal + self.tax != self.total:
            problems.append(
                Problem(
                    "total", f"is {self.total}, not subtotal {self.subtotal} plus tax {self.tax}; correct it"
                )
            )
        refuse(problems)
        return self


# --- payments ---


class InvoiceAllocation(Shape):
    """The part of a payment that settles one invoice of billing."""

    invoice_id: Identifier
    invoice_number: OptionalIdentifier = None
    quickbooks_invoice_id: Identifier
    quickbooks_invoice_number: OptionalText = None
    amount: PositiveMinor


class OutsideAllocation(Shape):
    """The part of a payment on a document that billing does not own."""

    quickbooks_type: Identifier
    quickbooks_id: Identifier
    quickbooks_number: OptionalText = None
    amount: Minor


class PaymentState(Shape):
    """A payment's money and where it is: allocations, outside and unapplied add up to the amount."""

    date: Date
    amount: NotNegativeMinor
    allocations: Rows[InvoiceAllocation]
    outside: Rows[OutsideAllocation] = ()
    unapplied: Minor

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        allocated = sum(part.amount for part in self.allocations)
        placed = allocated + sum(part.amount for part in self.outside) + self.unapplied
        if placed != self.amount:
            sentence = f"is {self.amount}, but allocations, outside and unapplied add up to {placed}"
            refuse([Problem("amount", f"{sentence}; make them equal")])
        return self


class _PaymentEvent(AccountingEvent):
    kind = "payment"
    id_field = "payment_id"

    payment_id: Identifier
    """Our name for the payment, the same in every event about it."""
    billing_payment_id: OptionalIdentifier = None
    """Billing's id, when the payment came from there."""
    quickbooks_id: Identifier
    url: OptionalText = None
    customer: Customer
    reference: OptionalText = None
    """Check number or the like, as in QuickBooks."""
    method: OptionalText = None
    currency: Currency
    exchange_rate: ExchangeRate | None = None


class PaymentReceived(_PaymentEvent):
    """A bookkeeper or QuickBooks Payments recorded money; billing shall record it too."""

    payment: PaymentState
    seen_at: Instant


class PaymentChanged(_PaymentEvent):
    """A payment has another amount, date or other invoices now: what stood before is to be replaced."""

    payment: PaymentState
    previous: PaymentState
    seen_at: Instant


class PaymentWithdrawn(_PaymentEvent):
    """A payment was voided or deleted in QuickBooks; nothing of it counts any more."""

    reason: Literal["voided", "deleted"]
    previous: PaymentState
    seen_at: Instant


class CreditAppliedInQuickBooks(AccountingEvent):
    """Credit settled an invoice in QuickBooks, by a bookkeeper's hand or automatically. It is no cash."""

    kind = "credit_application"
    id_field = "application_id"

    application_id: Identifier
    """Our name for this application, the same whenever we tell of it."""
    credit: Entity
    invoice: LinkedDocument
    quickbooks_payment_id: Identifier
    """The zero-total Payment that joins the two."""
    customer: Customer
    amount: PositiveMinor
    currency: Currency
    date: Date
    automatic: bool
    """True when QuickBooks applied it by itself."""
    seen_at: Instant


class CreditWithdrawnInQuickBooks(AccountingEvent):
    """Credit that settled an invoice in QuickBooks, as told before, was taken off it: the invoice is open again."""

    kind = "credit_application"
    id_field = "application_id"

    application_id: Identifier
    """The name under which it was told."""
    reason: Literal["changed", "voided", "deleted"]
    """What happened to the Payment that joined the two; changed: it joins other documents now."""
    credit: Entity
    invoice_id: Identifier
    """Billing's id."""
    quickbooks_invoice_id: Identifier
    quickbooks_payment_id: Identifier
    amount: PositiveMinor
    currency: Currency
    seen_at: Instant


# --- exceptions ---


class _ExceptionEvent(EventData):
    kind = "exception"
    id_field = "exception_id"

    company: Company | None = None
    """Absent when no company is concerned yet."""
    cause: Cause
    exception_id: Uuid
    type: Identifier
    """For example accounting_sync_export_error."""
    code: Identifier
    """What exactly, for example missing_item_mapping."""
    entity: Entity | None = None
    client_id: OptionalIdentifier = None
    date: Date | None = None
    """The document's date."""
    currency: Currency | None = None
    amount: Minor | None = None


class ExceptionOpened(_ExceptionEvent):
    """Something needs a person."""

    title: Name
    happened: Name
    why: Name
    fix: Name
    opened_at: Instant


class ExceptionResolved(_ExceptionEvent):
    """An exception is settled: mended, or ignored with a reason."""

    resolution: Literal["resolved", "ignored"]
    reason: Name
    resolved_at: Instant


# --- connections ---


class _ConnectionEvent(AccountingEvent):
    kind = "connection"

    reason: Identifier
    """A stable word, for example token_expiring or authorization_revoked."""
    since: Instant

    @property
    def key(self) -> DocumentKey:
        """The connected company."""
        return DocumentKey(self.kind, str(self.company.company_id))


class ConnectionAttentionNeeded(_ConnectionEvent):
    """A connection stopped or will stop; nothing is lost, work waits."""

    title: Name
    fix: Name
    expires_at: Instant | None = None


class ConnectionRestored(_ConnectionEvent):
    """A connection works again; waiting work goes on."""

    restored_at: Instant
