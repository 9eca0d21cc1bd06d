"""Intuit's error codes: which class each belongs to, what Intuit calls it, and what to do about it.

The one place where a code becomes a decision. Names and meanings follow Intuit's list at
https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes ; the class and the
advice are ours. A code that is not here is classified by fault type and HTTP status (see `faults`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

FaultKind = Literal["transient", "throttle", "auth", "blocked", "needs_person", "bug"]
"""What a fault asks for.

transient: passes by itself, or after reading the object again. throttle: too many calls, wait. auth: the
connection must be renewed. blocked: the company cannot take calls for now. needs_person: someone must change
data or settings, here or in QuickBooks. bug: we built a call that QuickBooks can never accept.
"""

NOT_FOUND, STALE = "610", "5010"
"""The object is not there (any more); somebody changed it since its SyncToken was read."""


class Code(NamedTuple):
    """What is known of one error code."""

    kind: FaultKind
    name: str
    advice: str
    settles: bool = True
    """Whether the code says for certain that nothing was changed; without it the outcome is unknown."""


_CODES: dict[str, Code] = {
    # Authorization and authentication
    "100": Code("auth", "General Authentication Error", "Reconnect the company to QuickBooks."),
    "110": Code("auth", "Authentication OAuth Error", "Reconnect the company to QuickBooks."),
    "120": Code(
        "auth",
        "Authorization Failure",
        "The person who connected is no longer an admin of the company; let a present admin reconnect it.",
    ),
    "130": Code("transient", "Accessing Wrong Cluster", "Intuit is moving the company; try again later."),
    "140": Code("blocked", "Company Locked Out", "Intuit has locked the company; try again in some minutes."),
    "150": Code(
        "blocked",
        "Company Under Maintenance",
        "Intuit is maintaining the company; try again in some minutes.",
    ),
    # General
    "500": Code(
        "bug", "Unsupported operation", "QuickBooks does not offer this operation; check entity and encoding."
    ),
    "600": Code(
        "transient",
        "Duplicate Request ID",
        "The request id was used before; read back what that call has done before anything else.",
        settles=False,
    ),
    NOT_FOUND: Code(
        "needs_person",
        "Object Not Found",
        "Something named in the call was deleted or made inactive in QuickBooks; restore or replace it.",
    ),
    "620": Code(
        "needs_person",
        "Txn ID Cannot Be Linked",
        "The linked transaction is already paid, of another customer or of the wrong kind; check the link.",
    ),
    "630": Code("needs_person", "Duplicate Object", "The object exists already; link the existing one."),
    "700": Code("needs_person", "Parent Reference Invalid", "Choose a parent that exists and is active."),
    "800": Code("needs_person", "Cannot delete object", "Remove what depends on the object first."),
    "900": Code("needs_person", "Parent cannot be child", "Choose another parent."),
    "1000": Code("transient", "Operation failed", "Try again; if it stays, ask Intuit with the intuit_tid."),
    "1010": Code("transient", "Create Failed", "Try again; if it stays, ask Intuit with the intuit_tid."),
    "1020": Code("transient", "Update Failed", "Try again; if it stays, ask Intuit with the intuit_tid."),
    "1040": Code("bug", "Batch size exceeds allowed limit", "Send fewer items in one batch."),
    "1050": Code("bug", "Invalid Content Type", "Send JSON."),
    # Validation
    "2000": Code("bug", "Invalid or unsupported object name", "Check the entity's name."),
    "2010": Code("bug", "Request has invalid or unsupported property", "Remove or correct the property."),
    "2020": Code("bug", "Required param missing", "Supply the field that Intuit names."),
    "2030": Code("needs_person", "Invalid ID", "Check the id; it may belong to another company."),
    "2040": Code("needs_person", "Invalid String", "Remove the characters that QuickBooks cannot store."),
    "2050": Code("needs_person", "Invalid String Length", "Shorten the text to the length Intuit names."),
    "2060": Code("needs_person", "Invalid Date Format", "Correct the date."),
    "2070": Code("needs_person", "Invalid Date", "Correct the date."),
    "2080": Code("needs_person", "Invalid Number Format", "Correct the number."),
    "2090": Code("needs_person", "Invalid Number", "Correct the number; at most 15 digits."),
    "2100": Code("needs_person", "Invalid Decimal Format", "Correct the number."),
    "2110": Code("needs_person", "Invalid Decimal", "Correct the number; at most 15 digits."),
    "2120": Code("needs_person", "Invalid Type", "Choose an object of a type that fits."),
    "2130": Code("bug", "Invalid Request Id Format", "Use at most 50 plain characters as request id."),
    "2140": Code("needs_person", "Invalid Amount", "Correct the amount."),
    "2150": Code("needs_person", "Invalid Percent", "Correct the percentage."),
    "2160": Code("needs_person", "Invalid Quantity", "Correct the quantity."),
    "2170": Code("bug", "Invalid Enumeration", "Use one of the values that Intuit lists for the field."),
    "2180": Code("needs_person", "Invalid String Range", "Correct the text."),
    "2190": Code("needs_person", "Invalid Date Range", "Correct the dates."),
    "2200": Code("needs_person", "Malformed Website Address Format", "Correct the web address."),
    "2210": Code("needs_person", "Invalid Email Address Format", "Correct the e-mail address."),
    "2220": Code("needs_person", "Invalid Currency Type", "Choose a currency that the company uses."),
    "2230": Code("bug", "Invalid Boolean", "Send true or false."),
    "2240": Code("needs_person", "Invalid Number Range", "Correct the number."),
    "2250": Code("needs_person", "Missing lines", "Give the document at least one line."),
    "2260": Code("bug", "MissingPostingType", "Say Credit or Debit."),
    "2270": Code("bug", "MissingTaxApplicableOn", "Say what the tax applies to."),
    "2280": Code("needs_person", "MissingTaxAmount", "Give the tax amount that belongs to the tax code."),
    "2290": Code("needs_person", "NegativeAmount", "Use a credit memo, or make the amount positive."),
    "2300": Code("needs_person", "Amount on debits not equal to credits", "Balance debits and credits."),
    "2500": Code(
        "needs_person",
        "Invalid Reference Id",
        "A mapping names something that is deleted, inactive or of another company; choose it again.",
    ),
    "2600": Code("bug", "Invalid Request Conflict Element in Request", "Remove one of the two elements."),
    "3000": Code("needs_person", "Invalid Custom Field", "Check the custom field in QuickBooks."),
    # The gateway
    "3001": Code("throttle", "ThrottleExceeded", "Wait a minute before the company's next call."),
    "3100": Code(
        "auth",
        "ApplicationAuthorizationFailed",
        "The app may not use this company: check that environment and realm belong together, then reconnect.",
    ),
    "3200": Code(
        "auth", "ApplicationAuthenticationFailed", "The access token is expired or revoked; reconnect."
    ),
    "3201": Code("auth", "AuthenticationFailed", "The company was disconnected; reconnect it."),
    "3202": Code("auth", "EmptyField", "The access token is missing; reconnect the company."),
    # The query language
    "4000": Code("bug", "The query cannot be parsed", "Correct the query."),
    "4001": Code("bug", "The query is invalid", "Query only fields that Intuit marks as filterable."),
    "4002": Code("bug", "The query could not be processed", "Correct the query."),
    # Business rules
    "5000": Code("bug", "Deprecated field", "Remove the field."),
    STALE: Code(
        "transient",
        "Stale Object",
        "Someone changed the object: read it again, decide anew, and send its present SyncToken.",
    ),
    "5020": Code(
        "needs_person", "Permission Denied", "The company's QuickBooks plan or the user may not do this."
    ),
    "5030": Code(
        "needs_person",
        "Feature Not Supported",
        "The company's QuickBooks plan lacks this; change the setting.",
    ),
    "6000": Code("needs_person", "Business Validation Error", "Do what Intuit's text says, in QuickBooks."),
    "6010": Code("bug", "Invalid Account.AccountType && Account.SubType", "Give the account a type."),
    "6070": Code(
        "bug", "Amount calculation incorrect in the request", "Amount must be Qty times UnitPrice, rounded."
    ),
    "6080": Code("needs_person", "No Name Provided", "Give the customer a name."),
    "6090": Code("bug", "Discount Line missing required info", "Give the discount's amount or percentage."),
    "6100": Code("needs_person", "Invalid Line TaxCode in the request", "In the US map to TAX or NON."),
    "6130": Code(
        "needs_person",
        "Cannot change who customer bills with",
        "Settle the parent's documents first, in QuickBooks.",
    ),
    "6140": Code(
        "needs_person",
        "Duplicate Doc Num",
        "Look at the document that has this number already: link it, or give one of them another number.",
    ),
    "6150": Code("needs_person", "ParentRef Required Validation Error", "Name the parent."),
    "6160": Code("needs_person", "Invalid TaxCodeRef Error", "Map to a tax code that documents may use."),
    "6170": Code("bug", "Invalid TxnTaxDetail Error", "Send no tax detail with NotApplicable."),
    "6180": Code("needs_person", "Sub Level Limit", "Names nest at most five levels deep; choose a parent."),
    "6190": Code(
        "blocked",
        "Invalid Company Status Error",
        "The QuickBooks subscription has ended or has a billing problem; its owner must renew it.",
    ),
    "6200": Code(
        "needs_person",
        "Account Period Closed Error",
        "The books are closed for that date; choose what to do.",
    ),
    "6210": Code(
        "needs_person",
        "Account Period Closed Required Password Error",
        "The books are closed with a password for that date; choose what to do.",
    ),
    "6220": Code("needs_person", "Delete Entity Has Balance Error", "Settle the open balance first."),
    "6230": Code("needs_person", "Invalid TaxCodeRef Error", "Map to a tax code that documents may use."),
    "6240": Code(
        "needs_person",
        "Duplicate Name Exists Error",
        "The name is taken (inactive names count, and vendors and employees): link it or choose another.",
    ),
    "6250": Code("needs_person", "InvalidSalesCustomer", "Link the client to an active customer."),
    "6270": Code(
        "needs_person",
        "InventoryTxnDatedBeforeItemStartDate",
        "Date the document after the item's inventory start.",
    ),
    "6280": Code(
        "needs_person",
        "Delete Customer Has Unbilled Expenses Error",
        "Settle the customer's unbilled charges.",
    ),
    "6310": Code("needs_person", "MissingCustomer", "Name the customer."),
    "6420": Code("needs_person", "Email address is required", "Give the customer an e-mail address."),
    "6430": Code("needs_person", "Invalid account type used", "Map to an account of a fitting type."),
    "6440": Code("needs_person", "Transaction Detail Information Required", "Give each line an item."),
    "6450": Code("needs_person", "Attempt to Void Transaction failed", "The money is settled; refund it."),
    "6470": Code("needs_person", "TaxLiabilityAccount or TaxRateError", "Check tax codes in QuickBooks."),
    "6480": Code(
        "needs_person",
        "Matched Transaction Delete Error",
        "The transaction is matched to the bank feed; undo the match in QuickBooks first.",
    ),
    "6540": Code(
        "needs_person",
        "Deposited Transaction cannot be changed",
        "Take the payment off its deposit in QuickBooks first.",
    ),
    # System
    "10000": Code(
        "transient",
        "An application error has occurred while processing your request",
        "Find out whether the call took effect, then send the same bytes under the same request id.",
        settles=False,
    ),
    "10100": Code("bug", "Result Set Big", "Ask for fewer rows at once."),
    "10200": Code(
        "blocked",
        "Company Reset",
        "The company's data was wiped in QuickBooks: every link is void; reconnect and match again.",
    ),
}

TABLE: Mapping[str, Code] = MappingProxyType(_CODES)
"""Code, without leading zeros -> what is known of it."""
