"""Sales tax of a document: the United States' TAX/NON with one code, Automated Sales Tax, and codes by line."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from services.sandbox import faults
from services.sandbox.amounts import HUNDRED, ZERO, cents, plain
from services.sandbox.fields import Obj
from services.sandbox.references import resolve
from services.sandbox.store import Unit

US_LINE_CODES = ("TAX", "NON")


def default_line_codes(unit: Unit, document: Obj) -> None:
    """Check each sales line's tax code by country, and fill in what QuickBooks fills in when it is missing."""
    company = unit.company
    if company.us and company.switches.us_tax_calculation == "ignore":
        document.pop("GlobalTaxCalculation", None)
    mode = document.get("GlobalTaxCalculation")
    if company.us and mode is not None:
        raise faults.business(
            "GlobalTaxCalculation is not supported for US companies.", "6000", "GlobalTaxCalculation"
        )
    if mode == "TaxInclusive":
        raise faults.NotModelled("GlobalTaxCalculation TaxInclusive")
    if not company.us and mode is None:
        raise faults.required("GlobalTaxCalculation")
    for line in document["Line"]:
        if line["DetailType"] != "SalesItemLineDetail":
            continue
        detail = line["SalesItemLineDetail"]
        code = detail.get("TaxCodeRef", {}).get("value")
        if company.us:
            if code is None:
                detail["TaxCodeRef"] = {"value": company.switches.us_default_line_tax}
            elif code not in US_LINE_CODES:
                raise faults.business(
                    "Invalid tax code on line: a US company takes only TAX or NON.", "6100", "TaxCodeRef"
                )
        elif mode == "NotApplicable":
            if code is not None:
                raise faults.business("TaxCodeRef cannot be sent with NotApplicable.", "6230", "TaxCodeRef")
        elif code is None:
            raise faults.business(
                "Make sure all your transactions have a tax rate before you save.", "6000", "TaxCodeRef"
            )
        else:
            resolve(unit, detail, "TaxCodeRef", "TaxCode", named=False)


def compute(unit: Unit, document: Obj, customer: Obj, discount: Decimal) -> Decimal:
    """Set `TxnTaxDetail` and return the total tax; `discount` is what DiscountLineDetail takes off the lines."""
    company = unit.company
    supplied: Obj = document.get("TxnTaxDetail", {})
    if not company.preference("TaxPrefs", "UsingSalesTax"):
        document["TxnTaxDetail"] = {"TotalTax": ZERO}
        return ZERO
    if company.us:
        result = _us(unit, document, supplied, customer, discount)
    else:
        result = _by_line(unit, document, supplied, discount)
    document["TxnTaxDetail"] = result
    total: Decimal = result["TotalTax"]
    return total


def _us(unit: Unit, document: Obj, supplied: Obj, customer: Obj, discount: Decimal) -> Obj:
    company = unit.company
    sales = [line for line in document["Line"] if line["DetailType"] == "SalesItemLineDetail"]
    taxable = sum(
        (x["Amount"] for x in sales if x["SalesItemLineDetail"]["TaxCodeRef"]["value"] == "TAX"), ZERO
    )
    if document.get("ApplyTaxAfterDiscount") and discount:
        subtotal = sum((x["Amount"] for x in sales), ZERO)
        taxable -= cents(discount * taxable / subtotal) if subtotal else ZERO
    code: Obj | None = supplied.get("TxnTaxCodeRef")
    total = supplied.get("TotalTax")
    if code is not None:
        if code["value"] in US_LINE_CODES:
            raise faults.business("TxnTaxCodeRef must be a tax code with a rate.", "6160", "TxnTaxCodeRef")
        resolve(unit, supplied, "TxnTaxCodeRef", "TaxCode", named=False)
    if company.preference("TaxPrefs", "PartnerTaxEnabled"):
        if code is None or total is None or company.switches.ast_ignores_override:
            return _automated(unit, document, customer, taxable)
    elif code is None:
        code, total = customer.get("DefaultTaxCodeRef"), None
    if code is None:
        return {"TotalTax": ZERO}
    lines = [_tax_line(rate, taxable) for rate in _rates(unit, code["value"])]
    computed = sum((line["Amount"] for line in lines), ZERO)
    if total is not None and total != computed and company.switches.supplied_tax == "honour":
        lines[-1]["Amount"] += total - computed
        computed = total
    return {"TxnTaxCodeRef": {"value": code["value"]}, "TotalTax": computed, "TaxLine": lines}


def _automated(unit: Unit, document: Obj, customer: Obj, taxable: Decimal) -> Obj:
    """Automated Sales Tax decides by address, whatever the client computed."""
    switches = unit.company.switches
    address = document.get("ShipAddr") or document.get("BillAddr") or customer.get("ShipAddr")
    address = address or customer.get("BillAddr")
    if not address and switches.ast_zero_without_address:
        return {"TotalTax": ZERO}
    total = cents(taxable * switches.ast_rate_percent / HUNDRED)
    detail = {"PercentBased": True, "TaxPercent": switches.ast_rate_percent, "NetAmountTaxable": taxable}
    line = {"Amount": total, "DetailType": "TaxLineDetail", "TaxLineDetail": detail}
    return {"TotalTax": total, "TaxLine": [line]}


def _by_line(unit: Unit, document: Obj, supplied: Obj, discount: Decimal) -> Obj:
    if discount:
        raise faults.NotModelled("a DiscountLineDetail outside the US")
    if document["GlobalTaxCalculation"] == "NotApplicable":
        if supplied.get("TaxLine") or supplied.get("TotalTax"):
            raise faults.business("TxnTaxDetail cannot be sent with NotApplicable.", "6170", "TxnTaxDetail")
        return {"TotalTax": ZERO}
    bases: dict[str, Decimal] = {}
    for line in document["Line"]:
        if line["DetailType"] == "SalesItemLineDetail":
            code = line["SalesItemLineDetail"]["TaxCodeRef"]["value"]
            for rate in _rates(unit, code):
                bases[rate["Id"]] = bases.get(rate["Id"], ZERO) + line["Amount"]
    wanted = {}
    for row in supplied.get("TaxLine", ()):
        if "Amount" not in row or "TaxRateRef" not in row.get("TaxLineDetail", {}):
            raise faults.required("TaxLine.Amount and TaxLine.TaxLineDetail.TaxRateRef")
        resolve(unit, row["TaxLineDetail"], "TaxRateRef", "TaxRate", named=False)
        wanted[row["TaxLineDetail"]["TaxRateRef"]["value"]] = row["Amount"]
    lines = []
    for rate_id, base in bases.items():
        tax_line = _tax_line(unit.company.objects["TaxRate"][rate_id], base)
        if unit.company.switches.supplied_tax == "honour" and rate_id in wanted:
            tax_line["Amount"] = wanted[rate_id]
        lines.append(tax_line)
    return {"TotalTax": sum((line["Amount"] for line in lines), ZERO), "TaxLine": lines}


def _rates(unit: Unit, code: str) -> Iterable[Obj]:
    details = unit.company.objects["TaxCode"][code]["SalesTaxRateList"].get("TaxRateDetail", ())
    return [unit.company.objects["TaxRate"][row["TaxRateRef"]["value"]] for row in details]


def _tax_line(rate: Obj, base: Decimal) -> Obj:
    detail = {
        "TaxRateRef": {"value": rate["Id"]},
        "PercentBased": True,
        "TaxPercent": plain(rate["RateValue"]),
        "NetAmountTaxable": base,
    }
    amount = cents(base * rate["RateValue"] / HUNDRED)
    return {"Amount": amount, "DetailType": "TaxLineDetail", "TaxLineDetail": detail}
