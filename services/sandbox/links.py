"""What payments and credits have settled: open amounts of invoices, credit memos and journal entries."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from services.sandbox import faults
from services.sandbox.amounts import ZERO, cents
from services.sandbox.fields import Obj
from services.sandbox.store import Unit

Target = tuple[str, str]  # (TxnType, TxnId)
LINKABLE = ("Invoice", "CreditMemo", "JournalEntry", "Expense")


def entity_of(kind: str) -> str:
    """The entity behind a TxnType: an expense is a Purchase."""
    return "Purchase" if kind == "Expense" else kind


def payments_on(unit: Unit, target: Target) -> Iterator[Obj]:
    """The payments with a line on `target`, newest first."""
    kind, key = target
    if kind == "Invoice":
        invoice = unit.get(kind, key)
        keys = [link["TxnId"] for link in invoice["LinkedTxn"]] if invoice else []
    else:
        keys = [payment["Id"] for payment in reversed(list(unit.company.all("Payment")))]
    for payment_id in keys:
        current = unit.get("Payment", payment_id)
        if current is not None and target in applied_by(current):
            yield current


def applied_by(payment: Obj | None) -> dict[Target, Decimal]:
    """What a payment puts on each document it settles."""
    amounts: dict[Target, Decimal] = {}
    if payment is not None:
        for line in payment["Line"]:
            link = line["LinkedTxn"][0]
            key = (link["TxnType"], link["TxnId"])
            amounts[key] = amounts.get(key, ZERO) + line["Amount"]
    return amounts


def is_credit(unit: Unit, target: Target, customer: str) -> bool:
    """Whether the target gives money (a credit memo, a journal entry that credits the customer) or takes it."""
    kind, key = target
    if kind == "JournalEntry":
        return journal_amount(unit, key, customer) < 0
    return kind == "CreditMemo"


def journal_amount(unit: Unit, key: str, customer: str) -> Decimal:
    """What a journal entry posts to the customer's receivables: positive is owed by the customer."""
    entry = unit.get("JournalEntry", key)
    total = ZERO
    for line in entry["Line"] if entry else ():
        detail = line["JournalEntryLineDetail"]
        named = detail.get("Entity", {}).get("EntityRef", {}).get("value") == customer
        if named and unit.company.on_receivables(line):
            total += line["Amount"] if detail["PostingType"] == "Debit" else -line["Amount"]
    return total


def open_amount(unit: Unit, target: Target, document: Obj, customer: str) -> Decimal:
    """What is still open on a document, always positive."""
    kind, key = target
    if kind == "Invoice":
        balance: Decimal = document["Balance"]
        return balance
    if kind == "CreditMemo":
        remaining: Decimal = document["RemainingCredit"]
        return remaining
    total = document["TotalAmt"] if kind == "Expense" else abs(journal_amount(unit, key, customer))
    settled = (
        applied_by(payment)[target]
        for payment in payments_on(unit, target)
        if owner_of(unit, document, payment["CustomerRef"]["value"]) == customer
    )
    return total - sum(settled, ZERO)


def owner_of(unit: Unit, document: Obj, payer: str) -> str:
    """The customer of a document; a journal entry counts as the payer's when it names the payer on receivables."""
    if "CustomerRef" in document:
        return str(document["CustomerRef"]["value"])
    if "EntityRef" in document:
        return str(document["EntityRef"]["value"])
    named = [
        line["JournalEntryLineDetail"]["Entity"]["EntityRef"]["value"]
        for line in document["Line"]
        if unit.company.on_receivables(line)
    ]
    if payer in named:
        return payer
    return str(named[0]) if named else ""


def settle(unit: Unit, target: Target, payment: str, delta: Decimal, *, linked: bool) -> None:
    """Move `delta` onto a document (negative: take it off) and note whether `payment` is still linked to it."""
    kind, key = target
    document = unit.get(entity_of(kind), key)
    if document is None:
        raise faults.not_found(kind, key)
    if kind in ("JournalEntry", "Expense"):
        return
    if kind == "CreditMemo":
        remaining = document["RemainingCredit"] - delta
        unit.put(kind, {**document, "RemainingCredit": remaining, "Balance": remaining})
        return
    links = [row for row in document["LinkedTxn"] if (row["TxnType"], row["TxnId"]) != ("Payment", payment)]
    if linked:
        links.insert(0, {"TxnId": payment, "TxnType": "Payment"})
    unit.put(kind, with_balance(unit, {**document, "LinkedTxn": links}, document["Balance"] - delta))


def with_balance(unit: Unit, invoice: Obj, balance: Decimal) -> Obj:
    """The invoice with another balance, the home balance with it."""
    invoice["Balance"] = balance
    if unit.company.multicurrency:
        invoice["HomeBalance"] = cents(balance * invoice["ExchangeRate"])
    return invoice
