"""QuickBooks objects as Python types, and the way from Intuit's name to the type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from services.quickbooks.entities.base import (
    Address,
    EmailAddress,
    Entity,
    LinkedTxn,
    Memo,
    MetaData,
    NameValue,
    Part,
    Ref,
    TelephoneNumber,
    Transaction,
    WebAddress,
)
from services.quickbooks.entities.company import (
    AccountingInfoPrefs,
    CompanyInfo,
    CurrencyPrefs,
    Preferences,
    SalesFormsPrefs,
    TaxPrefs,
)
from services.quickbooks.entities.lines import (
    BaseLine,
    DescriptionLine,
    DescriptionLineDetail,
    DiscountLine,
    DiscountLineDetail,
    GroupLine,
    GroupLineDetail,
    Line,
    LineEx,
    OtherLine,
    PaymentLine,
    SalesItemLine,
    SalesItemLineDetail,
    SubTotalLine,
    TaxLine,
    TaxLineDetail,
    TxnTaxDetail,
)
from services.quickbooks.entities.lists import (
    Account,
    Class,
    Customer,
    Department,
    Item,
    Named,
    PaymentMethod,
    TaxCode,
    TaxRate,
    TaxRateDetail,
    TaxRateList,
    Term,
)
from services.quickbooks.entities.sales import CreditMemo, Invoice, Payment, RefundReceipt, SalesForm

__all__ = [
    "ENTITIES",
    "Account",
    "AccountingInfoPrefs",
    "Address",
    "BaseLine",
    "Class",
    "CompanyInfo",
    "CreditMemo",
    "CurrencyPrefs",
    "Customer",
    "Department",
    "DescriptionLine",
    "DescriptionLineDetail",
    "DiscountLine",
    "DiscountLineDetail",
    "EmailAddress",
    "Entity",
    "GroupLine",
    "GroupLineDetail",
    "Invoice",
    "Item",
    "Line",
    "LineEx",
    "LinkedTxn",
    "Memo",
    "MetaData",
    "NameValue",
    "Named",
    "OtherLine",
    "Part",
    "Payment",
    "PaymentLine",
    "PaymentMethod",
    "Preferences",
    "Ref",
    "RefundReceipt",
    "SalesForm",
    "SalesFormsPrefs",
    "SalesItemLine",
    "SalesItemLineDetail",
    "SubTotalLine",
    "TaxCode",
    "TaxLine",
    "TaxLineDetail",
    "TaxPrefs",
    "TaxRate",
    "TaxRateDetail",
    "TaxRateList",
    "TelephoneNumber",
    "Term",
    "Transaction",
    "TxnTaxDetail",
    "WebAddress",
    "parse",
]

_TYPES: tuple[type[Entity], ...] = (
    Account,
    Class,
    CompanyInfo,
    CreditMemo,
    Customer,
    Department,
    Invoice,
    Item,
    Payment,
    PaymentMethod,
    Preferences,
    RefundReceipt,
    TaxCode,
    TaxRate,
    Term,
)

ENTITIES: Mapping[str, type[Entity]] = MappingProxyType({type_.__name__: type_ for type_ in _TYPES})
"""Intuit's name -> type."""


def parse(name: str, data: Mapping[str, Any]) -> Entity:
    """Read one object; a kind that is not typed here becomes a plain `Entity` with all its fields kept."""
    return ENTITIES.get(name, Entity).model_validate(data)
