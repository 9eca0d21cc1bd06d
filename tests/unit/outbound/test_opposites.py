"""The opposite of a sales form: the same lines, tax, rate and total, whatever they are, or nothing at all."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.outbound import opposites, totals

AMOUNTS = st.decimals(min_value=-10_000, max_value=10_000, places=2)


def form(*amounts: Decimal, tax: Decimal = Decimal(0), **changes: Any) -> dict[str, Any]:
    """An invoice as QuickBooks returns it."""
    lines = [
        {
            "Id": str(number),
            "LineNum": number,
            "DetailType": "SalesItemLineDetail",
            "Amount": amount,
            "Description": f"line {number}",
            "SalesItemLineDetail": {
                "ItemRef": {"value": "3", "name": "Services"},
                "ItemAccountRef": {"value": "1"},
                "Qty": Decimal(2),
                "UnitPrice": amount / 2,
                "TaxCodeRef": {"value": "TAX"},
            },
        }
        for number, amount in enumerate(amounts, start=1)
    ]
    return {
        "Id": "71",
        "SyncToken": "4",
        "CustomerRef": {"value": "2", "name": "Cool Cars"},
        "TxnDate": "2026-10-31",
        "Line": [*lines, {"DetailType": "SubTotalLineDetail", "Amount": sum(amounts)}],
        "TxnTaxDetail": {"TxnTaxCodeRef": {"value": "2"}, "TotalTax": tax},
        "TotalAmt": sum(amounts) + tax,
        **changes,
    }


def build(raw: dict[str, Any], entity: str = "Invoice") -> dict[str, Any] | None:
    """The opposite, dated 2 November."""
    return opposites.build(raw, entity, number="VD-1", dated=date(2026, 11, 2), memo="voids it", note="why")


@given(st.lists(AMOUNTS, min_size=1, max_size=8), AMOUNTS)
def test_both_come_to_nothing(amounts: list[Decimal], tax: Decimal) -> None:
    """Whatever the lines are, negative ones among them, the total is the same, and nothing of the old form is named."""
    wire = build(form(*amounts, tax=tax))
    assert wire is not None
    assert totals.asked_for(wire) == sum(amounts) + tax
    assert [line["Amount"] for line in wire["Line"]] == amounts
    assert not {"Id", "SyncToken"} & (set(wire) | {name for line in wire["Line"] for name in line})
    assert wire["Line"][0]["SalesItemLineDetail"]["ItemRef"] == {"value": "3"}


def test_what_its_lines_and_tax_do_not_make_is_not_guessed() -> None:
    """A discount of QuickBooks' own, a bundle, or shipping in the total: a person enters it."""
    discount = {"DetailType": "DiscountLineDetail", "Amount": Decimal(5)}
    raw = form(Decimal(100))
    assert build(raw | {"Line": [*raw["Line"], discount], "TotalAmt": Decimal(95)}) is None
    assert (
        build(raw | {"Line": [*raw["Line"], {"DetailType": "GroupLineDetail", "Amount": Decimal(0)}]}) is None
    )
    assert build(raw | {"TotalAmt": Decimal(110)}) is None


def test_outside_the_us_every_rate_keeps_its_part() -> None:
    """Amounts without tax, and a line of tax a rate; in the US only code and total are sent."""
    part = {
        "Amount": Decimal(20),
        "DetailType": "TaxLineDetail",
        "TaxLineDetail": {"TaxRateRef": {"value": "9"}},
    }
    detail = {"TotalTax": Decimal(20), "TaxLine": [part]}
    raw = form(Decimal(100), tax=Decimal(20), TxnTaxDetail=detail)
    abroad = build(raw | {"GlobalTaxCalculation": "TaxExcluded"})
    assert abroad is not None
    assert (abroad["GlobalTaxCalculation"], abroad["TxnTaxDetail"]["TaxLine"]) == ("TaxExcluded", [part])
    at_home = build(raw)
    assert at_home is not None
    assert "TaxLine" not in at_home["TxnTaxDetail"]
    assert "GlobalTaxCalculation" not in at_home


def test_an_invoice_that_offsets_is_not_collected() -> None:
    """Due at once and not offered for payment online, to nobody sent; with currency, rate, class and address."""
    kept = {
        "CurrencyRef": {"value": "EUR", "name": "Euro"},
        "ExchangeRate": Decimal("1.25"),
        "ClassRef": {"value": "7"},
        "ShipAddr": {"Id": "9", "Line1": "1 Main St", "Lat": "0"},
    }
    wire = build(form(Decimal(100), **kept), "CreditMemo")
    assert wire is not None
    assert (wire["DueDate"], wire["AllowOnlineACHPayment"]) == ("2026-11-02", False)
    assert (wire["EmailStatus"], wire["PrintStatus"]) == ("NotSet", "NotSet")
    assert (wire["CurrencyRef"], wire["ExchangeRate"]) == ({"value": "EUR"}, Decimal("1.25"))
    assert (wire["ClassRef"], wire["ShipAddr"]) == ({"value": "7"}, {"Line1": "1 Main St"})
