"""Invoices as rows of the CSV file that QuickBooks Online imports (Settings, Import data, Invoices).

Names stand where the API has ids: as mapped, else billing's own, which is reported as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from messages.invoices import InvoiceFinalized
from messages.lines import Line
from messages.money import exponent, round_half_up, to_decimal
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound import customers, lines, taxes
from services.outbound.amounts import priced
from services.outbound.books import Books
from services.spreadsheets import Cell

COLUMNS: Final = (
    "*InvoiceNo",
    "*Customer",
    "*InvoiceDate",
    "*DueDate",
    "*Item",
    "ItemDescription",
    "*ItemQuantity",
    "*ItemRate",
    "*ItemAmount",
    "Terms",
    "Memo",
    "TaxCode",
    "TaxAmount",
)

DEFAULT_TERMS: Final = "net_30"


@dataclass(frozen=True, slots=True)
class Missing:
    """A mapping that is not set: the file has `name`, billing's own, where QuickBooks' name should stand."""

    kind: str
    key: str
    name: str


def keys(invoice: InvoiceFinalized, books: Books | None) -> Iterator[Key]:
    """Every mapping that the rows of an invoice may take names from; none without a company."""
    if books is None:
        return
    yield from lines.keys(invoice)
    yield from taxes.keys(invoice, books)
    yield from _customer_keys(invoice, books)
    yield ("term", invoice.terms or DEFAULT_TERMS, "")


def rows(
    invoice: InvoiceFinalized, books: Books | None, mappings: Mapping[Key, Mapped], missing: set[Missing]
) -> list[list[Cell]]:
    """One row a line. Texts of headings, which have no row, stand before the description of the line they head."""
    customer = _customer(invoice, books, mappings, missing)
    terms = _name(
        [("term", invoice.terms or DEFAULT_TERMS, "")], mappings, invoice.terms or DEFAULT_TERMS, missing
    )
    memo = f"AlgaPSA: {invoice.id}" + (f" | PO {invoice.po_number}" if invoice.po_number else "")
    by_id = {line.id: line for line in invoice.lines}
    written: list[list[Cell]] = []
    headings: list[str] = []
    for line in invoice.lines:
        if lines.is_note(line):
            headings.append(line.description)
            continue
        price = priced(line.quantity, line.unit_price, line.net_amount, invoice.currency)
        told = f"{line.description} ({price.remark})" if price.remark else line.description
        written.append(
            [
                invoice.number,
                customer,
                _day(invoice.invoice_date),
                _day(invoice.due_date),
                _item(line, mappings, missing),
                ": ".join([*headings, told]),
                price.quantity,
                price.unit_price,
                round_half_up(price.amount, max(2, exponent(invoice.currency))),
                terms,
                memo,
                *_tax(invoice, line, by_id, books, mappings, missing),
            ]
        )
        headings = []
    return written


def _customer_keys(invoice: InvoiceFinalized, books: Books) -> tuple[Key, ...]:
    profile = invoice.billing_profile
    if profile is not None and profile.bills_separately:
        return customers.keys("billing_profile", profile.id, invoice.currency, books)
    return customers.keys("customer", invoice.client.id, invoice.currency, books)


def _customer(
    invoice: InvoiceFinalized, books: Books | None, mappings: Mapping[Key, Mapped], missing: set[Missing]
) -> str:
    profile = invoice.billing_profile
    own = f"{invoice.client.name}:{profile.name}" if profile and profile.bills_separately else None
    wanted = _customer_keys(invoice, books) if books else [("customer", invoice.client.id, invoice.currency)]
    return _name(wanted, mappings, own or invoice.client.name, missing)


def _item(line: Line, mappings: Mapping[Key, Mapped], missing: set[Missing]) -> str:
    wanted: list[Key] = [("discount_item", "", "")] if line.is_discount else []
    if line.service_id is not None:
        wanted.append(("item", line.service_id, ""))
    if line.category_id is not None:
        wanted.append(("item_category", line.category_id, ""))
    wanted = wanted or [("item", line.description, "")]
    return _name(wanted, mappings, line.service_id or line.category_id or "Discount", missing)


def _tax(
    invoice: InvoiceFinalized,
    line: Line,
    by_id: Mapping[str, Line],
    books: Books | None,
    mappings: Mapping[Key, Mapped],
    missing: set[Missing],
) -> tuple[Cell, Cell]:
    """Tax code and amount of a line; QuickBooks works out what billing did not."""
    if invoice.tax_source != "internal":
        return "", ""
    amount = round_half_up(to_decimal(line.tax_amount, invoice.currency), max(2, exponent(invoice.currency)))
    governing = taxes.governing(line, by_id)
    region = governing.tax_region or taxes.DEFAULT_REGION
    if books is None or books.in_us:
        if not governing.is_taxable:
            return "", amount
        wanted: list[Key] = [("tax_code", region, "")]
    else:
        wanted = [("tax_code", region, taxes.treatment(governing)), ("tax_code", region, "")]
    return _name(wanted, mappings, governing.tax_region or "", missing), amount


def _name(wanted: Iterable[Key], mappings: Mapping[Key, Mapped], own: str, missing: set[Missing]) -> str:
    """What QuickBooks calls it; where it is not mapped, or was mapped without its name, what billing calls it."""
    listed = list(wanted)
    for key in listed:
        if key in mappings and mappings[key].external_name:
            return mappings[key].external_name
    missing.add(Missing(listed[0][0], listed[0][1], own))
    return own


def _day(day: date | None) -> str | None:
    return f"{day:%m/%d/%Y}" if day is not None else None
