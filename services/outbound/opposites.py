"""The opposite of a sales form: the credit memo that takes an invoice back, or the other way round.

Pure: made of the form as it stands in QuickBooks, line by line, so that both together come to nothing.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/creditmemo
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from services.outbound import revisions, totals

Wire = Mapping[str, Any]

NOUNS: Final[Mapping[str, str]] = {"Invoice": "a credit memo", "CreditMemo": "an invoice"}
"""What offsets each form."""

_LEFT: Final[Mapping[str, str]] = {"Invoice": "Balance", "CreditMemo": "RemainingCredit"}
_SOLD: Final = ("Qty", "UnitPrice", "ServiceDate")
_SOLD_REFS: Final = ("ItemRef", "TaxCodeRef", "ClassRef")
_REFS: Final = ("CustomerRef", "ClassRef", "DepartmentRef")
_ADDRESS: Final = (
    "Line1",
    "Line2",
    "Line3",
    "Line4",
    "Line5",
    "City",
    "CountrySubDivisionCode",
    "PostalCode",
    "Country",
)


def left(entity: str, form: Wire) -> Decimal:
    """What is open of an invoice, or unused of a credit memo."""
    return _amount(form.get(_LEFT[entity]))


def build(
    form: Wire, entity: str, *, number: str, dated: date, memo: str, note: str
) -> dict[str, Any] | None:
    """The body of what offsets a form of that entity: its customer, currency and rate, lines and tax.

    None when the form has parts of which nobody can say how they are taken back (discounts as QuickBooks enters
    them, bundles, shipping): its lines and tax then do not make its total.
    """
    lines = [_line(line) for line in revisions.sold(form.get("Line") or ())]
    wire: dict[str, Any] = {
        "DocNumber": number,
        "TxnDate": dated.isoformat(),
        **{name: _reference(form[name]) for name in _REFS if form.get(name)},
        **currency(form),
        **(
            {"GlobalTaxCalculation": form["GlobalTaxCalculation"]} if form.get("GlobalTaxCalculation") else {}
        ),
        "Line": [line for line in lines if line is not None],
        "TxnTaxDetail": _tax(form),
        **{name: _address(form[name]) for name in ("BillAddr", "ShipAddr") if form.get(name)},
        "CustomerMemo": {"value": memo},
        "EmailStatus": "NotSet",
        "PrintStatus": "NotSet",
        "PrivateNote": note,
    }
    if entity == "CreditMemo":
        wire |= {
            "DueDate": dated.isoformat(),
            "AllowOnlineCreditCardPayment": False,
            "AllowOnlineACHPayment": False,
        }
    if None in lines or totals.asked_for(wire) != _amount(form.get("TotalAmt")):
        return None
    return wire


def currency(form: Wire) -> dict[str, Any]:
    """Currency and rate of a form, for what is tied to it."""
    wire: dict[str, Any] = {"CurrencyRef": _reference(form["CurrencyRef"])} if form.get("CurrencyRef") else {}
    if form.get("ExchangeRate") is not None:
        wire["ExchangeRate"] = form["ExchangeRate"]
    return wire


def _line(line: Wire) -> dict[str, Any] | None:
    kind = line.get("DetailType")
    said = {"Description": line["Description"]} if line.get("Description") else {}
    if kind == "DescriptionOnly":
        return {"DetailType": kind, **said, "DescriptionLineDetail": {}}
    if kind != "SalesItemLineDetail":
        return None
    detail = line[kind]
    return {
        "DetailType": kind,
        "Amount": line["Amount"],
        **said,
        kind: {
            **{name: _reference(detail[name]) for name in _SOLD_REFS if detail.get(name)},
            **{name: detail[name] for name in _SOLD if detail.get(name) is not None},
        },
    }


def _tax(form: Wire) -> dict[str, Any]:
    """The tax to the cent; outside the US each rate's part of it, too."""
    detail = form.get("TxnTaxDetail") or {}
    tax: dict[str, Any] = {"TotalTax": _amount(detail.get("TotalTax"))}
    if detail.get("TxnTaxCodeRef"):
        tax["TxnTaxCodeRef"] = _reference(detail["TxnTaxCodeRef"])
    if form.get("GlobalTaxCalculation") and detail.get("TaxLine"):
        tax["TaxLine"] = [dict(one) for one in detail["TaxLine"]]
    return tax


def _reference(value: Wire) -> dict[str, str]:
    return {"value": str(value["value"])}


def _address(value: Wire) -> dict[str, str]:
    return {name: str(value[name]) for name in _ADDRESS if value.get(name)}


def _amount(value: Any) -> Decimal:
    return Decimal(str(value or 0))
