"""Payments: money received, and the zero-total payments that tie credits to invoices."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

from services.sandbox import faults
from services.sandbox.amounts import ZERO, cents
from services.sandbox.clock import today
from services.sandbox.fields import Obj
from services.sandbox.links import (
    LINKABLE,
    Target,
    applied_by,
    entity_of,
    is_credit,
    open_amount,
    owner_of,
    settle,
)
from services.sandbox.references import currency, guard_period, resolve
from services.sandbox.sales import voided_note
from services.sandbox.store import Unit
from services.sandbox.trees import ancestors

UNMODELLED_LINKS = ("Check", "CreditCardCredit", "Purchase", "Deposit")
DEPOSITABLE = ("Bank", "Other Current Asset")


def save(unit: Unit, payment: Obj, old: Obj | None) -> Obj:
    """Create or change a payment and the balances of everything it settles."""
    if old is not None:
        _guard_deposit(unit, payment, old)
    for name in ("CustomerRef", "TotalAmt"):
        if name not in payment:
            raise faults.required(name)
    payment.setdefault("TxnDate", today(unit.at))
    guard_period(unit, payment["TxnDate"], old["TxnDate"] if old else None)
    if payment["TotalAmt"] < 0:
        raise faults.Refusal("2290", "Negative Amount", "TotalAmt must be 0 or greater.", "TotalAmt")
    customer = resolve(unit, payment, "CustomerRef", "Customer")
    assert customer is not None
    currency(unit, payment, customer)
    resolve(unit, payment, "PaymentMethodRef", "PaymentMethod", named=False)
    _deposit_account(unit, payment)
    if (
        unit.company.preference("SalesFormsPrefs", "AutoApplyPayments")
        and not payment.get("Line")
        and old is None
    ):
        payment["Line"] = _oldest_first(unit, payment)
    _links(unit, payment, old)
    payment["ProcessPayment"] = False
    payment.setdefault("LinkedTxn", [])
    if unit.company.multicurrency:
        payment["HomeTotalAmt"] = cents(payment["TotalAmt"] * payment["ExchangeRate"])
    return unit.put("Payment", payment)


def delete(unit: Unit, payment: Obj) -> None:
    """Delete: everything it settled is open again."""
    _guard_deposit(unit, {}, payment)
    guard_period(unit, payment["TxnDate"])
    _release(unit, payment)
    unit.drop("Payment", payment["Id"])


def void(unit: Unit, payment: Obj) -> Obj:
    """Void: the payment stays with nothing on it."""
    _guard_deposit(unit, {}, payment)
    guard_period(unit, payment["TxnDate"])
    _release(unit, payment)
    emptied = {
        **payment,
        "TotalAmt": ZERO,
        "UnappliedAmt": ZERO,
        "Line": [],
        "PrivateNote": voided_note(payment),
    }
    if "HomeTotalAmt" in emptied:
        emptied["HomeTotalAmt"] = ZERO
    return unit.put("Payment", emptied, "Void")


def take_off(unit: Unit, payment: Obj, target: Target, amount: Decimal) -> None:
    """Reduce what a payment puts on `target` because the document shrank or went; the rest becomes unapplied."""
    lines, _ = _shortened(payment["Line"], amount, lambda found: found == target)
    surplus = max(ZERO, -_money_used(unit, payment, lines))
    _write_lines(unit, payment, _without_credit(unit, payment, lines, surplus))


def drop_credit(unit: Unit, payment: Obj, memo: str) -> None:
    """Remove a credit memo from a payment, and what is then missing from the documents that it settles."""
    target = ("CreditMemo", memo)
    amount = applied_by(payment)[target]
    settle(unit, target, payment["Id"], -amount, linked=False)
    lines, _ = _shortened(payment["Line"], amount, lambda found: found == target)
    missing = max(ZERO, amount - payment["UnappliedAmt"])
    customer = payment["CustomerRef"]["value"]
    lines, cuts = _shortened(lines, missing, lambda found: not is_credit(unit, found, customer))
    for found, cut in cuts.items():
        settle(unit, found, payment["Id"], -cut, linked=found in applied_by({"Line": lines}))
    _write_lines(unit, payment, lines)


def _without_credit(unit: Unit, payment: Obj, lines: list[Obj], surplus: Decimal) -> list[Obj]:
    """Credits that settle nothing any more go back to where they came from."""
    customer = payment["CustomerRef"]["value"]
    lines, cuts = _shortened(lines, surplus, lambda found: is_credit(unit, found, customer))
    for found, cut in cuts.items():
        settle(unit, found, payment["Id"], -cut, linked=found in applied_by({"Line": lines}))
    return lines


def _shortened(
    lines: list[Obj], amount: Decimal, concerns: Callable[[Target], bool]
) -> tuple[list[Obj], dict[Target, Decimal]]:
    """Take `amount` off the lines that `concerns` selects, the last first; the lines left and what was cut."""
    kept: list[Obj] = []
    cuts: dict[Target, Decimal] = {}
    for line in reversed(lines):
        link = line["LinkedTxn"][0]
        target = (link["TxnType"], link["TxnId"])
        cut = min(amount, line["Amount"]) if amount > 0 and concerns(target) else ZERO
        if cut:
            amount -= cut
            cuts[target] = cuts.get(target, ZERO) + cut
        if cut < line["Amount"]:
            kept.append({**line, "Amount": line["Amount"] - cut} if cut else line)
    return kept[::-1], cuts


def _write_lines(unit: Unit, payment: Obj, lines: list[Obj]) -> None:
    unapplied = payment["TotalAmt"] - _money_used(unit, payment, lines)
    unit.put("Payment", {**payment, "Line": lines, "UnappliedAmt": unapplied})


def _release(unit: Unit, payment: Obj) -> None:
    for target, amount in applied_by(payment).items():
        settle(unit, target, payment["Id"], -amount, linked=False)


def _guard_deposit(unit: Unit, payment: Obj, old: Obj) -> None:
    if not any(link["TxnType"] == "Deposit" for link in old.get("LinkedTxn", ())):
        return
    money = ("TotalAmt", "TxnDate", "DepositToAccountRef", "CustomerRef", "CurrencyRef")
    same = all(_same(payment.get(name), old.get(name)) for name in money)
    if unit.company.switches.deposited_payment == "refuse_all" or not same:
        raise faults.deposited()


def _same(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return bool(one.get("value") == other.get("value"))
    return one == other


def _deposit_account(unit: Unit, payment: Obj) -> None:
    if "DepositToAccountRef" not in payment:
        undeposited = next(
            (x for x in unit.company.all("Account") if x.get("AccountSubType") == "UndepositedFunds"), None
        )
        if undeposited is not None:
            payment["DepositToAccountRef"] = {"value": undeposited["Id"]}
        return
    account = resolve(unit, payment, "DepositToAccountRef", "Account", named=False)
    assert account is not None
    if account["AccountType"] not in DEPOSITABLE:
        raise faults.business("Select a bank or other current asset account.", element="DepositToAccountRef")
    held = account.get("CurrencyRef", {}).get("value", unit.company.currency)
    paid = payment["CurrencyRef"]["value"]
    if held not in (paid, unit.company.currency):
        raise faults.business(
            f"The account holds {held}, the payment is in {paid}.", element="DepositToAccountRef"
        )


def _links(unit: Unit, payment: Obj, old: Obj | None) -> None:
    if old is None and "Id" not in payment:
        payment["Id"] = unit.company.next_id("Payment")
    key, customer = payment["Id"], payment["CustomerRef"]["value"]
    before = applied_by(old)
    kept: list[Obj] = []
    wanted: dict[Target, Decimal] = {}
    for line in payment.get("Line", []):
        target = _target(line)
        document = _document(unit, payment, target)
        total = wanted.get(target, ZERO) + line["Amount"]
        available = open_amount(unit, target, document, owner_of(unit, document, customer)) + before.get(
            target, ZERO
        )
        if total > available:
            if unit.company.switches.over_application == "drop":
                continue
            if available <= 0:
                raise faults.unlinkable(f"{target[0]} {target[1]} has already been paid.")
            raise faults.business(
                f"The amount {total} is more than the open balance {available} of {target[0]} {target[1]}.",
                element="Amount",
            )
        wanted[target] = total
        kept.append(line)
    payment["Line"] = kept
    payment["UnappliedAmt"] = _unapplied(unit, payment)
    if not payment["TotalAmt"] and (not kept or not unit.company.switches.zero_total_payments):
        raise faults.business("The payment amount must be greater than 0.", element="TotalAmt")
    for target in before.keys() | wanted.keys():
        delta = wanted.get(target, ZERO) - before.get(target, ZERO)
        if delta or (target in wanted) != (target in before):
            settle(unit, target, key, delta, linked=target in wanted)


def _target(line: Obj) -> Target:
    if "Amount" not in line:
        raise faults.required("Line.Amount")
    if line["Amount"] <= 0:
        raise faults.Refusal("2290", "Negative Amount", "Line.Amount must be greater than 0.", "Amount")
    linked = line.get("LinkedTxn")
    if not linked:
        raise faults.required("Line.LinkedTxn")
    if len(linked) > 1:
        raise faults.NotModelled("a payment line with several LinkedTxn")
    for name in ("TxnId", "TxnType"):
        if name not in linked[0]:
            raise faults.required(f"LinkedTxn.{name}")
    kind = linked[0]["TxnType"]
    if kind in UNMODELLED_LINKS:
        raise faults.NotModelled(f"a payment linked to {kind}")
    if kind not in LINKABLE:
        raise faults.unlinkable(f"TxnType {kind} cannot be paid.")
    return kind, linked[0]["TxnId"]


def _document(unit: Unit, payment: Obj, target: Target) -> Obj:
    kind, key = target
    document = unit.get(entity_of(kind), key)
    if document is None:
        raise faults.invalid_reference("Transaction", key, "LinkedTxn")
    if document["CurrencyRef"]["value"] != payment["CurrencyRef"]["value"]:
        raise faults.business(f"{kind} {key} is in another currency than the payment.", element="CurrencyRef")
    payer = payment["CustomerRef"]["value"]
    owner = owner_of(unit, document, payer)
    if owner != payer and not _pays_for(unit, payer, owner):
        raise faults.unlinkable(f"{kind} {key} belongs to another customer.")
    return document


def _pays_for(unit: Unit, payer: str, owner: str) -> bool:
    """A parent pays for its sub-customers, unless a sub-customer on the way is billed by itself."""
    company = unit.company
    customer = company.find("Customer", owner)
    if customer is None:
        return False
    chain = [customer, *ancestors(company, "Customer", customer)]
    needs = company.switches.parent_payment_needs_bill_with_parent
    for row, parent in pairwise(chain):
        if needs and not row.get("BillWithParent"):
            return False
        if parent["Id"] == payer:
            return True
    return False


def _unapplied(unit: Unit, payment: Obj) -> Decimal:
    """What is received and not used; refuses to use more money or more credit than there is."""
    used = _money_used(unit, payment, payment["Line"])
    if used < 0:
        raise faults.business("More credit is used than is owed on the selected transactions.")
    total: Decimal = payment["TotalAmt"]
    if used > total:
        raise faults.business("The amount applied is more than the amount received plus the credits used.")
    return total - used


def _money_used(unit: Unit, payment: Obj, lines: list[Obj]) -> Decimal:
    """What the lines settle beyond the credits that they use: the money they need."""
    customer = payment["CustomerRef"]["value"]
    needed = ZERO
    for target, amount in applied_by({"Line": lines}).items():
        needed += -amount if is_credit(unit, target, customer) else amount
    return needed


def _oldest_first(unit: Unit, payment: Obj) -> list[Obj]:
    """Preference 'automatically apply payments': the customer's oldest invoices first."""
    left: Decimal = payment["TotalAmt"]
    lines = []
    for invoice in open_invoices(unit, payment["CustomerRef"]["value"]):
        amount = min(left, invoice["Balance"])
        if amount <= 0:
            break
        left -= amount
        lines.append({"Amount": amount, "LinkedTxn": [{"TxnId": invoice["Id"], "TxnType": "Invoice"}]})
    return lines


def open_invoices(unit: Unit, customer: str) -> list[Obj]:
    """The customer's unpaid invoices, the oldest due date first."""
    rows = [row for row in unit.of_customer("Invoice", customer) if row["Balance"] > 0]
    return sorted(rows, key=lambda row: (row["DueDate"], int(row["Id"])))
