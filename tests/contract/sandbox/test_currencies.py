"""Currencies: documents in the customer's currency, their own rate, home amounts.

Source: https://developer.intuit.com/app/developer/qbo/docs/workflows/manage-multiple-currencies
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.contract.sandbox.books import Books, invoice_body, link, payment_body

EURO: dict[str, Any] = {"CurrencyRef": {"value": "EUR"}}
DOLLAR: dict[str, Any] = {"CurrencyRef": {"value": "USD"}}


@pytest.fixture
def euro_customer(multi: Books) -> str:
    """A customer billed in euro."""
    return str(multi.post("/customer", {"DisplayName": "Euro GmbH", **EURO})["Customer"]["Id"])


def test_foreign_document_carries_rate_and_home_amounts(multi: Books, euro_customer: str) -> None:
    """ExchangeRate is home units per foreign unit; without one QuickBooks takes its own [D-multi]."""
    given = multi.invoice(CustomerRef={"value": euro_customer}, ExchangeRate=Decimal("1.2"), **EURO)
    assert (given["TotalAmt"], given["HomeTotalAmt"], given["HomeBalance"]) == (100, 120, 120)
    assert multi.invoice(CustomerRef={"value": euro_customer}, **EURO)["ExchangeRate"] == Decimal("1.08")


def test_currency_is_required_and_the_customers(multi: Books, euro_customer: str) -> None:
    """With several currencies CurrencyRef is required and must be the customer's; otherwise only the home one works.

    [D-multi]
    """
    multi.refused("/invoice", invoice_body(), "2020")
    multi.refused("/invoice", invoice_body(**EURO), "6000")
    multi.refused("/invoice", invoice_body(CustomerRef={"value": euro_customer}, **DOLLAR), "6000")
    multi.invoice(**DOLLAR)


def test_single_currency_company_refuses_foreign_documents(us: Books) -> None:
    """A foreign CurrencyRef in a company with one currency is refused; its own is accepted [D-multi]."""
    us.refused("/invoice", invoice_body(**EURO), "6000")
    assert "ExchangeRate" not in us.invoice(**DOLLAR)


def test_payment_matches_the_documents_currency(multi: Books, euro_customer: str) -> None:
    """Payments carry their own rate, cannot cross currencies and cannot go into an account of another currency.

    [D-multi]
    """
    invoice = multi.invoice(CustomerRef={"value": euro_customer}, **EURO)
    line = [link("Invoice", invoice["Id"], "100.00")]
    body = payment_body("100.00", Line=line, CustomerRef={"value": euro_customer}, **EURO)
    payment = multi.post("/payment", {**body, "ExchangeRate": Decimal("1.1")})["Payment"]
    assert payment["HomeTotalAmt"] == 110
    dollar_invoice = multi.invoice(**DOLLAR)
    crossing = {**body, "Line": [link("Invoice", dollar_invoice["Id"], "10.00")]}
    multi.refused("/payment", crossing, "6000")
    into_euro = payment_body("10.00", DepositToAccountRef={"value": "12"}, **DOLLAR)
    multi.refused("/payment", into_euro, "6000")
    multi.post("/payment", {**body, "Line": [], "DepositToAccountRef": {"value": "12"}})


@pytest.mark.parametrize("code", ["XXX", "eur", "CHF"])
def test_unknown_currencies_are_refused(multi: Books, code: str) -> None:
    """A currency that the sandbox has no rate for is refused, for names and accounts; never a rate of 1 [ours]."""
    reference = {"CurrencyRef": {"value": code}}
    multi.refused("/customer", {"DisplayName": "A", **reference}, "sandbox-not-modelled")
    multi.refused("/account", {"Name": "A", "AccountType": "Bank", **reference}, "sandbox-not-modelled")
