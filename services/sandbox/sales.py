"""What invoices, credit memos and refund receipts have in common: customer, lines, number, tax and totals."""

from __future__ import annotations

from decimal import Decimal

from services.sandbox import faults, taxes
from services.sandbox.amounts import HUNDRED, ZERO, cents
from services.sandbox.clock import today
from services.sandbox.fields import Obj, clone
from services.sandbox.references import currency, resolve
from services.sandbox.store import Company, Unit

MAX_LINES = 10_000
MAX_TAXABLE_LINES = 750
MAX_NOTE = 4000


def compose(unit: Unit, entity: str, document: Obj, old: Obj | None, *, allow_duplicate: bool) -> Obj:
    """Check a merged document and compute everything QuickBooks computes; returns the customer."""
    company = unit.company
    if "CustomerRef" not in document:
        raise faults.required("CustomerRef")
    if "Line" not in document:
        raise faults.required("Line")
    customer = resolve(unit, document, "CustomerRef", "Customer")
    assert customer is not None
    currency(unit, document, customer)
    document.setdefault("TxnDate", today(unit.at))
    _tracking(unit, document)
    if old is None:
        _addresses(document, customer)
    document["Line"], discount = _lines(unit, document, old)
    taxes.default_line_codes(unit, document)
    subtotal = sum((x["Amount"] for x in document["Line"] if x["DetailType"] == "SalesItemLineDetail"), ZERO)
    tax = taxes.compute(unit, document, customer, discount)
    _subtotal_line(document, subtotal)
    total = subtotal - discount + tax
    if total < 0:
        raise faults.business("Transaction amount must be 0 or greater.")
    document["TotalAmt"] = total
    if company.multicurrency:
        document["HomeTotalAmt"] = cents(total * document["ExchangeRate"])
    _number(company, entity, document, old, allow_duplicate=allow_duplicate)
    document.setdefault("CustomField", [])
    document.setdefault("PrintStatus", "NotSet")
    document.setdefault("EmailStatus", "NotSet")
    document.setdefault("ApplyTaxAfterDiscount", False)
    return customer


def _tracking(unit: Unit, document: Obj) -> None:
    company = unit.company
    per_document = company.preference("AccountingInfoPrefs", "ClassTrackingPerTxn")
    per_line = company.preference("AccountingInfoPrefs", "ClassTrackingPerTxnLine")
    holders = [(document, per_document)]
    holders += [
        (line["SalesItemLineDetail"], per_line) for line in document["Line"] if "SalesItemLineDetail" in line
    ]
    for holder, tracked in holders:
        if "ClassRef" in holder:
            _feature(company, "Classes", "ClassRef")
            if tracked:
                resolve(unit, holder, "ClassRef", "Class")
            else:
                del holder["ClassRef"]
    if "DepartmentRef" in document:
        _feature(company, "Locations", "DepartmentRef")
        if company.preference("AccountingInfoPrefs", "TrackDepartments"):
            resolve(unit, document, "DepartmentRef", "Department")
        else:
            del document["DepartmentRef"]


def _feature(company: Company, feature: str, element: str) -> None:
    if company.plan in ("SimpleStart", "Essentials"):
        raise faults.Refusal(
            "5030",
            "Feature Not Supported Error",
            f"Feature Not Supported Error : {feature} need QuickBooks Online Plus or Advanced.",
            element,
        )


def _addresses(document: Obj, customer: Obj) -> None:
    for name in ("BillAddr", "ShipAddr"):
        if name not in document and name in customer:
            document[name] = customer[name]
    if "BillEmail" not in document and "PrimaryEmailAddr" in customer:
        document["BillEmail"] = customer["PrimaryEmailAddr"]


def _lines(unit: Unit, document: Obj, old: Obj | None) -> tuple[list[Obj], Decimal]:
    known = {line["Id"] for line in old["Line"] if "Id" in line} if old else set()
    next_id = max((int(key) for key in known), default=0) + 1
    rows: list[Obj] = []
    discount = ZERO
    usable = False
    for line in sorted(document["Line"], key=_is_discount):  # a discount concerns all lines: it comes last
        kind = line.get("DetailType")
        if kind is None:
            raise faults.required("DetailType")
        if kind == "SubTotalLineDetail":
            continue
        if kind == "SalesItemLineDetail":
            _sales_line(unit, line)
            usable = True
        elif kind == "DescriptionOnly":
            line.pop("Amount", None)
            line.setdefault("DescriptionLineDetail", {})
            usable = True
        elif kind == "DiscountLineDetail":
            discount += _discount(unit, line, rows)
        else:
            raise faults.NotModelled(f"lines of kind {kind}")
        if line.get("Id") not in known:
            line["Id"] = str(next_id)
            next_id += 1
        line["LineNum"] = len(rows) + 1
        rows.append(line)
    if not usable:
        raise faults.Refusal("2250", "Missing Lines", "At least one line is required.", "Line")
    if len(rows) > MAX_LINES:
        raise faults.business(f"A transaction takes at most {MAX_LINES} lines.", element="Line")
    return rows, discount


def _is_discount(line: Obj) -> bool:
    return line.get("DetailType") == "DiscountLineDetail"


def _sales_line(unit: Unit, line: Obj) -> None:
    if "Amount" not in line:
        raise faults.required("Amount")
    detail = line.get("SalesItemLineDetail")
    if detail is None:
        raise faults.required("SalesItemLineDetail")
    if "ItemRef" not in detail:
        detail["ItemRef"] = {"value": "1"}  # QuickBooks puts its default item, silently
    item = resolve(unit, detail, "ItemRef", "Item")
    assert item is not None
    if item["Type"] == "Category":
        raise faults.business("A category cannot be used on a line.", element="ItemRef")
    if "IncomeAccountRef" in item:
        detail["ItemAccountRef"] = item["IncomeAccountRef"]
    priced = "Qty" in detail and "UnitPrice" in detail
    unsaid = not detail.get("Qty") and not detail.get("UnitPrice")  # SDKs send zeros for what was not set
    if priced and not unsaid and cents(detail["Qty"] * detail["UnitPrice"]) != line["Amount"]:
        raise faults.amount_mismatch(line["Amount"])


def _discount(unit: Unit, line: Obj, rows: list[Obj]) -> Decimal:
    detail = line.get("DiscountLineDetail")
    if detail is None:
        raise faults.required("DiscountLineDetail")
    if not unit.company.preference("SalesFormsPrefs", "AllowDiscount"):
        raise faults.business("Discounts are turned off in this company.", "6090", "DiscountLineDetail")
    resolve(unit, detail, "DiscountAccountRef", "Account")
    if detail.get("PercentBased"):
        if "DiscountPercent" not in detail:
            raise faults.required("DiscountPercent")
        subtotal = sum((x["Amount"] for x in rows if x["DetailType"] == "SalesItemLineDetail"), ZERO)
        line["Amount"] = cents(subtotal * detail["DiscountPercent"] / HUNDRED)
    elif "Amount" not in line:
        raise faults.required("Amount")
    if line["Amount"] < 0:
        raise faults.business("A discount must be 0 or greater.", "6090", "Amount")
    amount: Decimal = line["Amount"]
    return amount


def _subtotal_line(document: Obj, subtotal: Decimal) -> None:
    taxed = document["TxnTaxDetail"]["TotalTax"]
    if taxed and len(document["Line"]) > MAX_TAXABLE_LINES:
        raise faults.business(
            f"A taxable transaction takes at most {MAX_TAXABLE_LINES} lines.", element="Line"
        )
    line = {"Amount": subtotal, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}
    document["Line"].insert(len(document["Line"]) - sum(map(_is_discount, document["Line"])), line)


def _number(company: Company, entity: str, document: Obj, old: Obj | None, *, allow_duplicate: bool) -> None:
    """DocNumber by preference: custom numbers off - the next in sequence when missing; on - null when missing."""
    custom = company.preference("SalesFormsPrefs", "CustomTxnNumbers")
    number = document.get("DocNumber")
    if number == "AUTO_GENERATE" or (not number and not custom and old is None):
        company.last_number += 1
        document["DocNumber"] = str(company.last_number)
        return
    if not number:
        document.pop("DocNumber", None)
        return
    if old is not None and old.get("DocNumber") == number:
        return
    if custom and company.switches.warn_duplicate_number and not allow_duplicate:
        for kind, key in company.numbers.get(number, ()):
            if kind == entity and key != document.get("Id"):
                raise faults.duplicate_number(number, kind, key)


def emptied(document: Obj) -> Obj:
    """A voided document: every amount zero, the memo marked."""
    lines = clone(document["Line"])
    for line in lines:
        if "Amount" in line:
            line["Amount"] = ZERO
        if "SalesItemLineDetail" in line:
            line["SalesItemLineDetail"]["Qty"] = Decimal(0)
    result = {**document, "Line": lines, "TotalAmt": ZERO, "TxnTaxDetail": {"TotalTax": ZERO}}
    result["PrivateNote"] = voided_note(document)
    if "HomeTotalAmt" in result:
        result["HomeTotalAmt"] = ZERO
    return result


def voided_note(document: Obj) -> str:
    """The memo of a voided transaction starts with the word."""
    note = str(document.get("PrivateNote", ""))
    if note.startswith("Voided"):
        return note
    return f"Voided - {note}"[:MAX_NOTE] if note else "Voided"
