"""The entities of the API: what may be queried and what can be done with each.

Filterable fields: the 'filterable' flags of https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities;
whatever is not flagged there answers 4001.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.sandbox.fields import Fields
from services.sandbox.schemas import (
    ACCOUNT,
    CREDIT_MEMO,
    CUSTOMER,
    INVOICE,
    ITEM,
    JOURNAL,
    PAYMENT,
    PAYMENT_METHOD,
    PURCHASE,
    REFUND_RECEIPT,
    TERM,
    TREE,
)

Kind = Literal["transaction", "name", "list", "single"]
Type = Literal["id", "string", "number", "date", "time", "bool", "ref"]

_META: Mapping[str, Type] = {"MetaData.CreateTime": "time", "MetaData.LastUpdatedTime": "time"}
_LIST: Mapping[str, Type] = {"Id": "id", "Name": "string", "Active": "bool", **_META}
_DOCUMENT: Mapping[str, Type] = {
    "Id": "id",
    "DocNumber": "string",
    "TxnDate": "date",
    "CustomerRef": "ref",
    "TotalAmt": "number",
    **_META,
}


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of object: `fields` may be written, `filters` may stand in a WHERE clause."""

    name: str
    kind: Kind
    fields: Fields = field(default_factory=dict)
    filters: Mapping[str, Type] = field(default_factory=dict)
    writable: bool = True
    deletable: bool = False
    voidable: bool = False  # through the API; the bookkeeper may be able to in the browser
    in_feed: bool = True  # change data capture
    in_webhooks: bool = True

    @property
    def sequence(self) -> str:
        """Transactions share one sequence of ids; every other entity has its own."""
        return "transaction" if self.kind == "transaction" else self.name


_NAME_FILTERS: Mapping[str, Type] = {
    "Id": "id",
    "DisplayName": "string",
    "FullyQualifiedName": "string",
    "CompanyName": "string",
    "GivenName": "string",
    "MiddleName": "string",
    "FamilyName": "string",
    "PrintOnCheckName": "string",
    "Active": "bool",
    "Job": "bool",
    "Balance": "number",
    **_META,
}
_TREE_FILTERS: Mapping[str, Type] = {**_LIST, "FullyQualifiedName": "string"}

_ALL = (
    Entity(
        "Invoice",
        "transaction",
        INVOICE,
        {**_DOCUMENT, "DueDate": "date", "Balance": "number"},
        deletable=True,
        voidable=True,
    ),
    Entity(
        "CreditMemo",
        "transaction",
        CREDIT_MEMO,
        {**_DOCUMENT, "Balance": "number"},
        deletable=True,
    ),
    Entity(
        "RefundReceipt",
        "transaction",
        REFUND_RECEIPT,
        {**_DOCUMENT, "Balance": "number"},
        deletable=True,
    ),
    Entity(
        "Payment",
        "transaction",
        PAYMENT,
        {
            "Id": "id",
            "CustomerRef": "ref",
            "TxnDate": "date",
            "TotalAmt": "number",
            "PaymentRefNum": "string",
            **_META,
        },
        deletable=True,
        voidable=True,
    ),
    Entity(
        "JournalEntry",
        "transaction",
        JOURNAL,
        {"Id": "id", "DocNumber": "string", "TxnDate": "date", **_META},
        deletable=True,
    ),
    Entity(
        "Purchase",
        "transaction",
        PURCHASE,
        {"Id": "id", "DocNumber": "string", "TxnDate": "date", "PaymentType": "string", **_META},
        deletable=True,
    ),
    Entity("Deposit", "transaction", {}, {"Id": "id", "TxnDate": "date", **_META}, writable=False),
    Entity("Customer", "name", CUSTOMER, _NAME_FILTERS),
    # Only the bookkeeper writes vendors: they are here because they hold names that customers cannot take.
    Entity("Vendor", "name", filters=_NAME_FILTERS, writable=False),
    Entity("Item", "list", ITEM, {**_TREE_FILTERS, "Type": "string", "Sku": "string"}),
    Entity(
        "Account",
        "list",
        ACCOUNT,
        {
            **_TREE_FILTERS,
            "AccountType": "string",
            "AccountSubType": "string",
            "Classification": "string",
            "CurrentBalance": "number",
        },
    ),
    Entity("TaxCode", "list", filters=_LIST, writable=False, in_feed=False, in_webhooks=False),
    Entity("TaxRate", "list", filters=_LIST, writable=False, in_feed=False, in_webhooks=False),
    Entity("Term", "list", TERM, {**_LIST, "Type": "string"}),
    Entity("Class", "list", TREE, _TREE_FILTERS),
    Entity("Department", "list", TREE, _TREE_FILTERS),
    Entity(
        "PaymentMethod",
        "list",
        PAYMENT_METHOD,
        {**_LIST, "Type": "string"},
    ),
    Entity("CompanyInfo", "single", filters={"Id": "id", **_META}, writable=False, in_webhooks=False),
    Entity("Preferences", "single", filters={"Id": "id", **_META}, writable=False),
)
ENTITIES: Mapping[str, Entity] = {entity.name: entity for entity in _ALL}
BY_PATH: Mapping[str, Entity] = {entity.name.lower(): entity for entity in _ALL}
# What Intuit has and the sandbox does not: named so that the refusal says "not modelled", not "no such thing".
UNMODELLED = frozenset(
    (
        "Attachable",
        "Bill",
        "BillPayment",
        "Budget",
        "CompanyCurrency",
        "CreditCardPayment",
        "CustomerType",
        "Employee",
        "Estimate",
        "ExchangeRate",
        "InventoryAdjustment",
        "JournalCode",
        "PurchaseOrder",
        "RecurringTransaction",
        "ReimburseCharge",
        "SalesReceipt",
        "StatementCharge",
        "TaxAgency",
        "TaxPayment",
        "TaxService",
        "TimeActivity",
        "Transfer",
        "VendorCredit",
    )
)
UNMODELLED_PATHS = frozenset(("reports", "upload", "download", *(name.lower() for name in UNMODELLED)))
