"""A payment of QuickBooks taken apart: what is cash, what is credit, and which document got how much of either.

A payment's lines name the documents it settles and the credits it uses up, all with positive amounts, and say
nothing of which credit went to which document. Its total is the cash alone: total less unapplied is what the
documents got less what the credits gave. So credits are laid on the documents in the order of their ids, and what
they leave is cash; each document's sum is QuickBooks' own whatever the order.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from messages.money import to_decimal, to_minor
from services.quickbooks.entities import Payment

Target = tuple[str, str]
"""Type and id of a transaction in QuickBooks, such as ("Invoice", "71")."""

CREDITS = frozenset({"CreditMemo"})
CHARGES = frozenset({"Invoice"})
MOST_SUMS = 100_000
"""How many sums of journal entries and the like are tried: only sums tell which of them are charges, which credits."""

AUTOMATIC = "Created by QB Online to link credits to charges"
"""What QuickBooks writes on the payment of zero by which it applies a credit by itself."""


class Unreadable(ValueError):
    """The payment's figures do not add up; the message says how."""


@dataclass(frozen=True, slots=True)
class Use:
    """So much of a credit settles so much of a document."""

    credit: Target
    charge: Target
    amount: int


@dataclass(frozen=True, slots=True)
class Split:
    """A payment in minor units of `currency`. `cash` and `uses` together are what each document got.

    `numbers` are the document numbers that QuickBooks shows on the lines.
    """

    currency: str
    date: date
    amount: int
    unapplied: int
    cash: Mapping[Target, int]
    uses: Sequence[Use]
    numbers: Mapping[Target, str]
    automatic: bool

    @property
    def empty(self) -> bool:
        """Nothing on it at all: what a void leaves."""
        return not self.amount and not self.unapplied and not self.uses

    @property
    def charges(self) -> list[Target]:
        """Documents that it settles, by cash or credit."""
        return sorted({*self.cash, *(use.charge for use in self.uses)})

    def settles(self, charge: Target) -> int:
        """What a document got of it, cash and credit."""
        credit = sum(use.amount for use in self.uses if use.charge == charge)
        return self.cash.get(charge, 0) + credit


def split(payment: Payment, home_currency: str) -> Split:
    """Take a payment apart. Raises `Unreadable`."""
    currency = payment.currency_ref.value if payment.currency_ref is not None else home_currency
    if payment.txn_date is None:
        raise Unreadable("it has no date")
    amount = _minor(payment.total_amt, currency)
    lines, numbers = _lines(payment, currency)
    applied = None if payment.unapplied_amt is None else amount - _minor(payment.unapplied_amt, currency)
    charges, credits_ = _sides(lines, applied)
    unapplied = amount - (sum(charges.values()) - sum(credits_.values()))
    if unapplied < 0:
        raise Unreadable(f"its lines take {-unapplied} minor units more than it has")
    cash, uses = _lay(charges, credits_)
    return Split(
        currency=currency,
        date=payment.txn_date,
        amount=amount,
        unapplied=unapplied,
        cash={target: left for target, left in cash.items() if left},
        uses=uses,
        numbers=numbers,
        automatic=(payment.private_note or "").startswith(AUTOMATIC),
    )


def _minor(amount: Decimal | None, currency: str) -> int:
    wanted = amount or Decimal(0)
    try:
        minor = to_minor(wanted, currency)
    except ValueError as refused:
        raise Unreadable(str(refused)) from refused
    if to_decimal(minor, currency) != wanted:
        raise Unreadable(f"{wanted} is no amount of {currency}, whose smallest coin is larger than that")
    return minor


def _lines(payment: Payment, currency: str) -> tuple[dict[Target, int], dict[Target, str]]:
    amounts: dict[Target, int] = {}
    numbers: dict[Target, str] = {}
    for line in payment.line or ():
        links = line.linked_txn or ()
        if not links:  # settles nothing; what QuickBooks says is applied tells whether that is all
            continue
        if len(links) > 1:
            raise Unreadable(f"a line names {len(links)} transactions")
        target = (links[0].txn_type, links[0].txn_id)
        amounts[target] = amounts.get(target, 0) + _minor(line.amount, currency)
        number = line.line_ex.values.get("txnReferenceNumber") if line.line_ex is not None else None
        if number:
            numbers[target] = number
    return amounts, numbers


def _sides(lines: Mapping[Target, int], applied: int | None) -> tuple[dict[Target, int], dict[Target, int]]:
    """Charges and credits. A journal entry may be either: what makes the sums agree is true."""
    credits_ = {target: amount for target, amount in lines.items() if target[0] in CREDITS}
    charges = {target: amount for target, amount in lines.items() if target not in credits_}
    over = 0 if applied is None else sum(charges.values()) - sum(credits_.values()) - applied
    unclear = {target: charges[target] for target in sorted(charges, key=_order) if target[0] not in CHARGES}
    # What turns from a charge into a credit lowers the sum by twice its amount.
    chosen = _adding_up(unclear, over // 2) if over % 2 == 0 else None
    if chosen is None:
        raise Unreadable("its lines do not add up to what QuickBooks says is applied")
    return (
        {target: amount for target, amount in charges.items() if target not in chosen},
        credits_ | {target: charges[target] for target in chosen},
    )


def _adding_up(amounts: Mapping[Target, int], wanted: int) -> tuple[Target, ...] | None:
    """The fewest of the amounts whose sum is wanted; None when there are none."""
    found: dict[int, tuple[Target, ...]] = {0: ()}
    for target, amount in amounts.items():
        for sum_, chosen in list(found.items()):
            more = sum_ + amount
            if more <= wanted and (more not in found or len(found[more]) > len(chosen) + 1):
                found[more] = (*chosen, target)
        if len(found) > MOST_SUMS:
            raise Unreadable(
                f"it settles {len(amounts)} transactions that are neither invoices nor credit memos"
            )
    return found.get(wanted)


def _lay(
    charges: Mapping[Target, int], credits_: Mapping[Target, int]
) -> tuple[dict[Target, int], list[Use]]:
    """Lay credits on documents, both in the order of their ids; returns the cash that each document still takes."""
    cash = {target: charges[target] for target in sorted(charges, key=_order)}
    uses: list[Use] = []
    for credit in sorted(credits_, key=_order):
        left = credits_[credit]
        for charge, open_ in cash.items():
            part = min(left, open_)
            if part > 0:
                uses.append(Use(credit, charge, part))
                cash[charge] -= part
                left -= part
        if left:
            raise Unreadable("it uses more credit than the documents on it take")
    return cash, uses


def _order(target: Target) -> tuple[bool, str, int, str]:
    """Invoices first, the older before the younger."""
    type_, id_ = target
    return (type_ != "Invoice", type_, int(id_) if id_.isdecimal() else 0, id_)
