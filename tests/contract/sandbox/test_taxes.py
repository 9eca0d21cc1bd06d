"""Sales tax by country: TAX/NON in the United States, Automated Sales Tax, codes by line elsewhere.

Source: https://developer.intuit.com/app/developer/qbo/docs/workflows/manage-sales-tax-for-us-locales and
https://developer.intuit.com/app/developer/qbo/docs/workflows/manage-sales-tax-for-non-us-locales
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.contract.sandbox.books import Books, invoice_body, sales_line

TAXED = [sales_line("100.00", "TAX"), sales_line("50.00", "NON")]


def us_tax(total: str | None = None, code: str = "2") -> dict[str, Any]:
    """A TxnTaxDetail with a named code (2 = California, 8 %)."""
    detail: dict[str, Any] = {"TxnTaxCodeRef": {"value": code}}
    return detail if total is None else {**detail, "TotalTax": Decimal(total)}


def test_us_tax_is_computed_from_the_documents_code(us: Books) -> None:
    """TAX lines are taxed with the code in TxnTaxDetail; NON lines are not [D-tax]."""
    invoice = us.invoice(Line=TAXED, TxnTaxDetail=us_tax())
    assert (invoice["TxnTaxDetail"]["TotalTax"], invoice["TotalAmt"]) == (8, 158)
    detail = invoice["TxnTaxDetail"]["TaxLine"][0]["TaxLineDetail"]
    assert (detail["TaxPercent"], detail["NetAmountTaxable"]) == (8, 100)


def test_supplied_total_is_honoured_or_recomputed(us: Books) -> None:
    """A TotalTax of our own stands (default) or is computed again (switch): compare the reply's total [switch]."""
    body = {"Line": TAXED, "TxnTaxDetail": us_tax("8.01")}
    assert us.invoice(**body)["TotalAmt"] == Decimal("158.01")
    us.switch(supplied_tax="recompute")
    assert us.invoice(**body)["TotalAmt"] == 158


def test_other_lines_are_taxed_anew(us: Books, gb: Books) -> None:
    """A sparse update of the lines keeps the tax code, not the tax of the lines before; other edits keep both.

    [D-rest, D-tax]
    """
    invoice = us.invoice(Line=TAXED, TxnTaxDetail=us_tax("8.01"))
    edit = {"Id": invoice["Id"], "SyncToken": "0", "sparse": True}
    noted = us.post("/invoice", {**edit, "PrivateNote": "late"})["Invoice"]
    assert noted["TxnTaxDetail"] == invoice["TxnTaxDetail"]
    for token, code, tax in (("1", "TAX", 16), ("2", "NON", 0)):
        lines = [sales_line("200.00", code)]
        changed = us.post("/invoice", {**edit, "SyncToken": token, "Line": lines})["Invoice"]
        assert (changed["TxnTaxDetail"]["TotalTax"], changed["TotalAmt"]) == (tax, 200 + tax)
    british = gb.invoice(Line=[sales_line("100.00", "2")], GlobalTaxCalculation="TaxExcluded")
    edit = {"Id": british["Id"], "sparse": True}
    doubled = gb.post("/invoice", {**edit, "SyncToken": "0", "Line": [sales_line("200.00", "2")]})["Invoice"]
    assert (doubled["TxnTaxDetail"]["TotalTax"], doubled["TotalAmt"]) == (40, 240)
    bare = sales_line("200.00")
    del bare["SalesItemLineDetail"]["TaxCodeRef"]
    untaxed = {**edit, "SyncToken": "1", "Line": [bare], "GlobalTaxCalculation": "NotApplicable"}
    assert gb.post("/invoice", untaxed)["Invoice"]["TotalAmt"] == 200


def test_no_code_no_tax(us: Books) -> None:
    """Without TxnTaxCodeRef nothing is taxed, unless the customer has a default code [D-tax]."""
    assert us.invoice(Line=TAXED)["TotalAmt"] == 150
    us.desk("edit", {"entity": "Customer", "id": "1", "changes": {"DefaultTaxCodeRef": {"value": "3"}}})
    assert us.invoice(Line=TAXED)["TotalAmt"] == Decimal("159.10")


def test_us_line_codes_are_tax_or_non(us: Books) -> None:
    """Any other code on a US line answers 6100; TAX or NON as the document's code answers 6160 [D-tax, D-err]."""
    us.refused("/invoice", invoice_body(Line=[sales_line("1.00", "2")]), "6100")
    us.refused("/invoice", invoice_body(TxnTaxDetail=us_tax(code="TAX")), "6160")
    us.refused("/invoice", invoice_body(TxnTaxDetail=us_tax(code="99")), "2500")


def test_missing_line_code(us: Books) -> None:
    """A line without TaxCodeRef is NON (seen live) or TAX (documented), by switch: always send it [D-inv, seen]."""
    line = sales_line("10.00")
    del line["SalesItemLineDetail"]["TaxCodeRef"]
    body = {"Line": [line], "TxnTaxDetail": us_tax()}
    assert us.invoice(**body)["TotalAmt"] == 10
    us.switch(us_default_line_tax="TAX")
    assert us.invoice(**body)["TotalAmt"] == Decimal("10.80")


def test_global_tax_calculation_is_refused_in_the_us(us: Books) -> None:
    """GlobalTaxCalculation must not be sent to a US company; by switch it is ignored, as SDKs rely on [D-inv, SDK]."""
    us.refused("/invoice", invoice_body(GlobalTaxCalculation="TaxExcluded"), "6000")
    us.switch(us_tax_calculation="ignore")
    assert "GlobalTaxCalculation" not in us.invoice(GlobalTaxCalculation="TaxExcluded")


def test_tax_detail_is_ignored_when_sales_tax_is_off(us: Books) -> None:
    """A company that does not use sales tax ignores TxnTaxDetail [D-inv]."""
    us.prefer("TaxPrefs", UsingSalesTax=False)
    assert us.invoice(Line=TAXED, TxnTaxDetail=us_tax("8.00"))["TotalAmt"] == 150


def test_automated_sales_tax_decides_by_address(us: Books) -> None:
    """AST computes its own tax; zero without an address (seen live); an override needs code and total [D-tax, seen]."""
    us.prefer("TaxPrefs", PartnerTaxEnabled=True)
    assert us.invoice(Line=TAXED)["TxnTaxDetail"]["TotalTax"] == Decimal("8.25")
    bare = us.post("/customer", {"DisplayName": "No address"})["Customer"]["Id"]
    assert us.invoice(Line=TAXED, CustomerRef={"value": bare})["TxnTaxDetail"]["TotalTax"] == 0
    assert us.invoice(Line=TAXED, TxnTaxDetail={"TotalTax": 9})["TxnTaxDetail"]["TotalTax"] == Decimal("8.25")
    assert us.invoice(Line=TAXED, TxnTaxDetail=us_tax("9.00"))["TxnTaxDetail"]["TotalTax"] == 9
    us.switch(ast_ignores_override=True, ast_zero_without_address=False, ast_rate_percent=10)
    assert us.invoice(Line=TAXED, TxnTaxDetail=us_tax("9.00"))["TxnTaxDetail"]["TotalTax"] == 10
    assert us.invoice(Line=TAXED, CustomerRef={"value": bare})["TxnTaxDetail"]["TotalTax"] == 10


def test_discount_reduces_the_taxed_base_only_when_asked(us: Books) -> None:
    """ApplyTaxAfterDiscount false: tax on the full lines; true: on what the discount leaves [D-tax]."""
    discount = {
        "DetailType": "DiscountLineDetail",
        "Amount": 10,
        "DiscountLineDetail": {"PercentBased": False},
    }
    body = {"Line": [sales_line("100.00", "TAX"), discount], "TxnTaxDetail": us_tax()}
    assert us.invoice(**body)["TotalAmt"] == 98
    assert us.invoice(**body, ApplyTaxAfterDiscount=True)["TotalAmt"] == Decimal("97.20")


def test_elsewhere_every_line_has_a_code(gb: Books) -> None:
    """Outside the US: GlobalTaxCalculation is required and every line needs a code of the company [D-tax, D-err]."""
    gb.refused("/invoice", invoice_body(Line=[sales_line("1.00", "2")]), "2020")
    bare = sales_line("1.00")
    del bare["SalesItemLineDetail"]["TaxCodeRef"]
    excluded = {"GlobalTaxCalculation": "TaxExcluded"}
    gb.refused("/invoice", invoice_body(Line=[bare], **excluded), "6000")
    gb.refused("/invoice", invoice_body(Line=[sales_line("1.00", "NON")], **excluded), "2500")
    gb.refused(
        "/invoice",
        invoice_body(Line=[sales_line("1.00", "2")], GlobalTaxCalculation="TaxInclusive"),
        "sandbox-not-modelled",
    )


def test_elsewhere_tax_is_one_line_a_rate(gb: Books) -> None:
    """Tax is summed by rate; a supplied TaxLine stands (default) or is computed again (switch) [D-tax, switch]."""
    lines = [
        sales_line("10.03", "2"),
        sales_line("10.03", "2"),
        sales_line("100.00", "3"),
        sales_line("5.00", "4"),
    ]
    body: dict[str, Any] = {"Line": lines, "GlobalTaxCalculation": "TaxExcluded"}
    invoice = gb.invoice(**body)
    amounts = {
        x["TaxLineDetail"]["TaxRateRef"]["value"]: x["Amount"] for x in invoice["TxnTaxDetail"]["TaxLine"]
    }
    assert amounts == {"3": Decimal("4.01"), "4": 5, "5": 0}
    assert invoice["TotalAmt"] == Decimal("134.07")
    supplied = {
        "DetailType": "TaxLineDetail",
        "Amount": Decimal("4.02"),
        "TaxLineDetail": {"TaxRateRef": {"value": "3"}},
    }
    body["TxnTaxDetail"] = {"TotalTax": Decimal("9.02"), "TaxLine": [supplied]}
    assert gb.invoice(**body)["TotalAmt"] == Decimal("134.08")
    gb.switch(supplied_tax="recompute")
    assert gb.invoice(**body)["TotalAmt"] == Decimal("134.07")


def test_not_applicable_takes_neither_codes_nor_tax(gb: Books) -> None:
    """NotApplicable with a line code answers 6230, with a tax detail 6170; without both it is fine [D-tax, D-err]."""
    bare = sales_line("10.00")
    del bare["SalesItemLineDetail"]["TaxCodeRef"]
    none = {"GlobalTaxCalculation": "NotApplicable"}
    gb.refused("/invoice", invoice_body(Line=[sales_line("1.00", "2")], **none), "6230")
    gb.refused("/invoice", invoice_body(Line=[bare], TxnTaxDetail={"TotalTax": 1}, **none), "6170")
    assert gb.invoice(Line=[bare], **none)["TotalAmt"] == 10


@pytest.mark.parametrize("statement", ["SELECT * FROM TaxCode", "SELECT * FROM TaxCode WHERE Active = true"])
def test_pseudo_codes_have_no_active_field(us: Books, statement: str) -> None:
    """TAX and NON come with every list of tax codes, and vanish when Active is asked for [seen]."""
    names = {row["Name"] for row in us.query(statement)["TaxCode"]}
    assert ({"TAX", "NON"} <= names) == ("Active" not in statement)


def test_a_taxed_document_takes_750_lines(us: Books) -> None:
    """Taxable transactions take at most 750 lines; untaxed ones more [D-inv]."""
    lines = [sales_line("1.00", "TAX")] * 751
    us.refused("/invoice", invoice_body(Line=lines, TxnTaxDetail=us_tax()), "6000")
    us.invoice(Line=lines)
