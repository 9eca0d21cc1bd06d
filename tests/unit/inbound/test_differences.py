"""Comparing a document of ours with what QuickBooks has: what counts, and what does not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.inbound import differences

AGREED: dict[str, Any] = {
    "DocNumber": "INV-1",
    "TxnDate": "2026-11-02",
    "TotalAmt": Decimal("100.00"),
    "Line": [{"Id": "1", "DetailType": "SalesItemLineDetail", "Amount": Decimal("100.00")}],
}


def test_a_deposit_on_an_invoice_is_money_that_no_payment_shows() -> None:
    """QuickBooks takes it off the balance without a Payment, so only the invoice itself can tell billing."""
    observed = {**AGREED, "Deposit": Decimal("30.00"), "Balance": Decimal("70.00")}
    (found,) = differences.compare(AGREED, observed)
    assert (found.field, found.agreed, found.observed, found.owner) == ("deposit", None, "30.00", "billing")


def test_nothing_empty_and_zero_are_alike() -> None:
    """QuickBooks may fill in what was left out, with zeros: nobody changed anything."""
    observed = {
        **AGREED,
        "Deposit": Decimal(0),
        "TxnTaxDetail": {"TotalTax": 0},
        "CustomerMemo": {"value": ""},
    }
    assert differences.compare(AGREED, observed) == []
    assert differences.compare(observed, AGREED) == []
