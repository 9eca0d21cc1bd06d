"""What every refusal by QuickBooks means to an accounting admin: what happened, why, how to fix it, and where.

One entry for each code of `services.quickbooks.fault_codes.TABLE`, which classifies codes and names the remedy; here
stands what a person needs around it. Intuit's own list:
https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from services.quickbooks.fault_codes import TABLE, FaultKind
from services.quickbooks.faults import Fault

Place = Literal[
    "connection", "customers", "items", "taxes", "accounts", "terms", "settings", "banking", "plan", ""
]
"""Where a person goes to fix it: a page of QuickBooks, or the PSA's connection; "" when it is the document itself."""


class Words(NamedTuple):
    """One refusal in plain words: whole sentences, without the vocabulary of programmers."""

    happened: str
    why: str
    fix: str
    place: Place


class _Entry(NamedTuple):
    happened: str
    why: str
    place: Place = ""


_OURS: Final = (
    "This is a mistake of algasync, not of your books; nothing was changed. Give support the intuit_tid; retry when a "
    "corrected version is installed."
)
_PASSES: Final = "It usually passes by itself, and algasync has tried for about an hour."
_BUILT_WRONG: Final = "algasync built the request in a way that QuickBooks can never accept."

_ENTRIES: Final[dict[str, _Entry]] = {
    # Authorization and authentication
    "100": _Entry(
        "QuickBooks does not accept the connection of this company.",
        "Its authorization has ended or was taken back.",
        "connection",
    ),
    "110": _Entry(
        "QuickBooks does not accept the connection of this company.",
        "The authorization given when the company was connected is no longer valid.",
        "connection",
    ),
    "120": _Entry(
        "QuickBooks says that the connection may not act for this company.",
        "The person who connected it has left the company or lost the admin role there.",
        "connection",
    ),
    "130": _Entry(
        "QuickBooks could not find the company's books for the moment.",
        "Intuit moves companies between its data centres now and then.",
    ),
    "140": _Entry("QuickBooks has locked the company.", "Intuit locks a company during its own work on it."),
    "150": _Entry("QuickBooks is closed for maintenance.", "Intuit is working on the company's books."),
    # General
    "500": _Entry("QuickBooks does not offer what was asked of it.", _BUILT_WRONG),
    "600": _Entry(
        "QuickBooks says that it has seen this request before.",
        "An earlier try may have taken effect although its answer was lost.",
    ),
    "610": _Entry(
        "Something that the document names is not in QuickBooks any more.",
        "It was deleted or made inactive there after it had been mapped or linked.",
    ),
    "620": _Entry(
        "QuickBooks would not connect the payment or credit with its document.",
        "The document is settled already, belongs to another customer, or is of a kind that cannot be paid this way.",
    ),
    "630": _Entry(
        "QuickBooks has this already.", "The same thing was entered there by hand or by another program."
    ),
    "700": _Entry(
        "The parent that was named is not usable in QuickBooks.", "It is inactive, deleted or itself a child."
    ),
    "800": _Entry(
        "QuickBooks would not delete it.",
        "Something else rests on it, such as a payment or a reconciled bank line.",
    ),
    "900": _Entry("QuickBooks would not move it below that parent.", "It would become its own ancestor."),
    "1000": _Entry("QuickBooks failed at its own work.", "The cause lies within Intuit's servers."),
    "1010": _Entry("QuickBooks failed to create it.", "The cause lies within Intuit's servers."),
    "1020": _Entry("QuickBooks failed to change it.", "The cause lies within Intuit's servers."),
    "1040": _Entry("QuickBooks refused a bundle of requests as too large.", _BUILT_WRONG),
    "1050": _Entry("QuickBooks could not read the request.", _BUILT_WRONG),
    # Validation
    "2000": _Entry("QuickBooks does not know the kind of thing that was asked for.", _BUILT_WRONG),
    "2010": _Entry("QuickBooks does not know a field of the request.", _BUILT_WRONG),
    "2020": _Entry("QuickBooks misses a field in the request.", _BUILT_WRONG),
    "2030": _Entry(
        "An id in the document means nothing in this company.",
        "It is mistyped, or it belongs to another QuickBooks company.",
    ),
    "2040": _Entry(
        "A text holds characters that QuickBooks cannot store.",
        "Emoji, control characters and some scripts are not allowed in every field.",
    ),
    "2050": _Entry(
        "A text is too long for QuickBooks.", "QuickBooks keeps fewer characters than billing does."
    ),
    "2060": _Entry("QuickBooks cannot read a date.", "The date does not exist or is not written as a date."),
    "2070": _Entry("QuickBooks does not accept a date.", "The date does not exist, or lies too far away."),
    "2080": _Entry("QuickBooks cannot read a number.", "It is not written as a number."),
    "2090": _Entry("QuickBooks does not accept a number.", "It is too large or has too many digits."),
    "2100": _Entry("QuickBooks cannot read an amount.", "It is not written as a decimal number."),
    "2110": _Entry("QuickBooks does not accept an amount.", "It is too large or has too many decimals."),
    "2120": _Entry(
        "Something that was named is of the wrong type in QuickBooks.",
        "For example an item that is not for sale, or an account that is no income account.",
    ),
    "2130": _Entry("QuickBooks did not accept the number of the request.", _BUILT_WRONG),
    "2140": _Entry(
        "QuickBooks does not accept an amount of the document.", "It is negative, zero or too large there."
    ),
    "2150": _Entry("QuickBooks does not accept a percentage.", "It lies outside of 0 to 100."),
    "2160": _Entry("QuickBooks does not accept a quantity.", "It is negative or has too many decimals."),
    "2170": _Entry("QuickBooks does not know a choice that was made for a field.", _BUILT_WRONG),
    "2180": _Entry("QuickBooks does not accept a text.", "It lies outside of what the field allows."),
    "2190": _Entry("QuickBooks does not accept two dates together.", "The end lies before the beginning."),
    "2200": _Entry("QuickBooks does not accept a web address.", "It is not written as a complete address."),
    "2210": _Entry(
        "QuickBooks does not accept an e-mail address.", "The client's billing address has a typing mistake."
    ),
    "2220": _Entry(
        "QuickBooks does not know the document's currency.",
        "The company does not use several currencies, or this one is not among them.",
        "settings",
    ),
    "2230": _Entry("QuickBooks could not read a yes or no.", _BUILT_WRONG),
    "2240": _Entry("QuickBooks does not accept a number.", "It lies outside of what the field allows."),
    "2250": _Entry("QuickBooks takes no document without lines.", "The document has nothing to charge for."),
    "2260": _Entry("QuickBooks misses the side of a journal line.", _BUILT_WRONG),
    "2270": _Entry("QuickBooks misses what a tax applies to.", _BUILT_WRONG),
    "2280": _Entry(
        "QuickBooks misses the amount of a tax.",
        "The tax code was named without an amount to go with it.",
        "taxes",
    ),
    "2290": _Entry(
        "QuickBooks takes no negative total here.", "An invoice or payment there is never below zero."
    ),
    "2300": _Entry("QuickBooks refused an entry that does not balance.", "Debits and credits differ."),
    "2500": _Entry(
        "QuickBooks does not find something that the document refers to.",
        "A mapping names an item, tax code, term or customer that was deleted or made inactive.",
        "items",
    ),
    "2600": _Entry("QuickBooks found two things in the request that exclude each other.", _BUILT_WRONG),
    "3000": _Entry(
        "QuickBooks does not accept a custom field.",
        "The field was switched off or renamed in the company's settings.",
        "settings",
    ),
    # The gateway
    "3001": _Entry(
        "QuickBooks had no room for more requests.",
        "Intuit allows a company some hundred requests a minute, and other apps use the same allowance.",
    ),
    "3100": _Entry(
        "QuickBooks says that algasync may not use this company.",
        "The app and the company are not in the same environment, or the app's access was removed.",
        "connection",
    ),
    "3200": _Entry(
        "QuickBooks did not recognise the connection.",
        "The authorization has ended or was revoked.",
        "connection",
    ),
    "3201": _Entry(
        "QuickBooks did not recognise the connection.",
        "Somebody disconnected the app in QuickBooks.",
        "connection",
    ),
    "3202": _Entry(
        "QuickBooks was asked without an authorization.", "The stored authorization is gone.", "connection"
    ),
    # The query language
    "4000": _Entry("QuickBooks could not read a question.", _BUILT_WRONG),
    "4001": _Entry("QuickBooks does not answer such a question.", _BUILT_WRONG),
    "4002": _Entry("QuickBooks could not work on a question.", _BUILT_WRONG),
    # Business rules
    "5000": _Entry("QuickBooks no longer takes a field of the request.", _BUILT_WRONG),
    "5010": _Entry(
        "Somebody changed it in QuickBooks at the same moment.",
        "QuickBooks refuses a change by someone who has not seen the newest version.",
    ),
    "5020": _Entry(
        "QuickBooks does not permit it.",
        "The plan of the company, or the role of whoever connected it, does not include this.",
        "plan",
    ),
    "5030": _Entry(
        "The company's QuickBooks plan does not include something the document needs.",
        "For example classes, locations, several currencies or inventory.",
        "plan",
    ),
    "6000": _Entry(
        "A rule of QuickBooks forbids it.", "QuickBooks names the rule in its answer, which is repeated here."
    ),
    "6010": _Entry("QuickBooks does not accept the kind of an account.", _BUILT_WRONG),
    "6070": _Entry("QuickBooks computes another amount for a line.", _BUILT_WRONG),
    "6080": _Entry("QuickBooks takes no customer without a name.", "The client has no name in billing."),
    "6090": _Entry("QuickBooks misses the amount of a discount.", _BUILT_WRONG),
    "6100": _Entry(
        "QuickBooks does not accept the tax code of a line.",
        "Companies in the US know only taxable and not taxable for a line.",
        "taxes",
    ),
    "6130": _Entry(
        "QuickBooks would not change who is billed for the customer.",
        "The customer is billed with its parent, which has open documents.",
        "customers",
    ),
    "6140": _Entry(
        "The document's number is in use in QuickBooks.",
        "The company's settings warn of numbers that are used twice, and another document has this one.",
    ),
    "6150": _Entry("QuickBooks misses the parent of a sub-customer.", "None was named.", "customers"),
    "6160": _Entry(
        "QuickBooks does not accept a tax code.",
        "It is inactive, or for purchases and not for sales.",
        "taxes",
    ),
    "6170": _Entry("QuickBooks takes no tax on a document without tax.", _BUILT_WRONG),
    "6180": _Entry(
        "QuickBooks nests customers and items at most five deep.",
        "The parent is already the fifth.",
        "customers",
    ),
    "6190": _Entry(
        "The company's QuickBooks subscription does not allow it.",
        "The subscription was cancelled, has run out, or its last bill is unpaid.",
        "plan",
    ),
    "6200": _Entry(
        "The books are closed for the document's date.",
        "Somebody closed the period, so that its figures stay as they were reported.",
        "settings",
    ),
    "6210": _Entry(
        "The books are closed with a password for the document's date.",
        "Somebody closed the period, and no program may enter the password.",
        "settings",
    ),
    "6220": _Entry(
        "QuickBooks would not delete it with an open balance.", "Money is still owed on it.", "customers"
    ),
    "6230": _Entry(
        "QuickBooks does not accept a tax code.",
        "It is inactive, or it is not for this kind of document.",
        "taxes",
    ),
    "6240": _Entry(
        "The name is taken in QuickBooks.",
        "Customers, vendors and employees share one list of names, and inactive ones count.",
        "customers",
    ),
    "6250": _Entry(
        "QuickBooks does not accept the customer.",
        "The customer is inactive, deleted or merged.",
        "customers",
    ),
    "6270": _Entry(
        "The document is dated before QuickBooks has stock of an item.",
        "An inventory item cannot be sold before its starting date.",
        "items",
    ),
    "6280": _Entry(
        "QuickBooks would not delete the customer.",
        "It has time or expenses that are not billed.",
        "customers",
    ),
    "6310": _Entry("QuickBooks misses the customer of the document.", "None was named.", "customers"),
    "6420": _Entry(
        "QuickBooks wants an e-mail address.",
        "The document is to be e-mailed from QuickBooks, and its customer has no address.",
        "customers",
    ),
    "6430": _Entry(
        "QuickBooks does not accept an account.", "Its type does not fit what it is used for.", "accounts"
    ),
    "6440": _Entry("A line of the document names no item.", "QuickBooks sells items only.", "items"),
    "6450": _Entry("QuickBooks would not void it.", "Its money is settled already."),
    "6470": _Entry(
        "QuickBooks could not post the tax.", "A tax rate there has no account for what is owed.", "taxes"
    ),
    "6480": _Entry(
        "QuickBooks would not change or delete it.", "It is matched to a line of the bank feed.", "banking"
    ),
    "6540": _Entry(
        "QuickBooks would not change the payment.", "It is part of a bank deposit already.", "banking"
    ),
    # System
    "10000": _Entry(
        "QuickBooks broke off with an error of its own.",
        "The cause lies within Intuit's servers, and whether the request took effect is not certain yet.",
    ),
    "10100": _Entry("QuickBooks had too much to answer at once.", _BUILT_WRONG),
    "10200": _Entry(
        "The company's data was wiped in QuickBooks.",
        "Somebody reset the company, so nothing of what was linked exists there any more.",
        "connection",
    ),
}

ENTRIES: Final[Mapping[str, _Entry]] = MappingProxyType(_ENTRIES)

_UNKNOWN: Final[Mapping[FaultKind, _Entry]] = {
    "transient": _Entry("QuickBooks failed at its own work.", "The cause lies within Intuit's servers."),
    "throttle": _ENTRIES["3001"],
    "auth": _ENTRIES["100"],
    "blocked": _ENTRIES["150"],
    "needs_person": _ENTRIES["6000"],
    "bug": _Entry("QuickBooks could not work with the request.", _BUILT_WRONG),
}

UNEXPLAINED: Final = Words(
    "QuickBooks did not accept it.",
    "It gave no code that would say more.",
    "Do what Intuit's text says, in QuickBooks. Then retry.",
    "",
)
"""A refusal without a fault."""


def of_code(code: str) -> Words:
    """The words of a code of the table."""
    known = TABLE[code]
    return _words(_ENTRIES[code], known.kind, known.advice)


def of_fault(fault: Fault) -> Words:
    """The words of a refusal, also of one whose code the table does not know."""
    return _words(_ENTRIES.get(fault.code) or _UNKNOWN[fault.kind], fault.kind, fault.advice)


def _words(entry: _Entry, kind: FaultKind, advice: str) -> Words:
    if kind == "bug":
        fix = _OURS
    elif kind in {"transient", "throttle"}:
        fix = f"{_PASSES} {advice} Then retry."
    else:
        fix = f"{advice} Then retry."
    return Words(entry.happened, entry.why, fix, entry.place)
