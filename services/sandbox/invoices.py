"""Invoices: due date, balance, void and delete."""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from decimal import Decimal

from services.sandbox import creditmemos, faults, payments, sales
from services.sandbox.amounts import ZERO
from services.sandbox.fields import Obj
from services.sandbox.links import applied_by, payments_on, with_balance
from services.sandbox.references import guard_period, resolve
from services.sandbox.store import Unit


def save(unit: Unit, invoice: Obj, old: Obj | None, *, allow_duplicate: bool = False) -> Obj:
    """Create or change an invoice; one that shrinks below what is paid pushes the surplus off its payments."""
    sales.compose(unit, "Invoice", invoice, old, allow_duplicate=allow_duplicate)
    guard_period(unit, invoice["TxnDate"], old["TxnDate"] if old else None)
    term = resolve(unit, invoice, "SalesTermRef", "Term")
    if "DueDate" not in invoice:
        invoice["DueDate"] = due_date(invoice["TxnDate"], term)
    for name in (
        "AllowIPNPayment",
        "AllowOnlinePayment",
        "AllowOnlineCreditCardPayment",
        "AllowOnlineACHPayment",
    ):
        invoice.setdefault(name, False)
    if old is None:
        invoice["Id"] = unit.company.next_id("Invoice")
        invoice["LinkedTxn"] = []
        unit.put("Invoice", with_balance(unit, invoice, invoice["TotalAmt"]))
        creditmemos.auto_apply(unit, invoice["CustomerRef"]["value"])
    else:
        paid = old["TotalAmt"] - old["Balance"]
        if paid and invoice["CustomerRef"]["value"] != old["CustomerRef"]["value"]:
            raise faults.business(
                "The customer of a paid transaction cannot be changed.", element="CustomerRef"
            )
        surplus = max(ZERO, paid - invoice["TotalAmt"])
        unit.put("Invoice", with_balance(unit, invoice, invoice["TotalAmt"] - paid + surplus))
        if surplus:
            _push_off(unit, invoice["Id"], surplus)
            _relink(unit, invoice["Id"])
    return unit.get("Invoice", invoice["Id"]) or invoice


def delete(unit: Unit, invoice: Obj) -> None:
    """Delete for good; payments on it stay, unapplied."""
    guard_period(unit, invoice["TxnDate"])
    _push_off(unit, invoice["Id"], invoice["TotalAmt"] - invoice["Balance"])
    unit.drop("Invoice", invoice["Id"])


def void(unit: Unit, invoice: Obj) -> Obj:
    """Void: lines and totals at zero, the memo says so; payments on it stay, unapplied."""
    guard_period(unit, invoice["TxnDate"])
    _push_off(unit, invoice["Id"], invoice["TotalAmt"] - invoice["Balance"])
    emptied = sales.emptied(invoice)
    emptied["LinkedTxn"] = []
    return unit.put("Invoice", with_balance(unit, emptied, ZERO), "Void")


def due_date(txn_date: str, term: Obj | None) -> str:
    """The due date by term: a number of days, or a day of the month; without a term the document's own date."""
    start = date.fromisoformat(txn_date)
    if term is None:
        return txn_date
    if term["Type"] == "DATE_DRIVEN":
        wanted = int(term["DayOfMonthDue"])
        due = _in_month(start.year, start.month, wanted)
        if due <= start or (due - start).days <= int(term.get("DueNextMonthDays", 0)):
            due = _in_month(start.year + start.month // 12, start.month % 12 + 1, wanted)
        return due.isoformat()
    return (start + timedelta(days=int(term["DueDays"]))).isoformat()


def _in_month(year: int, month: int, wanted: int) -> date:
    return date(year, month, min(wanted, calendar.monthrange(year, month)[1]))


def _push_off(unit: Unit, key: str, amount: Decimal) -> None:
    """Take what was paid off the invoice's payments, the newest first."""
    target = ("Invoice", key)
    for payment in list(payments_on(unit, target)):
        cut = min(amount, applied_by(payment)[target])
        if cut:
            payments.take_off(unit, payment, target, cut)
            amount -= cut


def _relink(unit: Unit, key: str) -> None:
    invoice = unit.get("Invoice", key)
    assert invoice is not None
    linked = {payment["Id"] for payment in payments_on(unit, ("Invoice", key))}
    links = [row for row in invoice["LinkedTxn"] if row["TxnType"] != "Payment" or row["TxnId"] in linked]
    unit.put("Invoice", {**invoice, "LinkedTxn": links})
