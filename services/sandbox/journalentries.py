"""Journal entries, as far as Accounts Receivable goes: balanced, and receivables name a customer."""

from __future__ import annotations

from decimal import Decimal

from services.sandbox import faults
from services.sandbox.amounts import ZERO
from services.sandbox.clock import today
from services.sandbox.fields import Obj
from services.sandbox.links import payments_on
from services.sandbox.references import CURRENCY_NAMES, guard_period, resolve
from services.sandbox.store import RECEIVABLE, Unit


def save(unit: Unit, entry: Obj, old: Obj | None) -> Obj:
    """Create or change an entry; one with payments on it cannot be changed here."""
    company = unit.company
    if not entry.get("Line"):
        raise faults.required("Line")
    entry.setdefault("TxnDate", today(unit.at))
    guard_period(unit, entry["TxnDate"], old["TxnDate"] if old else None)
    if old is not None:
        _guard_links(unit, old)
    if entry.get("CurrencyRef", {}).get("value", company.currency) != company.currency:
        raise faults.NotModelled("journal entries in a foreign currency")
    entry["CurrencyRef"] = {"value": company.currency, "name": CURRENCY_NAMES[company.currency]}
    debits, credits_ = ZERO, ZERO
    for row, line in enumerate(entry["Line"]):
        amount = _line(unit, line, row)
        if line["JournalEntryLineDetail"]["PostingType"] == "Debit":
            debits += amount
        else:
            credits_ += amount
    if debits != credits_:
        raise faults.business(f"Debits {debits} and credits {credits_} must be equal.", element="Line")
    entry["TotalAmt"] = debits
    entry.setdefault("Adjustment", False)
    if old is None:
        entry["Id"] = company.next_id("JournalEntry")
    return unit.put("JournalEntry", entry)


def delete(unit: Unit, entry: Obj) -> None:
    """Delete, unless a payment is linked to it."""
    guard_period(unit, entry["TxnDate"])
    _guard_links(unit, entry)
    unit.drop("JournalEntry", entry["Id"])


def _line(unit: Unit, line: Obj, row: int) -> Decimal:
    for name in ("Amount", "DetailType", "JournalEntryLineDetail"):
        if name not in line:
            raise faults.required(f"Line.{name}")
    detail = line["JournalEntryLineDetail"]
    for name in ("PostingType", "AccountRef"):
        if name not in detail:
            raise faults.required(name)
    account = resolve(unit, detail, "AccountRef", "Account")
    assert account is not None
    if "Entity" in detail:
        if "EntityRef" not in detail["Entity"]:
            raise faults.required("Entity.EntityRef")
        resolve(unit, detail["Entity"], "EntityRef", "Customer")
    elif account["AccountType"] == RECEIVABLE:
        raise faults.business(
            "When you use Accounts Receivable, you must choose a customer in the Name field."
        )
    line["Id"] = str(row)
    amount: Decimal = line["Amount"]
    if amount < 0:
        raise faults.Refusal("2290", "Negative Amount", "Line.Amount must be 0 or greater.", "Amount")
    return amount


def _guard_links(unit: Unit, entry: Obj) -> None:
    if any(payments_on(unit, ("JournalEntry", entry["Id"]))):
        raise faults.NotModelled("changing a journal entry that payments are linked to")
