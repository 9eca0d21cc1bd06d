"""Credit memos: what remains of them, and credits that QuickBooks applies by itself."""

from __future__ import annotations

from services.sandbox import faults, payments, sales
from services.sandbox.amounts import ZERO
from services.sandbox.clock import today
from services.sandbox.fields import Obj
from services.sandbox.links import payments_on
from services.sandbox.references import guard_period, resolve
from services.sandbox.store import Unit

AUTO_NOTE = "Created by QB Online to link credits to charges."


def save(unit: Unit, memo: Obj, old: Obj | None, *, allow_duplicate: bool = False) -> Obj:
    """Create or change a credit memo; it cannot shrink below what has been used of it."""
    sales.compose(unit, "CreditMemo", memo, old, allow_duplicate=allow_duplicate)
    guard_period(unit, memo["TxnDate"], old["TxnDate"] if old else None)
    resolve(unit, memo, "SalesTermRef", "Term")
    resolve(unit, memo, "PaymentMethodRef", "PaymentMethod")
    used = old["TotalAmt"] - old["RemainingCredit"] if old else ZERO
    if used > memo["TotalAmt"]:
        raise faults.business("The credit memo is applied for more than its new total.", element="TotalAmt")
    if old is not None and used and memo["CustomerRef"]["value"] != old["CustomerRef"]["value"]:
        raise faults.business(
            "The customer of an applied credit memo cannot be changed.", element="CustomerRef"
        )
    memo["RemainingCredit"] = memo["Balance"] = memo["TotalAmt"] - used
    if old is None:
        memo["Id"] = unit.company.next_id("CreditMemo")
    unit.put("CreditMemo", memo)
    if old is None:
        auto_apply(unit, memo["CustomerRef"]["value"])
    return unit.get("CreditMemo", memo["Id"]) or memo


def delete(unit: Unit, memo: Obj) -> None:
    """Delete, unless something of it is applied."""
    guard_period(unit, memo["TxnDate"])
    if any(payments_on(unit, ("CreditMemo", memo["Id"]))):
        raise faults.Refusal(
            "800",
            "Cannot delete: other transactions depend on it",
            "The credit memo is applied to invoices; remove the application first.",
        )
    unit.drop("CreditMemo", memo["Id"])


def void(unit: Unit, memo: Obj) -> Obj:
    """Void, in the browser only; what was applied is taken off the invoices."""
    guard_period(unit, memo["TxnDate"])
    for payment in list(payments_on(unit, ("CreditMemo", memo["Id"]))):
        payments.drop_credit(unit, payment, memo["Id"])
    emptied = sales.emptied(unit.get("CreditMemo", memo["Id"]) or memo)
    emptied["RemainingCredit"] = emptied["Balance"] = ZERO
    return unit.put("CreditMemo", emptied, "Void")


def auto_apply(unit: Unit, customer: str) -> None:
    """Preference 'automatically apply credits': open credit memos settle open invoices, the oldest first."""
    if not unit.company.preference("SalesFormsPrefs", "AutoApplyCredit"):
        return
    for memo in _open_memos(unit, customer):
        for invoice in payments.open_invoices(unit, customer):
            remaining = (unit.get("CreditMemo", memo["Id"]) or memo)["RemainingCredit"]
            amount = min(remaining, invoice["Balance"])
            if amount <= 0:
                break
            application: Obj = {
                "CustomerRef": {"value": customer},
                "CurrencyRef": {"value": invoice["CurrencyRef"]["value"]},
                "TotalAmt": ZERO,
                "TxnDate": today(unit.at),
                "PrivateNote": AUTO_NOTE,
                "Line": [
                    {"Amount": amount, "LinkedTxn": [{"TxnId": invoice["Id"], "TxnType": "Invoice"}]},
                    {"Amount": amount, "LinkedTxn": [{"TxnId": memo["Id"], "TxnType": "CreditMemo"}]},
                ],
            }
            payments.save(unit, application, None)


def _open_memos(unit: Unit, customer: str) -> list[Obj]:
    rows = [row for row in unit.of_customer("CreditMemo", customer) if row["RemainingCredit"] > 0]
    return sorted(rows, key=lambda row: (row["TxnDate"], int(row["Id"])))
