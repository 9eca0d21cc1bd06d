"""Invoices as billing finalized, corrected, voided or wrote them off.

A document is refused unless it adds up, in minor units of its currency:

* the `net_amount` of all lines plus `tax` is `total`; discount lines are negative
* `subtotal` is before or after discounts: `subtotal + tax = total`, or `subtotal - |discount| + tax = total`
* the `tax_amount` of all lines is `tax`, unless the tax comes from elsewhere (`tax_source` is not `internal`)
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from messages.clients import Actor, BillingProfile, Client
from messages.errors import Problem
from messages.lines import Line, check_lines, repeated_groups
from messages.shape import (
    Currency,
    Date,
    EventData,
    ExchangeRate,
    Identifier,
    Instant,
    Minor,
    Name,
    OptionalIdentifier,
    OptionalText,
    PositiveMinor,
    Rows,
    refuse,
)


class Document(EventData):
    """What invoices and credit notes have in common."""

    id: Identifier
    number: OptionalIdentifier = None
    type: Literal["standard", "prepayment", "credit_note"]
    invoice_date: Date
    due_date: Date | None = None
    finalized_at: Instant | None = None
    currency: Currency
    exchange_rate: ExchangeRate | None = None
    """Home units for one unit of `currency`."""
    exchange_rate_date: Date | None = None
    """The day of the rate; left out, it is the document's date."""
    po_number: OptionalText = None
    customer_memo: OptionalText = None
    terms: OptionalText = None
    """The PSA's payment term, such as net_30."""
    tax_source: Literal["internal", "external", "pending_external"]
    subtotal: Minor
    """Before tax; before or after discounts."""
    discount: Minor
    """The sum of the discounts, with either sign."""
    tax: Minor
    total: Minor
    target_company: OptionalIdentifier = None
    """The QuickBooks company to use instead of the client's or the tenant's default."""
    client: Client
    billing_profile: BillingProfile | None = None
    lines: Rows[Line]
    actor: Actor

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        refuse(check_lines(self.lines) or self._check_totals() + self._check_own_rules())
        return self

    def _check_totals(self) -> list[Problem]:
        problems = []
        net = sum(line.net_amount for line in self.lines)
        if net + self.tax != self.total:
            problems += repeated_groups(self.lines) or [
                Problem(
                    "total",
                    f"is {self.total}, but the lines ({net}) and the tax ({self.tax}) add up to "
                    f"{net + self.tax}; correct the total or the line that is off",
                )
            ]
        if self.total - self.tax not in (self.subtotal, self._discounted_subtotal()):
            problems.append(
                Problem(
                    "subtotal",
                    f"is {self.subtotal}; with tax {self.tax} and discount {self.discount} it does not "
                    f"lead to the total of {self.total}, neither before nor after discounts; correct it",
                )
            )
        taxes = sum(line.tax_amount for line in self.lines)
        if self.tax_source == "internal" and taxes != self.tax:
            problems.append(
                Problem(
                    "tax",
                    f"is {self.tax}, but the tax_amount of the lines adds up to {taxes}; make them equal, "
                    "or name the tax_source if the tax was computed elsewhere",
                )
            )
        return problems

    def _discounted_subtotal(self) -> int:
        """Discounts bring an amount nearer to 0: down on an invoice, up on a credit note."""
        discount = abs(self.discount)
        return self.subtotal - discount if self.subtotal >= 0 else self.subtotal + discount

    def _check_own_rules(self) -> list[Problem]:
        problems = []
        if self.exchange_rate_date is not None and self.exchange_rate is None:
            problems.append(
                Problem("exchange_rate", "is missing while exchange_rate_date is given; send both or neither")
            )
        return problems


class _Invoice(Document):
    kind = "invoice"

    type: Literal["standard", "prepayment"]
    due_date: Date

    def _check_own_rules(self) -> list[Problem]:
        problems = super()._check_own_rules()
        if self.total < 0:
            problems.append(
                Problem("total", f"is {self.total}; send what is owed to a client as credit_note.finalized")
            )
        return problems


class InvoiceFinalized(_Invoice):
    """An invoice is final: its number, lines and total stand."""

    number: Identifier
    finalized_at: Instant


class InvoiceCorrected(_Invoice):
    """A final invoice was corrected; this is the whole of it as it stands now."""

    number: Identifier
    finalized_at: Instant


class InvoiceTaxRequested(_Invoice):
    """A draft whose sales tax QuickBooks shall compute; `document.tax_computed` answers."""

    number: OptionalIdentifier = None
    """A draft may have none yet."""
    tax_source: Literal["pending_external"]


class InvoiceVoided(EventData):
    """An invoice was cancelled as if it had never been sent."""

    kind = "invoice"

    id: Identifier
    date: Date
    reason: Name
    actor: Actor


class InvoiceWrittenOff(EventData):
    """Billing gave up on what is still open of an invoice."""

    kind = "invoice"

    id: Identifier
    amount: PositiveMinor
    currency: Currency | None = None
    """Left out, it is the invoice's."""
    date: Date
    reason: Name
    actor: Actor


class InvoiceDueDateChanged(EventData):
    """A final invoice is due on another day."""

    kind = "invoice"

    id: Identifier
    date: Date
    """The new due date."""
    reason: Name
    actor: Actor
