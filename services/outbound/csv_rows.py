"""Invoices as rows of the CSV file that QuickBooks Online imports, and credit notes as rows of a list to enter.

Invoices: Settings, Import data, Invoices. Credit notes have an import of their own in some countries only, where the
person who imports says which heading is which; elsewhere they are entered by hand, line by line.
Names stand where the API has ids: as mapped, else billing's own, which is reported as missing.
https://quickbooks.intuit.com/learn-support/en-us/help-articles/how-to-import-credit-notes/00/332855
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from messages.credits import CreditNoteFinalized
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

CREDIT_NOTE_COLUMNS: Final = (
    "CreditNoteNo",
    "Customer",
    "CreditNoteDate",
    "Item",
    "ItemDescription",
    "ItemQuantity",
    "ItemRate",
    "ItemAmount",
    "TaxCode",
    "TaxAmount",
    "Total",
    "Reason",
    "CreditsInvoiceNo",
    "Memo",
)
"""What a person enters for a credit memo; amounts are positive, as QuickBooks has them on one."""

DEFAULT_TERMS: Final = "net_30"


Handed = InvoiceFinalized | CreditNoteFinalized


@dataclass(frozen=True, slots=True)
class Missing:
    """A mapping that is not set: the file has `name`, billing's own, where QuickBooks' name should stand."""

    kind: str
    key: str
    name: str


def keys(invoice: Handed, books: Books | None) -> Iterator[Key]:
    """Every mapping that the rows of an invoice may take names from; none without a company."""
    if books is None:
        return
    yield from lines.keys(invoice)
    yield from taxes.keys(invoice, books)
    yield from _customer_keys(invoice, books)
    if isinstance(invoice, InvoiceFinalized):
        yield ("term", invoice.terms or DEFAULT_TERMS, "")


def rows(
    invoice: InvoiceFinalized, books: Books | None, mappings: Mapping[Key, Mapped], missing: set[Missing]
) -> list[list[Cell]]:
    """An invoice, one row a line."""
    customer = _customer(invoice, books, mappings, missing)
    terms = _name(
        [("term", invoice.terms or DEFAULT_TERMS, "")], mappings, invoice.terms or DEFAULT_TERMS, missing
    )
    return [
        [
            invoice.number,
            customer,
            _day(invoice.invoice_date),
            _day(invoice.due_date),
            *sold,
            terms,
            _memo(invoice),
            *tax,
        ]
        for sold, tax in _lines(invoice, books, mappings, missing)
    ]


def credit_note_rows(
    note: CreditNoteFinalized,
    credits_number: str | None,
    books: Books | None,
    mappings: Mapping[Key, Mapped],
    missing: set[Missing],
) -> list[list[Cell]]:
    """A credit note, one row a line; `credits_number` is the number of the invoice that it corrects."""
    customer = _customer(note, books, mappings, missing)
    return [
        [
            note.number,
            customer,
            _day(note.invoice_date),
            *sold,
            *tax,
            _money(-note.total, note.currency),
            note.reason,
            credits_number or note.credits_invoice,
            _memo(note),
        ]
        for sold, tax in _lines(note, books, mappings, missing)
    ]


def _lines(
    document: Handed, books: Books | None, mappings: Mapping[Key, Mapped], missing: set[Missing]
) -> Iterator[tuple[list[Cell], tuple[Cell, Cell]]]:
    """What each line sells, and its tax. Texts of headings, which have no row, stand before the line they head."""
    sign = -1 if isinstance(document, CreditNoteFinalized) else 1
    by_id = {line.id: line for line in document.lines}
    headings: list[str] = []
    for line in document.lines:
        if lines.is_note(line):
            headings.append(line.description)
            continue
        quantity, unit_price = lines.signed(line, sign) if sign < 0 else (line.quantity, line.unit_price)
        price = priced(quantity, unit_price, sign * line.net_amount, document.currency)
        told = f"{line.description} ({price.remark})" if price.remark else line.description
        sold: list[Cell] = [
            _item(line, mappings, missing),
            ": ".join([*headings, told]),
            price.quantity,
            price.unit_price,
            round_half_up(price.amount, max(2, exponent(document.currency))),
        ]
        yield sold, _tax(document, sign, line, by_id, books, mappings, missing)
        headings = []


def _memo(document: Handed) -> str:
    return f"AlgaPSA: {document.id}" + (f" | PO {document.po_number}" if document.po_number else "")


def _money(minor: int, currency: str) -> Decimal:
    return round_half_up(to_decimal(minor, currency), max(2, exponent(currency)))


def _customer_keys(invoice: Handed, books: Books) -> tuple[Key, ...]:
    profile = invoice.billing_profile
    if profile is not None and profile.bills_separately:
        return customers.keys("billing_profile", profile.id, invoice.currency, books)
    return customers.keys("customer", invoice.client.id, invoice.currency, books)


def _customer(
    invoice: Handed, books: Books | None, mappings: Mapping[Key, Mapped], missing: set[Missing]
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
    invoice: Handed,
    sign: int,
    line: Line,
    by_id: Mapping[str, Line],
    books: Books | None,
    mappings: Mapping[Key, Mapped],
    missing: set[Missing],
) -> tuple[Cell, Cell]:
    """Tax code and amount of a line; QuickBooks works out what billing did not."""
    if invoice.tax_source != "internal":
        return "", ""
    amount = _money(sign * line.tax_amount, invoice.currency)
    governing = taxes.governing(line, by_id)
    region = governing.tax_region or taxes.DEFAULT_REGION
    if books is None or books.in_us:
        if not governing.is_taxable:
            return "", amount
        wanted: list[Key] = [("tax_code", region, "")]
    else:
        wanted = [("tax_code", region, taxes.treatment(governing, told=True)), ("tax_code", region, "")]
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
