"""Items, accounts, terms, classes, departments and payment methods: named rows, unique within their list."""

from __future__ import annotations

from decimal import Decimal

from services.sandbox import faults
from services.sandbox.amounts import ZERO
from services.sandbox.fields import Obj
from services.sandbox.references import home_or_foreign, rename, resolve
from services.sandbox.store import DELETED, RECEIVABLE, Unit, folded
from services.sandbox.trees import children, full_name, parent_of

TREES = ("Item", "Account", "Class", "Department")
INCOME_TYPES = ("Service", "NonInventory", "Inventory")
_CLASSIFICATION = {
    "Bank": "Asset",
    "Accounts Receivable": "Asset",
    "Other Current Asset": "Asset",
    "Fixed Asset": "Asset",
    "Other Asset": "Asset",
    "Accounts Payable": "Liability",
    "Credit Card": "Liability",
    "Other Current Liability": "Liability",
    "Long Term Liability": "Liability",
    "Equity": "Equity",
    "Income": "Revenue",
    "Other Income": "Revenue",
}


def save(unit: Unit, entity: str, row: Obj, old: Obj | None) -> Obj:
    """Create or change a row of a list."""
    name = row.get("Name", "").strip()
    if not name:
        raise faults.required("Name")
    if ":" in name:
        raise faults.invalid_string("Name", "a colon cannot stand in a name")
    row["Name"] = name
    row.setdefault("Active", True)
    if entity in TREES:
        row["FullyQualifiedName"] = full_name(parent_of(unit, entity, row), name)
    full = row.get("FullyQualifiedName", name)
    holder = unit.company.list_names.get((entity, folded(full)))
    if holder is not None and (old is None or holder != old["Id"]):
        raise faults.Refusal(
            "6240", "Duplicate Name Exists Error", f"The name supplied already exists. : Id={holder}"
        )
    _complete(unit, entity, row, old)
    if old is None:
        row["Id"] = unit.company.next_id(entity)
    elif entity == "Account" and old["Active"] and not row["Active"]:
        row["Name"] += DELETED  # seen live: an inactive account's name carries the word
        row["FullyQualifiedName"] += DELETED
    unit.put(entity, row)
    if old is not None and (old.get("FullyQualifiedName") or old["Name"]) != (
        row.get("FullyQualifiedName") or row["Name"]
    ):
        _spread_name(unit, entity, row)
    return row


def _spread_name(unit: Unit, entity: str, row: Obj) -> None:
    """A new name or place shows in references, and in the names of the rows below."""
    rename(unit, entity, row)
    if entity not in TREES:
        return
    above = {"value": row["Id"], "name": row["FullyQualifiedName"]}
    for child in children(unit.company, entity, row["Id"]):
        renamed = {**child, "ParentRef": above, "FullyQualifiedName": full_name(row, child["Name"])}
        unit.relabel(entity, renamed)
        _spread_name(unit, entity, renamed)


def _complete(unit: Unit, entity: str, row: Obj, old: Obj | None) -> None:
    company = unit.company
    if entity == "Item":
        row.setdefault("Type", "NonInventory")
        if row["Type"] in ("Inventory", "Group"):
            raise faults.NotModelled(f"writing items of type {row['Type']}")
        if row["Type"] in INCOME_TYPES and "IncomeAccountRef" not in row:
            raise faults.required("IncomeAccountRef")
        resolve(unit, row, "IncomeAccountRef", "Account")
        resolve(unit, row, "ExpenseAccountRef", "Account")
        row.setdefault("UnitPrice", ZERO)
        row.setdefault("Taxable", False)
    elif entity == "Account":
        if "AccountType" not in row:
            raise faults.required("AccountType")
        before = old["AccountType"] if old else row["AccountType"]
        if before != row["AccountType"] and RECEIVABLE in (before, row["AccountType"]):
            raise faults.NotModelled(f"changing an account's type from {before} to {row['AccountType']}")
        row["Classification"] = _CLASSIFICATION.get(row["AccountType"], "Expense")
        code = row.get("CurrencyRef", {}).get("value", company.currency)
        row["CurrencyRef"] = home_or_foreign(company, code)
        row.setdefault("CurrentBalance", ZERO)
    elif entity == "Term":
        _term(row)
    elif entity == "PaymentMethod":
        row.setdefault("Type", "NON_CREDIT_CARD")


def _term(row: Obj) -> None:
    if "DueDays" in row:
        row["Type"] = "STANDARD"
        if not _whole(row["DueDays"], 0, 999):
            raise faults.invalid_number("DueDays", row["DueDays"])
    elif "DayOfMonthDue" in row:
        row["Type"] = "DATE_DRIVEN"
        if not _whole(row["DayOfMonthDue"], 1, 31):
            raise faults.invalid_number("DayOfMonthDue", row["DayOfMonthDue"])
    else:
        raise faults.required("DueDays")


def _whole(value: Decimal, least: int, most: int) -> bool:
    return least <= value <= most and value == int(value)
