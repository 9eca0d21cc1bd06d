"""Expenses, as far as Accounts Receivable goes: money that went back to a customer, and a payment settles.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/purchase
"""

from __future__ import annotations

from services.sandbox import faults
from services.sandbox.amounts import ZERO
from services.sandbox.clock import today
from services.sandbox.fields import Obj
from services.sandbox.links import payments_on
from services.sandbox.references import currency, guard_period, resolve
from services.sandbox.store import RECEIVABLE, Unit

PAID_FROM = ("Bank", "Credit Card", "Other Current Asset")


def save(unit: Unit, purchase: Obj, old: Obj | None) -> Obj:
    """Create or change an expense; one with payments on it cannot be changed here."""
    for name in ("PaymentType", "AccountRef", "Line"):
        if not purchase.get(name):
            raise faults.required(name)
    purchase.setdefault("TxnDate", today(unit.at))
    guard_period(unit, purchase["TxnDate"], old["TxnDate"] if old else None)
    if old is not None:
        _guard_links(unit, old)
    paid_from = resolve(unit, purchase, "AccountRef", "Account")
    assert paid_from is not None
    if paid_from["AccountType"] not in PAID_FROM:
        raise faults.business("Select a bank or credit card account.", element="AccountRef")
    if "EntityRef" not in purchase:
        raise faults.NotModelled("an expense without a payee")
    customer = resolve(unit, purchase, "EntityRef", "Customer")
    assert customer is not None
    purchase["EntityRef"]["type"] = "Customer"
    currency(unit, purchase, customer)
    total = ZERO
    for row, line in enumerate(purchase["Line"], start=1):
        for name in ("Amount", "DetailType", "AccountBasedExpenseLineDetail"):
            if name not in line:
                raise faults.required(f"Line.{name}")
        detail = line["AccountBasedExpenseLineDetail"]
        if "AccountRef" not in detail:
            raise faults.required("AccountRef")
        account = resolve(unit, detail, "AccountRef", "Account")
        assert account is not None
        if account["AccountType"] != RECEIVABLE:
            raise faults.NotModelled("an expense on another account than Accounts Receivable")
        if line["Amount"] <= 0:
            raise faults.Refusal("2290", "Negative Amount", "Line.Amount must be greater than 0.", "Amount")
        line["Id"] = str(row)
        total += line["Amount"]
    purchase["TotalAmt"] = total
    if old is None:
        purchase["Id"] = unit.company.next_id("Purchase")
    return unit.put("Purchase", purchase)


def delete(unit: Unit, purchase: Obj) -> None:
    """Delete, unless a payment is linked to it."""
    guard_period(unit, purchase["TxnDate"])
    _guard_links(unit, purchase)
    unit.drop("Purchase", purchase["Id"])


def _guard_links(unit: Unit, purchase: Obj) -> None:
    if any(payments_on(unit, ("Expense", purchase["Id"]))):
        raise faults.NotModelled("changing an expense that payments are linked to")
