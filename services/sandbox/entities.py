"""The entities of the API: what may be written, what may be queried, what can be done with each.

Lengths: https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities and the texts of
Intuit's XSD. Filterable fields: the same pages; whatever is not flagged there answers 4001.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from services.sandbox.fields import (
    ADDRESS,
    BASE,
    COPY_ADDRESS,
    EMAIL_ADDRESS,
    MEMO,
    PHONE,
    WEB,
    Fields,
    choice,
    day,
    flag,
    group,
    money,
    not_modelled,
    quantity,
    read_only,
    ref,
    rows,
    text,
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


_CUSTOM_FIELD: Fields = {
    "DefinitionId": text(10),
    "Name": text(100),
    "Type": text(20),
    "StringValue": text(31),
}
_SALES_ITEM: Fields = {
    "ItemRef": ref,
    "ClassRef": ref,
    "Qty": quantity,
    "UnitPrice": quantity,
    "TaxCodeRef": ref,
    "ServiceDate": day,
    "ItemAccountRef": read_only,
    "DiscountRate": not_modelled("per-line discounts"),
    "DiscountAmt": not_modelled("per-line discounts"),
    "MarkupInfo": not_modelled("mark-ups"),
    "RatePercent": not_modelled("percentage rates"),
    "PriceLevelRef": not_modelled("price levels"),
    "TaxInclusiveAmt": not_modelled("tax-inclusive amounts"),
    "TaxClassificationRef": read_only,
    "DeferredRevenue": not_modelled("revenue recognition"),
}
_DISCOUNT: Fields = {
    "PercentBased": flag,
    "DiscountPercent": quantity,
    "DiscountAccountRef": ref,
    "ClassRef": ref,
    "TaxCodeRef": ref,
}
_SALES_LINE: Fields = {
    "Id": text(50),
    "LineNum": quantity,
    "Description": text(4000),
    "Amount": money,
    "DetailType": choice(
        "SalesItemLineDetail",
        "DiscountLineDetail",
        "SubTotalLineDetail",
        "DescriptionOnly",
        "GroupLineDetail",
        "TaxLineDetail",
    ),
    "SalesItemLineDetail": group(_SALES_ITEM),
    "DiscountLineDetail": group(_DISCOUNT),
    "SubTotalLineDetail": group({"ItemRef": ref}),
    "DescriptionLineDetail": group({"ServiceDate": day, "TaxCodeRef": ref}),
    "GroupLineDetail": not_modelled("bundles"),
    "TaxLineDetail": not_modelled("tax as an ordinary line"),
    "LinkedTxn": not_modelled("lines linked to estimates or time"),
    "CustomField": rows(_CUSTOM_FIELD),
}
_TAX_LINE: Fields = {
    "Id": read_only,
    "Amount": money,
    "DetailType": choice("TaxLineDetail"),
    "TaxLineDetail": group(
        {
            "TaxRateRef": ref,
            "PercentBased": flag,
            "TaxPercent": quantity,
            "NetAmountTaxable": money,
            "TaxInclusiveAmount": not_modelled("tax-inclusive amounts"),
            "OverrideDeltaAmount": read_only,
            "ServiceDate": day,
        }
    ),
}
_SALES: Fields = {
    **BASE,
    "CustomerRef": ref,
    "Line": rows(_SALES_LINE),
    "DocNumber": text(21),
    "TxnDate": day,
    "PrivateNote": text(4000),
    "CustomerMemo": group(MEMO),
    "BillEmail": group(EMAIL_ADDRESS),
    "BillAddr": group(ADDRESS),
    "ShipAddr": group(ADDRESS),
    "ShipFromAddr": group(ADDRESS),
    "ClassRef": ref,
    "DepartmentRef": ref,
    "CurrencyRef": ref,
    "ExchangeRate": quantity,
    "GlobalTaxCalculation": choice("TaxExcluded", "TaxInclusive", "NotApplicable"),
    "TxnTaxDetail": group(
        {
            "TxnTaxCodeRef": ref,
            "TotalTax": money,
            "TaxLine": rows(_TAX_LINE),
            "TaxReviewStatus": read_only,
        }
    ),
    "ApplyTaxAfterDiscount": flag,
    "EmailStatus": choice("NotSet", "NeedToSend", "EmailSent"),
    "PrintStatus": choice("NotSet", "NeedToPrint", "PrintComplete"),
    "CustomField": rows(_CUSTOM_FIELD),
    "TaxExemptionRef": read_only,
    "DeliveryInfo": read_only,
    "TotalAmt": read_only,
    "HomeTotalAmt": read_only,
    "Balance": read_only,
    "HomeBalance": read_only,
    "FreeFormAddress": flag,
    "TxnSource": text(100),
    "RecurDataRef": not_modelled("recurring transactions"),
    "ShipMethodRef": not_modelled("shipping"),
    "TrackingNum": text(31),
}
_INVOICE: Fields = {
    **_SALES,
    "DueDate": day,
    "ShipDate": day,
    "SalesTermRef": ref,
    "BillEmailCc": group(COPY_ADDRESS),
    "BillEmailBcc": group(COPY_ADDRESS),
    "AllowIPNPayment": flag,
    "AllowOnlinePayment": flag,
    "AllowOnlineCreditCardPayment": flag,
    "AllowOnlineACHPayment": flag,
    "LinkedTxn": read_only,
    "InvoiceLink": read_only,
    "Deposit": not_modelled("a deposit on the invoice itself"),
    "DepositToAccountRef": not_modelled("a deposit on the invoice itself"),
}
_LINK: Fields = {"TxnId": text(50), "TxnType": text(50), "TxnLineId": text(50)}
_PAYMENT: Fields = {
    **BASE,
    "CustomerRef": ref,
    "TotalAmt": money,
    "TxnDate": day,
    "PrivateNote": text(4000),
    "PaymentMethodRef": ref,
    "PaymentRefNum": text(21),
    "DepositToAccountRef": ref,
    "ARAccountRef": ref,
    "CurrencyRef": ref,
    "ExchangeRate": quantity,
    "Line": rows(
        {
            "Id": read_only,
            "LineNum": read_only,
            "Description": text(4000),
            "Amount": money,
            "LinkedTxn": rows(_LINK),
            "LineEx": read_only,
        }
    ),
    "UnappliedAmt": read_only,
    "ProcessPayment": not_modelled("charging a card"),
    "CreditCardPayment": not_modelled("charging a card"),
    "LinkedTxn": read_only,
    "TxnSource": text(100),
    "HomeTotalAmt": read_only,
    "TaxExemptionRef": read_only,
}
_CUSTOMER: Fields = {
    **BASE,
    "DisplayName": text(500),
    "Title": text(16),
    "GivenName": text(100),
    "MiddleName": text(100),
    "FamilyName": text(100),
    "Suffix": text(16),
    "CompanyName": text(100),
    "PrintOnCheckName": text(110),
    "FullyQualifiedName": read_only,
    "Active": flag,
    "PrimaryPhone": group(PHONE),
    "AlternatePhone": group(PHONE),
    "Mobile": group(PHONE),
    "Fax": group(PHONE),
    "PrimaryEmailAddr": group(EMAIL_ADDRESS),
    "WebAddr": group(WEB),
    "BillAddr": group(ADDRESS),
    "ShipAddr": group(ADDRESS),
    "Notes": text(2000),
    "Job": flag,
    "BillWithParent": flag,
    "ParentRef": ref,
    "Level": read_only,
    "Taxable": flag,
    "DefaultTaxCodeRef": ref,
    "ResaleNum": text(16),
    "SalesTermRef": ref,
    "PaymentMethodRef": ref,
    "CurrencyRef": ref,
    "PreferredDeliveryMethod": text(20),
    "PrimaryTaxIdentifier": text(20),
    "Balance": read_only,
    "BalanceWithJobs": read_only,
    "OpenBalanceDate": not_modelled("opening balances"),
    "V4IDPseudonym": read_only,
    "IsProject": read_only,
    "ClientEntityId": read_only,
    "TaxExemptionReasonId": text(5),
    "ARAccountRef": ref,
}
_ITEM: Fields = {
    **BASE,
    "Name": text(100),
    "Description": text(4000),
    "Active": flag,
    "FullyQualifiedName": read_only,
    "Taxable": flag,
    "SalesTaxIncluded": flag,
    "SubItem": flag,
    "ParentRef": ref,
    "Level": read_only,
    "UnitPrice": quantity,
    "Type": choice("Service", "NonInventory", "Inventory", "Group", "Category"),
    "IncomeAccountRef": ref,
    "ExpenseAccountRef": ref,
    "PurchaseDesc": text(1000),
    "PurchaseCost": quantity,
    "SalesTaxCodeRef": ref,
    "Sku": text(100),
    "TrackQtyOnHand": not_modelled("stock"),
    "ItemCategoryType": read_only,
    "TaxClassificationRef": ref,
}
_NAMED: Fields = {**BASE, "Name": text(100), "Active": flag}
_TREE: Fields = {
    **_NAMED,
    "ParentRef": ref,
    "FullyQualifiedName": read_only,
    "SubClass": flag,
    "SubDepartment": flag,
}
_TERM: Fields = {
    **_NAMED,
    "Name": text(31),
    "Type": read_only,
    "DueDays": quantity,
    "DiscountPercent": quantity,
    "DiscountDays": quantity,
    "DayOfMonthDue": quantity,
    "DueNextMonthDays": quantity,
}
_ACCOUNT: Fields = {
    **_NAMED,
    "AccountType": choice(
        "Bank",
        "Accounts Receivable",
        "Other Current Asset",
        "Fixed Asset",
        "Other Asset",
        "Accounts Payable",
        "Credit Card",
        "Other Current Liability",
        "Long Term Liability",
        "Equity",
        "Income",
        "Other Income",
        "Cost of Goods Sold",
        "Expense",
        "Other Expense",
        "Non-Posting",
    ),
    "AccountSubType": text(50),
    "AcctNum": text(7),
    "Description": text(100),
    "Classification": read_only,
    "CurrencyRef": ref,
    "FullyQualifiedName": read_only,
    "SubAccount": flag,
    "ParentRef": ref,
    "CurrentBalance": read_only,
    "CurrentBalanceWithSubAccounts": read_only,
}
_JOURNAL_LINE: Fields = {
    "Id": text(50),
    "LineNum": quantity,
    "Description": text(4000),
    "Amount": money,
    "DetailType": choice("JournalEntryLineDetail"),
    "JournalEntryLineDetail": group(
        {
            "PostingType": choice("Debit", "Credit"),
            "AccountRef": ref,
            "Entity": group({"Type": choice("Customer"), "EntityRef": ref}),
            "ClassRef": ref,
            "DepartmentRef": ref,
        }
    ),
}
_JOURNAL: Fields = {
    **BASE,
    "DocNumber": text(21),
    "TxnDate": day,
    "PrivateNote": text(4000),
    "CurrencyRef": ref,
    "ExchangeRate": quantity,
    "Adjustment": flag,
    "TotalAmt": read_only,
    "HomeTotalAmt": read_only,
    "TxnTaxDetail": not_modelled("tax on journal entries"),
    "Line": rows(_JOURNAL_LINE),
}
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
        _INVOICE,
        {**_DOCUMENT, "DueDate": "date", "Balance": "number"},
        deletable=True,
        voidable=True,
    ),
    Entity(
        "CreditMemo",
        "transaction",
        {**_SALES, "RemainingCredit": read_only, "PaymentMethodRef": ref, "SalesTermRef": ref},
        {**_DOCUMENT, "Balance": "number"},
        deletable=True,
    ),
    Entity(
        "RefundReceipt",
        "transaction",
        {
            **_SALES,
            "DepositToAccountRef": ref,
            "PaymentMethodRef": ref,
            "PaymentRefNum": text(21),
            "LinkedTxn": not_modelled("refunds linked to other transactions"),
        },
        {**_DOCUMENT, "Balance": "number"},
        deletable=True,
    ),
    Entity(
        "Payment",
        "transaction",
        _PAYMENT,
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
        _JOURNAL,
        {"Id": "id", "DocNumber": "string", "TxnDate": "date", **_META},
        deletable=True,
    ),
    Entity("Deposit", "transaction", {}, {"Id": "id", "TxnDate": "date", **_META}, writable=False),
    Entity("Customer", "name", _CUSTOMER, _NAME_FILTERS),
    Entity("Item", "list", _ITEM, {**_TREE_FILTERS, "Type": "string", "Sku": "string"}),
    Entity(
        "Account",
        "list",
        _ACCOUNT,
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
    Entity("Term", "list", _TERM, {**_LIST, "Type": "string"}),
    Entity("Class", "list", _TREE, _TREE_FILTERS),
    Entity("Department", "list", _TREE, _TREE_FILTERS),
    Entity(
        "PaymentMethod",
        "list",
        {**_NAMED, "Name": text(15), "Type": choice("CREDIT_CARD", "NON_CREDIT_CARD")},
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
        "Purchase",
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
        "Vendor",
        "VendorCredit",
    )
)
UNMODELLED_PATHS = frozenset(name.lower() for name in UNMODELLED)
