"""Typed objects: lenient when read, exact when written, nothing unknown lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks import body, entities
from services.quickbooks.entities import (
    ENTITIES,
    CompanyInfo,
    GroupLine,
    Invoice,
    OtherLine,
    Payment,
    Preferences,
    SalesItemLine,
    SubTotalLine,
    TaxCode,
)

_values = st.recursive(
    st.booleans()
    | st.text(max_size=8)
    | st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-1000, max_value=1000),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"New[A-Z][a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(ENTITIES)),
    st.dictionaries(st.from_regex(r"New[A-Z][a-z]{1,8}", fullmatch=True), _values, max_size=5),
)
def test_unknown_fields_come_back_untouched(name: str, unknown: dict) -> None:
    """A field that Intuit adds tomorrow is kept on every kind of object, digit for digit."""
    wire = {"Id": "1", "SyncToken": "0", **unknown}
    read = entities.parse(name, body.load(body.dump(wire)))
    assert body.dump(read.to_wire()) == body.dump(wire)


@pytest.mark.parametrize("name", sorted(ENTITIES))
def test_every_field_of_a_reply_may_be_absent(name: str) -> None:
    """Fields disappear between companies and versions; an object with an id only is an object."""
    read = entities.parse(name, {"Id": "65", "status": "Deleted"})
    assert (read.id, read.status) == ("65", "Deleted")
    assert read.to_wire() == {"Id": "65", "status": "Deleted"}


def test_an_untyped_object_is_kept_whole() -> None:
    """A JournalEntry is not typed here, and nothing of it is lost."""
    wire = {"Id": "5", "SyncToken": "1", "Line": [{"Amount": Decimal("1.50")}], "Adjustment": False}
    assert entities.parse("JournalEntry", wire).to_wire() == wire


def test_lines_are_read_by_kind_and_kept_when_strange() -> None:
    """Known kinds are typed; an unknown kind, or one without its detail, stays as it came."""
    wire = [
        {"Id": "1", "Amount": 1, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": {"Qty": 2}},
        {"Amount": 1, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}},
        {"Id": "3", "DetailType": "ReimburseLineDetail", "ReimburseLineDetail": {"x": [1]}},
        {"Id": "4", "DetailType": "SalesItemLineDetail"},
        {
            "Id": "5",
            "DetailType": "GroupLineDetail",
            "GroupLineDetail": {"Line": [{"DetailType": "DescriptionOnly", "Description": "x"}]},
        },
    ]
    invoice = Invoice.model_validate({"Id": "1", "Line": wire})
    assert [type(line) for line in invoice.line or ()] == [
        SalesItemLine,
        SubTotalLine,
        OtherLine,
        OtherLine,
        GroupLine,
    ]
    assert invoice.to_wire()["Line"] == wire


def test_a_payments_notes_are_readable() -> None:
    """LineEx tells the paid invoice's number, which saves a read when matching."""
    payment = Payment.model_validate(
        {
            "Line": [
                {
                    "Amount": Decimal("10.00"),
                    "LinkedTxn": [{"TxnId": "71", "TxnType": "Invoice"}],
                    "LineEx": {
                        "any": [
                            {"name": "x", "value": {"Name": "txnId", "Value": "71"}},
                            {"name": "x", "value": {"Name": "txnOpenBalance", "Value": "35.00"}},
                            {"name": "x", "value": {"Name": "txnReferenceNumber", "Value": "1042"}},
                        ]
                    },
                }
            ]
        }
    )
    assert payment.line is not None
    assert payment.line[0].line_ex is not None
    assert payment.line[0].line_ex.values == {
        "txnId": "71",
        "txnOpenBalance": "35.00",
        "txnReferenceNumber": "1042",
    }


def test_ids_are_text_even_when_sent_as_numbers() -> None:
    """Ids are opaque: 007 is not 7, and a number that slips through becomes text."""
    assert Invoice.model_validate({"Id": 71}).id == "71"
    assert Invoice.model_validate({"Id": "007"}).id == "007"


def test_preferences_and_company_info_are_readable() -> None:
    """The settings that change how documents must be written are at hand by name."""
    preferences = Preferences.model_validate(
        {
            "SalesFormsPrefs": {"CustomTxnNumbers": True, "AutoApplyCredit": True},
            "AccountingInfoPrefs": {"BookCloseDate": "2026-03-31", "ClassTrackingPerTxnLine": False},
            "CurrencyPrefs": {"MultiCurrencyEnabled": False, "HomeCurrency": {"value": "USD"}},
            "TaxPrefs": {"PartnerTaxEnabled": True, "UsingSalesTax": True},
        }
    )
    assert preferences.sales_forms_prefs is not None
    assert preferences.sales_forms_prefs.custom_txn_numbers
    assert preferences.accounting_info_prefs is not None
    assert str(preferences.accounting_info_prefs.book_close_date) == "2026-03-31"
    company = CompanyInfo.model_validate(
        {"Country": "USA", "NameValue": [{"Name": "SubscriptionStatus", "Value": "SUBSCRIBED"}]}
    )
    assert company.named == {"SubscriptionStatus": "SUBSCRIBED"}


def test_a_pseudo_tax_code_has_no_active() -> None:
    """TAX and NON come without Active, which is not the same as inactive."""
    assert TaxCode.model_validate({"Id": "TAX", "Name": "TAX"}).active is None


def test_an_error_in_an_object_does_not_repeat_its_content() -> None:
    """What cannot be read may hold names; the error says where, not what."""
    with pytest.raises(ValueError, match="CustomerRef") as caught:
        Invoice.model_validate({"CustomerRef": ["secret name"]})
    assert "secret name" not in str(caught.value)
