"""The bookkeeper at the browser: what people do in QuickBooks while an integration is running."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.sandbox import books, customers, faults
from services.sandbox.amounts import ZERO, cents
from services.sandbox.clock import today
from services.sandbox.entities import ENTITIES, Entity
from services.sandbox.fields import Obj
from services.sandbox.store import BOOKKEEPER, Company, Unit

Allocation = dict[str, Decimal]  # transaction id -> amount


def create(company: Company, entity: str, body: Obj) -> Obj:
    """Enter something new, with the fields of the API."""
    unit = Unit(company, BOOKKEEPER)
    row = books.save(unit, _entity(entity), body)
    unit.commit()
    return row


def edit(company: Company, entity: str, key: str, changes: Obj) -> Obj:
    """Change fields of an object as it stands now (a sparse update)."""
    unit = Unit(company, BOOKKEEPER)
    body = {**changes, "Id": key, "SyncToken": _now(company, entity, key)["SyncToken"], "sparse": True}
    row = books.save(unit, _entity(entity), body)
    unit.commit()
    return row


def void(company: Company, entity: str, key: str) -> Obj:
    """Void a transaction; in the browser credit memos and refund receipts can be voided too."""
    unit = Unit(company, BOOKKEEPER)
    row = books.void(unit, _entity(entity), _now(company, entity, key))
    unit.commit()
    return row


def delete(company: Company, entity: str, key: str) -> Obj:
    """Delete a transaction."""
    unit = Unit(company, BOOKKEEPER)
    row = books.delete(unit, _entity(entity), _now(company, entity, key))
    unit.commit()
    return row


def receive_payment(
    company: Company,
    customer: str,
    amount: Decimal,
    invoices: Allocation,
    credits_: Allocation,
    **fields: Any,
) -> Obj:
    """Record money received, tied to invoices and using up credit memos."""
    allocations = [("Invoice", invoices), ("CreditMemo", credits_)]
    lines = [
        {"Amount": value, "LinkedTxn": [{"TxnId": key, "TxnType": kind}]}
        for kind, rows in allocations
        for key, value in rows.items()
    ]
    currency = _now(company, "Customer", customer)["CurrencyRef"]["value"]
    body = {
        "CustomerRef": {"value": customer},
        "CurrencyRef": {"value": currency},
        "TotalAmt": amount,
        "Line": lines,
        **fields,
    }
    return create(company, "Payment", body)


def apply_credit(company: Company, memo: str, invoice: str, amount: Decimal) -> Obj:
    """Tie a credit memo to an invoice: a payment of zero."""
    customer = _now(company, "Invoice", invoice)["CustomerRef"]["value"]
    return receive_payment(company, customer, ZERO, {invoice: amount}, {memo: amount})


def make_deposit(company: Company, payments: list[str], account: str) -> Obj:
    """Put payments on a bank deposit: from then on they cannot be changed (6540)."""
    unit = Unit(company, BOOKKEEPER)
    if unit.get("Account", account) is None:
        raise faults.invalid_reference("Accounts", account, "DepositToAccountRef")
    key = company.next_id("Deposit")
    total = ZERO
    lines = []
    for payment_id in payments:
        payment = _now(company, "Payment", payment_id)
        if payment["LinkedTxn"]:
            raise faults.business(f"Payment {payment_id} is already deposited.")
        total += payment["TotalAmt"]
        lines.append(
            {"Amount": payment["TotalAmt"], "LinkedTxn": [{"TxnId": payment_id, "TxnType": "Payment"}]}
        )
        unit.put("Payment", {**payment, "LinkedTxn": [{"TxnId": key, "TxnType": "Deposit"}]})
    deposit: Obj = {
        "Id": key,
        "TxnDate": today(unit.at),
        "DepositToAccountRef": {"value": account},
        "TotalAmt": cents(total),
        "Line": lines,
    }
    unit.put("Deposit", deposit)
    unit.commit()
    return deposit


def undo_deposit(company: Company, key: str) -> None:
    """Delete a deposit: its payments can be changed again."""
    unit = Unit(company, BOOKKEEPER)
    for line in _now(company, "Deposit", key)["Line"]:
        payment = unit.get("Payment", line["LinkedTxn"][0]["TxnId"])
        if payment is not None:
            unit.put("Payment", {**payment, "LinkedTxn": []})
    unit.drop("Deposit", key)
    unit.commit()


def merge_customers(company: Company, loser: str, survivor: str) -> Obj:
    """Merge two customers: the loser's id is gone."""
    unit = Unit(company, BOOKKEEPER)
    customers.merge(unit, _now(company, "Customer", loser), _now(company, "Customer", survivor))
    unit.commit()
    return _now(company, "Customer", survivor)


def set_preferences(company: Company, areas: dict[str, dict[str, Any]]) -> Obj:
    """Change preferences; an unknown area is a `ValueError`. A value of None removes the preference."""
    current = company.preferences
    for area in areas:
        if area not in current:
            raise ValueError(f"unknown preference area {area!r}; known: {', '.join(current)}")
    unit = Unit(company, BOOKKEEPER)
    changed = dict(current)
    for area, values in areas.items():
        merged = {**current[area], **values}
        changed[area] = {name: value for name, value in merged.items() if value is not None}
    unit.put("Preferences", changed)
    unit.commit()
    return changed


def close_books(company: Company, through: str | None) -> Obj:
    """Close the books through a date (None: open them)."""
    return set_preferences(company, {"AccountingInfoPrefs": {"BookCloseDate": through}})


def _entity(name: str) -> Entity:
    if name not in ENTITIES:
        raise ValueError(f"unknown entity {name!r}; known: {', '.join(ENTITIES)}")
    return ENTITIES[name]


def _now(company: Company, entity: str, key: str) -> Obj:
    row = company.find(_entity(entity).name, key)
    if row is None:
        raise faults.not_found(entity, key)
    return row
