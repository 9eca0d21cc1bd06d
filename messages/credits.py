"""Credit notes, and what happens to credit: applied to an invoice, taken back, expired.

A credit note carries the signs of AlgaPSA: its total is negative, and so are the lines that give credit.
"""

from __future__ import annotations

from typing import Literal

from messages.clients import Actor
from messages.errors import Problem
from messages.invoices import Document
from messages.shape import (
    Currency,
    Date,
    EventData,
    Identifier,
    Instant,
    Name,
    OptionalIdentifier,
    PositiveMinor,
)

SourceKind = Literal["credit_note", "prepayment", "project_deposit", "direct_grant"]


class CreditNoteFinalized(Document):
    """A credit note is final: its number, lines and (negative) total stand."""

    kind = "credit_note"

    number: Identifier
    type: Literal["credit_note"] = "credit_note"
    due_date: Date | None = None
    finalized_at: Instant
    reason: Name
    expires_on: Date | None = None
    credits_invoice: OptionalIdentifier = None
    """Id of the invoice it corrects."""

    def _check_own_rules(self) -> list[Problem]:
        problems = super()._check_own_rules()
        if self.total > 0:
            problems.append(
                Problem(
                    "total",
                    f"is {self.total}; a credit note has a negative total and negative lines, as in AlgaPSA",
                )
            )
        return problems


class CreditNoteVoided(EventData):
    """A credit note was cancelled as if it had never been given."""

    kind = "credit_note"

    id: Identifier
    date: Date
    reason: Name
    actor: Actor


class CreditApplied(EventData):
    """Credit was used to settle (a part of) an invoice. Each application has an id of its own."""

    kind = "credit_application"
    id_field = "application_id"

    application_id: Identifier
    source_kind: SourceKind
    source_id: Identifier
    """Id of the credit note, prepayment invoice, deposit or grant the credit comes from."""
    invoice_id: Identifier
    amount: PositiveMinor
    currency: Currency
    date: Date
    actor: Actor | None = None


class CreditUnapplied(CreditApplied):
    """An application was taken back; the invoice is open again by that amount."""


class CreditExpired(EventData):
    """What was left of a credit may no longer be used."""

    kind = "credit"
    id_field = "source_id"

    source_kind: SourceKind
    source_id: Identifier
    amount: PositiveMinor
    currency: Currency | None = None
    """Left out, it is that of the credit's source."""
    date: Date
    actor: Actor | None = None
