"""QuickBooks' side: each object as an effect on receivables, with what identifies it and what it settles.

An invoice adds its total; a credit memo and a payment take theirs off, whatever they are applied to, so that an
object says what it is worth without any other, at any date. A payment of zero moves nothing and still settles.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from messages.money import to_minor
from services.inbound.differences import is_void
from services.inbound.reconcile.reading import Raw, Taken, Target
from services.inbound.sightings import instant, reference

_SIGNS: Final = {"Invoice": 1, "CreditMemo": -1, "Payment": -1}


@dataclass(frozen=True, slots=True)
class There:
    """One object. `amount` is its effect on receivables in minor units; `lines` is what a payment puts on each
    document and uses of each credit, both positive, and `unapplied` what is left of its money. `rate` is home units
    for one of `currency`. `unreadable` says why its figures cannot be read; they count as 0 then.
    """

    entity: str
    id: str
    token: str
    number: str | None
    due: date | None
    date: date | None
    customer: str | None
    customer_name: str | None
    currency: str
    amount: int
    tax: int | None = None
    void: bool = False
    lines: Mapping[Target, int] = field(default_factory=dict)
    unapplied: int = 0
    rate: Decimal | None = None
    created_at: datetime | None = None
    changed_at: datetime | None = None
    unreadable: str | None = None

    @property
    def target(self) -> Target:
        """Its name among all objects."""
        return (self.entity, self.id)


def of(taken: Taken, home: str) -> dict[Target, There]:
    """Everything that was read and touches receivables."""
    found: dict[Target, There] = {}
    for entity in _SIGNS:
        for raw in taken.objects.get(entity, {}).values():
            one = parse(entity, raw, home)
            found[one.target] = one
    for raw in taken.objects.get("JournalEntry", {}).values():
        for one in _entries(raw, taken.receivables, home):
            found[one.target] = one
    return found


def parse(entity: str, raw: Raw, home: str) -> There:
    """One invoice, credit memo or payment."""
    currency = reference(raw.get("CurrencyRef")) or home
    named = _named(entity, raw, currency)
    try:
        total = _minor(raw.get("TotalAmt"), currency)
        lines = _lines(raw, currency) if entity == "Payment" else {}
        unapplied = _minor(raw.get("UnappliedAmt"), currency)
        tax = (raw.get("TxnTaxDetail") or {}).get("TotalTax")
        return There(
            **named,
            amount=_SIGNS[entity] * total,
            tax=_SIGNS[entity] * _minor(tax, currency) if tax is not None and entity != "Payment" else None,
            void=is_void(raw),
            lines=lines,
            unapplied=unapplied,
        )
    except (ValueError, TypeError, AttributeError, InvalidOperation) as error:
        return There(**named, amount=0, unreadable=str(error) or type(error).__name__)


def balances(taken: Taken, home: str) -> dict[str, tuple[str, int]]:
    """What every customer of the home currency owes by QuickBooks' own word, with the name, by id."""
    found = {}
    for id_, raw in taken.objects.get("Customer", {}).items():
        if (reference(raw.get("CurrencyRef")) or home) == home:
            found[id_] = (str(raw.get("DisplayName") or ""), _minor(raw.get("Balance"), home))
    return found


def parents(taken: Taken) -> dict[str, str]:
    """The customer above each sub-customer."""
    above = ((id_, reference(raw.get("ParentRef"))) for id_, raw in taken.objects.get("Customer", {}).items())
    return {id_: parent for id_, parent in above if parent}


def _entries(raw: Raw, accounts: Collection[str], home: str) -> Iterator[There]:
    """What a journal entry does to receivables, one part a customer; nothing when it leaves them alone."""
    currency = reference(raw.get("CurrencyRef")) or home
    parts: dict[str, int] = {}
    for line in raw.get("Line") or ():
        detail = line.get("JournalEntryLineDetail") or {}
        if reference(detail.get("AccountRef")) not in accounts:
            continue
        customer = reference((detail.get("Entity") or {}).get("EntityRef")) or ""
        amount = _minor(line.get("Amount"), currency)
        parts[customer] = parts.get(customer, 0) + (
            amount if detail.get("PostingType") == "Debit" else -amount
        )
    for number, (customer, amount) in enumerate(parts.items()):
        named = _named("JournalEntry", raw, currency)
        if number:
            named["id"] = f"{named['id']}:{customer}"
        yield There(**{**named, "customer": customer or None}, amount=amount)


def _named(entity: str, raw: Raw, currency: str) -> dict[str, Any]:
    meta = raw.get("MetaData") if isinstance(raw.get("MetaData"), Mapping) else {}
    customer = raw.get("CustomerRef")
    rate = raw.get("ExchangeRate")
    return {
        "entity": entity,
        "id": str(raw["Id"]),
        "token": str(raw.get("SyncToken", "")),
        "number": raw.get("DocNumber") or raw.get("PaymentRefNum") or None,
        "date": _day(raw.get("TxnDate")),
        "due": _day(raw.get("DueDate")),
        "customer": reference(customer),
        "customer_name": customer.get("name") if isinstance(customer, Mapping) else None,
        "currency": currency,
        "rate": Decimal(str(rate)) if rate is not None else None,
        "created_at": instant((meta or {}).get("CreateTime")),
        "changed_at": instant((meta or {}).get("LastUpdatedTime")),
    }


def _lines(raw: Raw, currency: str) -> dict[Target, int]:
    amounts: dict[Target, int] = {}
    for line in raw.get("Line") or ():
        for linked in line.get("LinkedTxn") or ():
            target = (str(linked["TxnType"]), str(linked["TxnId"]))
            amounts[target] = amounts.get(target, 0) + _minor(line.get("Amount"), currency)
    return amounts


def _minor(amount: Any, currency: str) -> int:
    return to_minor(Decimal(str(amount or 0)), currency)


def _day(written: Any) -> date | None:
    try:
        return date.fromisoformat(str(written))
    except ValueError:
        return None
