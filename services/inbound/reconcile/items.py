"""Items of a statement: one document, payment or credit in both books, what differs, and why that is so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from services.inbound.reconcile.reading import Target

Class = Literal[
    "matched", "timing", "open_exceptions", "accepted", "unapplied", "outside_scope", "fx", "unexplained"
]
CLASSES: Final[tuple[Class, ...]] = (
    "matched",
    "timing",
    "open_exceptions",
    "accepted",
    "unapplied",
    "outside_scope",
    "fx",
    "unexplained",
)
"""What every item is one of. Only `unexplained` is a failure."""

MEANINGS: Final[dict[Class, str]] = {
    "matched": "the same in both books",
    "timing": "under way between the books, or waiting for something named",
    "open_exceptions": "on the exception list, for a person to settle",
    "accepted": "a person has accepted that it differs",
    "unapplied": "money in advance, or not on any invoice, that the PSA keeps otherwise",
    "outside_scope": "QuickBooks' own: native documents, journal entries, before the cutover",
    "fx": "the same amount at another exchange rate",
    "unexplained": "nobody knows why; look at it",
}


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of an effect on receivables, valued at the rate of one document: its own when `at` is None."""

    amount: int
    at: Target | None = None


@dataclass(slots=True)
class Side:
    """An item in one book. `amount` is its effect on receivables in minor units of the item's currency, `home` the
    same in the company's home currency; both count only if `date` is not after the statement's last day. `rate` is
    home units for one of the currency, None where the book does not say.
    """

    id: str
    number: str | None
    date: date | None
    amount: int
    home: int = 0
    legs: Sequence[Leg] = ()
    rate: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One field as each book has it, as people read it; None: it does not have it."""

    field: str
    billing: str | None
    quickbooks: str | None


@dataclass(slots=True)
class Item:
    """One line of the statement.

    `key` names it for good: `invoice/inv-1` in the PSA's words, `Invoice:71` for what only QuickBooks has. `about`
    are the subjects under which ledger and exception list know it. `moved` is how much more a payment puts on each
    document than the PSA has it, `digest` the `fingerprint` of an item that differs. `follows` names the item whose
    change brought this one about; such an item is listed and not counted.
    """

    key: str
    kind: str
    currency: str
    billing: Side | None = None
    quickbooks: Side | None = None
    target: Target | None = None
    client_id: str | None = None
    customer: str | None = None
    name: str = ""
    about: tuple[tuple[str, str], ...] = ()
    differences: tuple[Difference, ...] = ()
    class_: Class = "matched"
    why: str = ""
    next_step: str = ""
    exception_id: UUID | None = None
    operation_id: UUID | None = None
    follows: str | None = None
    digest: str = ""
    url: str | None = None
    moved: Mapping[Target, int] = field(default_factory=dict)

    @property
    def difference(self) -> int:
        """What QuickBooks has more than the PSA, in minor units of the currency."""
        there = self.quickbooks.amount if self.quickbooks is not None else 0
        return there - (self.billing.amount if self.billing is not None else 0)

    @property
    def home_difference(self) -> int:
        """The same in the home currency."""
        there = self.quickbooks.home if self.quickbooks is not None else 0
        return there - (self.billing.home if self.billing is not None else 0)

    @property
    def only_less(self) -> bool:
        """Whether it differs in nothing but that a payment puts less on documents."""
        applied = sum(one.field.startswith("applied to ") for one in self.differences)
        return applied == len(self.differences) > 0 and all(amount < 0 for amount in self.moved.values())

    def fingerprint(self) -> str:
        """The same for the same item with the same differences: what a person accepted is this and nothing else."""
        told: list[Any] = [self.key, self.currency, self.difference]
        told += [[one.field, one.billing, one.quickbooks] for one in self.differences]
        if self.quickbooks is not None:
            told += [self.quickbooks.number, str(self.quickbooks.date), self.quickbooks.amount, self.customer]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def settle(
        self,
        class_: Class,
        why: str,
        *,
        next_step: str = "",
        exception_id: UUID | None = None,
        operation_id: UUID | None = None,
    ) -> None:
        """Say what it is and why."""
        self.class_, self.why, self.next_step = class_, why, next_step
        self.exception_id, self.operation_id = exception_id, operation_id
