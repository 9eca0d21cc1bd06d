"""The pre-flight report names every risky setting, what it does to the sync, and where to change it."""

from __future__ import annotations

from typing import Any

import pytest

from services.connections.preflight import report
from services.quickbooks.entities import Preferences

RISKS = {"auto_apply_credit", "auto_apply_payments", "no_custom_numbers", "automated_sales_tax"}


def read(**areas: Any) -> Preferences:
    """Preferences as QuickBooks sends them."""
    return Preferences.model_validate({"Id": "1", "SyncToken": "0", **areas})


@pytest.mark.parametrize(
    ("areas", "code", "place"),
    [
        ({"SalesFormsPrefs": {"AutoApplyCredit": True}}, "auto_apply_credit", "Automatically apply credits"),
        ({"SalesFormsPrefs": {"AutoApplyPayments": True}}, "auto_apply_payments", "Automation"),
        ({"SalesFormsPrefs": {"CustomTxnNumbers": False}}, "no_custom_numbers", "Custom transaction numbers"),
        ({"AccountingInfoPrefs": {"BookCloseDate": "2026-02-28"}}, "books_closed", "Close the books"),
        ({"TaxPrefs": {"PartnerTaxEnabled": True}}, "automated_sales_tax", "Sales tax settings"),
        ({"CurrencyPrefs": {"MultiCurrencyEnabled": True}}, "multicurrency", "Currency"),
        ({"AccountingInfoPrefs": {"ClassTrackingPerTxn": True}}, "class_tracking", "Track classes"),
        ({"AccountingInfoPrefs": {"ClassTrackingPerTxnLine": True}}, "class_tracking", "Track classes"),
        ({"AccountingInfoPrefs": {"TrackDepartments": True}}, "department_tracking", "Track locations"),
        ({}, "invoice_reminders", "Automatic invoice reminders"),
    ],
)
def test_each_setting_is_named_with_its_place(areas: dict[str, Any], code: str, place: str) -> None:
    """One finding a setting; a risk only where documents would come out differently."""
    found = {finding.code: finding for finding in report(read(**areas))}
    assert set(found) == {code, "invoice_reminders"}
    assert place in found[code].place
    assert found[code].risk == (code in RISKS)
    assert found[code].sentence.endswith(".")


def test_risks_come_first() -> None:
    """What needs a decision stands above what only informs."""
    areas = {
        "AccountingInfoPrefs": {"BookCloseDate": "2026-02-28"},
        "SalesFormsPrefs": {"AutoApplyCredit": True},
        "TaxPrefs": {"PartnerTaxEnabled": True},
    }
    risks = [finding.risk for finding in report(read(**areas))]
    assert risks == sorted(risks, reverse=True)
