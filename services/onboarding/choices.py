"""What can be chosen in QuickBooks for a mapping or a setting: labels people tell apart, and why one cannot be used.

All judged from the catalog, so it costs nothing while that is fresh.
https://developer.intuit.com/app/developer/qbo/docs/workflows/manage-sales-tax-for-non-us-locales
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection

from services.connections import catalog
from services.connections.catalog import Entry
from services.mapping.mappings import Kind

LISTS: Mapping[str, str] = {
    Kind.ITEM: "Item",
    Kind.ITEM_CATEGORY: "Item",
    Kind.DISCOUNT_ITEM: "Item",
    Kind.TAX_CODE: "TaxCode",
    Kind.TERM: "Term",
    Kind.PAYMENT_METHOD: "PaymentMethod",
    Kind.CLASS: "Class",
    Kind.CUSTOMER: "Customer",
    Kind.BILLING_PROFILE: "Customer",
    "deposit_account": "Account",
    "deposit_accounts": "Account",
    "default_class": "Class",
    "default_department": "Department",
    "write_off_item": "Item",
    "refund_account": "Account",
    "receivables_account": "Account",
}
"""From which list a kind of mapping, or a setting, is chosen."""

_ACCOUNTS: Mapping[str, tuple[frozenset[str], str]] = {
    "deposit_account": (
        frozenset({"Bank", "Other Current Asset"}),
        "money is deposited to a Bank or an Other Current Asset account",
    ),
    "refund_account": (
        frozenset({"Bank", "Other Current Asset"}),
        "money is given back from a Bank or an Other Current Asset account",
    ),
    "receivables_account": (
        frozenset({"Accounts Receivable"}),
        "what customers owe is on an Accounts Receivable account",
    ),
}
"""Which types of account a setting takes, and why."""

_NO_LINE = {
    "Category": "is a category, which no line may name; choose an item in it",
    "Group": "is a bundle; choose the items in it one by one",
}


Standing = Literal["active", "inactive", "gone", "unusable"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Something in QuickBooks that can be chosen; `hindrance` says why not, "" when it can.

    `details` is what a mapping keeps of it: the rate and rate id of a tax code, the currency of an account.
    """

    id: str
    name: str
    label: str
    standing: Standing = "active"
    hindrance: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def needed(kind: str) -> tuple[str, ...]:
    """The lists that choosing for a kind takes: tax codes show the percentages of their rates."""
    return ("TaxRate", "TaxCode") if kind == Kind.TAX_CODE else (LISTS[kind],)


def listed(connection: Connection, company_id: UUID, kind: str) -> list[Choice]:
    """Everything that can be chosen for a kind, by label; inactive, gone and impossible ones are left out."""
    rates = _rates(connection, company_id) if kind == Kind.TAX_CODE else {}
    found = [choice(entry, rates, kind) for entry in catalog.entries(connection, company_id, LISTS[kind])]
    return distinct([one for one in found if not one.hindrance])


def of(
    connection: Connection, company_id: UUID, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Choice]:
    """What is known of choices by kind and id; what was never seen in the company is not in the answer."""
    entries = catalog.find(connection, company_id, {(LISTS[kind], id_) for kind, id_ in wanted})
    taxes = any(kind == Kind.TAX_CODE for kind, _ in wanted)
    rates = _rates(connection, company_id) if taxes else {}
    return {
        (kind, id_): choice(entries[LISTS[kind], id_], rates, kind)
        for kind, id_ in wanted
        if (LISTS[kind], id_) in entries
    }


def choice(entry: Entry, rates: Mapping[str, Entry], kind: str) -> Choice:
    """One row of a list as a choice for a kind of mapping, or a setting."""
    label, details = entry.name or entry.id, dict[str, Any]()
    if entry.entity == "TaxCode":
        label, details = _tax_code(entry, rates)
    elif entry.entity == "Account":
        currency = (entry.data.get("CurrencyRef") or {}).get("value", "")
        label = f"{label} ({entry.data.get('AccountType')}{f', {currency}' if currency else ''})"
        details = {"currency": currency} if currency else {}
    elif entry.entity == "Customer":
        currency = (entry.data.get("CurrencyRef") or {}).get("value", "")
        label, details = (
            f"{label} ({currency})" if currency else label,
            {"currency": currency} if currency else {},
        )
    elif entry.entity == "Item" and entry.data.get("Sku"):
        label = f"{label} [{entry.data['Sku']}]"
    return Choice(entry.id, entry.name, label, *_standing(entry, kind), details)


def distinct(found: list[Choice]) -> list[Choice]:
    """The choices with labels that differ: where two would read alike, both show their ids."""
    alike = Counter(one.label.casefold() for one in found)
    return [
        replace(one, label=f"{one.label} · id {one.id}") if alike[one.label.casefold()] > 1 else one
        for one in found
    ]


def percentage(code: Entry, rates: Mapping[str, Entry], today: datetime.date) -> Decimal | None:
    """The combined sales rate of a tax code, in percent; None when it has none (TAX, NON) or one is unknown."""
    ids = _rate_ids(code)
    if not ids or any(id_ not in rates for id_ in ids):
        return None
    return sum((_in_force(rates[id_].data, today) for id_ in ids), Decimal(0))


def _tax_code(entry: Entry, rates: Mapping[str, Entry]) -> tuple[str, dict[str, Any]]:
    today = datetime.datetime.now(datetime.UTC).date()
    percent = percentage(entry, rates, today)
    if percent is None:
        said = str(entry.data.get("Description") or "")
        return (f"{entry.name} ({said})" if said and said != entry.name else entry.name), {}
    written = f"{percent.normalize():f}"
    parts = {id_: f"{_in_force(rates[id_].data, today).normalize():f}" for id_ in _rate_ids(entry)}
    several = [{"id": id_, "rate": rate} for id_, rate in parts.items()]
    details = {"rate": written} | (
        {"tax_rate_id": next(iter(parts))} if len(parts) == 1 else {"tax_rates": several}
    )
    return f"{entry.name} ({written}%)", details


def _rate_ids(code: Entry) -> list[str]:
    listed_ = (code.data.get("SalesTaxRateList") or {}).get("TaxRateDetail") or []
    return [str(one["TaxRateRef"]["value"]) for one in listed_ if one.get("TaxRateRef")]


def _in_force(rate: Mapping[str, Any], today: datetime.date) -> Decimal:
    """A rate that changed carries what it was and is; the present one has begun and not ended."""
    spans = [
        span
        for span in rate.get("EffectiveTaxRate") or []
        if str(span.get("EffectiveDate") or "")[:10] <= today.isoformat()
        and (not span.get("EndDate") or str(span["EndDate"])[:10] >= today.isoformat())
    ]
    latest = max(spans, key=lambda span: str(span.get("EffectiveDate") or ""), default=rate)
    return Decimal(str(latest.get("RateValue") or 0))


def _standing(entry: Entry, kind: str) -> tuple[Standing, str]:
    """Whether it can be chosen, and why not."""
    name = f"{entry.name} ({entry.id})"
    if entry.gone:
        return "gone", f"{name} is not in QuickBooks any more; choose another"
    if not entry.active:
        return "inactive", f"{name} is inactive in QuickBooks; make it active there, or choose another"
    if entry.data.get("Hidden") is True:
        return "inactive", f"{name} is hidden in QuickBooks; choose another"
    if entry.entity == "Item" and entry.data.get("Type") in _NO_LINE:
        return "unusable", f"{name} {_NO_LINE[entry.data['Type']]}"
    if entry.entity == "Account":
        types, wanted = _ACCOUNTS.get(kind, _ACCOUNTS["deposit_account"])
        if entry.data.get("AccountType") not in types:
            return "unusable", f"{name} is an account of type {entry.data.get('AccountType')}; {wanted}"
    return "active", ""


def _rates(connection: Connection, company_id: UUID) -> dict[str, Entry]:
    return {entry.id: entry for entry in catalog.entries(connection, company_id, "TaxRate")}
