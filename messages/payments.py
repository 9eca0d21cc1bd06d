"""Payments by clients: settled money only, and where it went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator

from messages.clients import Actor, Client
from messages.errors import Problem
from messages.shape import (
    Currency,
    Date,
    EventData,
    ExchangeRate,
    Identifier,
    Instant,
    Name,
    NotNegativeMinor,
    OptionalIdentifier,
    OptionalText,
    PositiveMinor,
    Rows,
    Shape,
    refuse,
    reject,
    shown,
)


def _settled(status: object) -> object:
    if status != "settled":
        reject(
            f"is {shown(status)}; only settled money is sent: emit payment.recorded with status settled "
            "once the money has arrived"
        )
    return status


class Allocation(Shape):
    """The part of a payment that settles one invoice."""

    invoice_id: Identifier
    amount: PositiveMinor


def check_allocations(allocations: Sequence[Allocation], amount: int | None) -> list[Problem]:
    """Return what is wrong with the allocations of a payment over `amount`, when that is known."""
    problems = []
    seen: set[str] = set()
    for index, allocation in enumerate(allocations):
        if allocation.invoice_id in seen:
            problems.append(
                Problem(
                    f"allocations[{index}].invoice_id",
                    f"names invoice {allocation.invoice_id!r} a second time; send one allocation an invoice",
                )
            )
        seen.add(allocation.invoice_id)
    allocated = sum(allocation.amount for allocation in allocations)
    if amount is not None and allocated > amount:
        problems.append(
            Problem(
                "allocations",
                f"add up to {allocated}, more than the payment's amount of {amount}; lower an allocation",
            )
        )
    return problems


class PaymentRecorded(EventData):
    """Money arrived. What is not allocated is unapplied credit of the client."""

    kind = "payment"

    id: Identifier
    client: Client
    date: Date
    """The day of the payment where the books are kept (`accounting_time_zone`)."""
    received_at: Instant
    amount: PositiveMinor
    currency: Currency
    exchange_rate: ExchangeRate | None = None
    """Home units for one unit of `currency`, on the payment's date."""
    method: Name
    """For example check, ach, card, cash."""
    provider: OptionalText = None
    """For example stripe."""
    reference: OptionalText = None
    """What the payer or the bank calls it, such as a check number."""
    gateway_txn_id: OptionalIdentifier = None
    fee: NotNegativeMinor | None = None
    """What the provider kept; informative."""
    payout_id: OptionalIdentifier = None
    """The provider's transfer to the bank that contains this payment."""
    allocations: Rows[Allocation]
    status: Annotated[Literal["settled"], BeforeValidator(_settled)]
    actor: Actor | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        refuse(check_allocations(self.allocations, self.amount))
        return self


class PaymentReallocated(EventData):
    """The same money settles other invoices; these allocations replace all earlier ones."""

    kind = "payment"

    id: Identifier
    allocations: Rows[Allocation]
    actor: Actor | None = None

    @model_validator(mode="after")
    def _names_each_invoice_once(self) -> Self:
        refuse(check_allocations(self.allocations, None))
        return self


class PaymentReversed(EventData):
    """A payment did not hold: it was never made, or the money went back."""

    kind = "payment"

    id: Identifier
    date: Date
    reason: Literal["keyed_in_error", "bounced", "chargeback"]
    actor: Actor | None = None


class PaymentRefunded(EventData):
    """Money, all of a payment or a part, was given back to the client."""

    kind = "refund"
    id_field = "refund_id"

    refund_id: Identifier
    payment_id: Identifier
    amount: PositiveMinor
    currency: Currency
    date: Date
    reason: Name
    actor: Actor | None = None
