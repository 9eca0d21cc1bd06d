"""References from one object to another: they must exist (2500), be active (610) and carry the current name."""

from __future__ import annotations

from typing import Any

from services.sandbox import faults
from services.sandbox.amounts import ONE
from services.sandbox.entities import ENTITIES
from services.sandbox.fields import Obj
from services.sandbox.store import Company, Unit

_ELEMENTS = {
    "Item": ("ItemRef",),
    "Account": (
        "AccountRef",
        "DepositToAccountRef",
        "DiscountAccountRef",
        "ExpenseAccountRef",
        "IncomeAccountRef",
        "ItemAccountRef",
    ),
    "Class": ("ClassRef",),
    "Department": ("DepartmentRef",),
    "Term": ("SalesTermRef",),
    "PaymentMethod": ("PaymentMethodRef",),
}
_WORDS = {"Customer": "Names", "Account": "Accounts"}


def resolve(unit: Unit, holder: Obj, element: str, entity: str, *, named: bool = True) -> Obj | None:
    """The object that `holder[element]` names, None without a reference; writes its name into the reference."""
    reference = holder.get(element)
    if reference is None:
        return None
    target = unit.get(entity, reference["value"])
    if target is None:
        raise faults.invalid_reference(_WORDS.get(entity, entity), reference["value"], element)
    if target.get("Active") is False:
        raise faults.inactive_reference(unit.company.switches.inactive_reference_code, element)
    if named:
        reference["name"] = target.get("FullyQualifiedName") or target.get("DisplayName") or target["Name"]
    return target


def rename(unit: Unit, entity: str, row: Obj) -> None:
    """Write a row's new name into every reference that shows it; nobody's SyncToken moves."""
    reference = {"value": row["Id"], "name": row.get("FullyQualifiedName") or row["Name"]}
    for holder in (name for name, kind in ENTITIES.items() if kind.kind == "transaction" or name == "Item"):
        for body in unit.company.all(holder):
            shown = unit.get(holder, body["Id"]) or body
            renamed = _renamed(shown, _ELEMENTS[entity], reference)
            if renamed is not shown:
                unit.relabel(holder, renamed)


def _renamed(value: Any, elements: tuple[str, ...], reference: Obj) -> Any:
    """The same value, or a copy in which the named references to `reference` carry its name."""
    if isinstance(value, list):
        rows = [_renamed(row, elements, reference) for row in value]
        return rows if any(new is not old for new, old in zip(rows, value, strict=True)) else value
    if not isinstance(value, dict):
        return value
    changed = {}
    for name, part in value.items():
        if name in elements and "name" in part and part["value"] == reference["value"]:
            changed[name] = reference
        elif (new := _renamed(part, elements, reference)) is not part:
            changed[name] = new
    return {**value, **changed} if changed else value


def currency(unit: Unit, document: Obj, customer: Obj) -> None:
    """One currency a customer for ever; a foreign document needs a multicurrency company and carries its rate."""
    company = unit.company
    given = document.get("CurrencyRef", {}).get("value")
    own = customer.get("CurrencyRef", {}).get("value", company.currency)
    if company.multicurrency:
        if given is None:
            raise faults.required("CurrencyRef")
    elif given not in (None, company.currency):
        raise faults.business(f"Multicurrency is not enabled; {given} cannot be used.", element="CurrencyRef")
    if given not in (None, own):
        raise faults.business(
            f"The transaction's currency {given} is not the customer's currency {own}.", element="CurrencyRef"
        )
    document["CurrencyRef"] = {"value": own, "name": CURRENCY_NAMES[own]}
    if not company.multicurrency:
        document.pop("ExchangeRate", None)
        return
    if own == company.currency:
        document["ExchangeRate"] = ONE
    elif not document.get("ExchangeRate"):
        document["ExchangeRate"] = company.exchange_rates.get(own, ONE)


def home_or_foreign(company: Company, code: str) -> Obj:
    """A `CurrencyRef` that names and accounts of this company may have."""
    if code != company.currency and not company.multicurrency:
        raise faults.business(f"Multicurrency is not enabled; {code} cannot be used.", element="CurrencyRef")
    if code not in CURRENCY_NAMES:
        raise faults.NotModelled(f"the currency {code}")
    return {"value": code, "name": CURRENCY_NAMES[code]}


def guard_period(unit: Unit, *dates: str | None) -> None:
    """Refuse a write whose old or new date lies in a closed period; the browser only warns."""
    company = unit.company
    if unit.browser:
        return
    closed = company.preference("AccountingInfoPrefs", "BookCloseDate")
    if closed and any(date is not None and date <= closed for date in dates):
        raise faults.closed_period(company.switches.closed_period_code, closed)


CURRENCY_NAMES = {
    "USD": "United States Dollar",
    "GBP": "British Pound Sterling",
    "EUR": "Euro",
    "CAD": "Canadian Dollar",
    "AUD": "Australian Dollar",
    "JPY": "Japanese Yen",
}
