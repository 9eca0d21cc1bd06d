"""Refund receipts: money given back, nothing on Accounts Receivable."""

from __future__ import annotations

from services.sandbox import faults, sales
from services.sandbox.amounts import ZERO
from services.sandbox.fields import Obj
from services.sandbox.references import guard_period, resolve
from services.sandbox.store import Unit


def save(unit: Unit, refund: Obj, old: Obj | None, *, allow_duplicate: bool = False) -> Obj:
    """Create or change a refund receipt; it names the account the money leaves."""
    sales.compose(unit, "RefundReceipt", refund, old, allow_duplicate=allow_duplicate)
    guard_period(unit, refund["TxnDate"], old["TxnDate"] if old else None)
    if "DepositToAccountRef" not in refund:
        raise faults.required("DepositToAccountRef")
    resolve(unit, refund, "DepositToAccountRef", "Account")
    resolve(unit, refund, "PaymentMethodRef", "PaymentMethod")
    refund["Balance"] = ZERO
    if old is None:
        refund["Id"] = unit.company.next_id("RefundReceipt")
    return unit.put("RefundReceipt", refund)


def delete(unit: Unit, refund: Obj) -> None:
    """Delete for good."""
    guard_period(unit, refund["TxnDate"])
    unit.drop("RefundReceipt", refund["Id"])


def void(unit: Unit, refund: Obj) -> Obj:
    """Void, in the browser only."""
    guard_period(unit, refund["TxnDate"])
    return unit.put("RefundReceipt", sales.emptied(refund), "Void")
