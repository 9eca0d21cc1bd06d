"""Lines of a billing document as QuickBooks sales lines.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice#the-invoice-object
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from messages.invoices import Document
from messages.lines import Line
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound import taxes
from services.outbound.amounts import priced
from services.outbound.books import Books
from services.outbound.findings import Finding, missing_mapping
from services.outbound.texts import fitted

LONGEST_DESCRIPTION = 4000
MOST_LINES = 10_000
MOST_TAXED_LINES = 750


def is_note(line: Line) -> bool:
    """A line that says something and costs nothing, such as the heading of a group."""
    return line.service_id is None and line.category_id is None and not (line.net_amount or line.tax_amount)


def keys(document: Document) -> Iterator[Key]:
    """Every mapping that items and classes of the lines may come from."""
    for line in document.lines:
        if line.is_discount:
            yield ("discount_item", "", "")
        if line.service_id is not None:
            yield ("item", line.service_id, "")
        if line.category_id is not None:
            yield ("item_category", line.category_id, "")
        if line.class_ is not None:
            yield ("class", line.class_, "")


def build(
    document: Document, sign: int, books: Books, mappings: Mapping[Key, Mapped]
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Return the wire lines and what is wrong with them. `sign` is -1 for credit notes, which are negated."""
    wire: list[dict[str, Any]] = []
    findings: list[Finding] = []
    if len(document.lines) > MOST_LINES:
        findings.append(
            Finding(
                "too_many_lines",
                "lines",
                f"there are {len(document.lines)}, QuickBooks takes at most {MOST_LINES}",
                "Split the document in billing.",
                f"document:{document.id}",
            )
        )
    taxed = any(line.tax_amount for line in document.lines)
    if taxed and len(document.lines) > MOST_TAXED_LINES:
        findings.append(
            Finding(
                "too_many_taxed_lines",
                "lines",
                f"there are {len(document.lines)}, QuickBooks takes at most {MOST_TAXED_LINES} where any carries tax",
                "Split the document in billing.",
                f"document:{document.id}",
            )
        )
    by_id = {line.id: line for line in document.lines}
    told = taxes.told(document)
    for number, line in enumerate(document.lines, start=1):
        if is_note(line):
            wire.append(
                {
                    "DetailType": "DescriptionOnly",
                    "Description": fitted(line.description, LONGEST_DESCRIPTION),
                }
            )
            continue
        item = _item(number, line, books, mappings, findings)
        tax_code = taxes.line_code(number, line, by_id, books, mappings, findings, told=told)
        class_id = _class(number, line, item, books, mappings, findings)
        if item is None or tax_code is None:
            continue
        wire.append(_sales_line(line, sign, document.currency, item, tax_code, class_id))
    return wire, findings


def _item(
    number: int, line: Line, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> Mapped | None:
    """The item of a line: for discounts the discount item, else the service's, else its category's."""
    keys: list[Key] = []
    if line.is_discount:
        keys.append(("discount_item", "", ""))
    if line.service_id is not None:
        keys.append(("item", line.service_id, ""))
    if line.category_id is not None:
        keys.append(("item_category", line.category_id, ""))
    for key in keys:
        if key in mappings:
            return mappings[key]
    where, name = f"line {number} ({_short(line.description)}), item", _short(line.description)
    if line.is_discount:
        findings.append(
            missing_mapping(
                books.company_id,
                "discount_item",
                "",
                "missing_discount_item_mapping",
                where,
                "discounts have no item in QuickBooks yet",
            )
        )
    elif line.service_id is not None:
        findings.append(
            missing_mapping(
                books.company_id,
                "item",
                line.service_id,
                "missing_service_mapping",
                where,
                f"service {line.service_id} has no item in QuickBooks yet",
            )
        )
    elif line.category_id is not None:
        findings.append(
            missing_mapping(
                books.company_id,
                "item_category",
                line.category_id,
                "missing_service_mapping",
                where,
                f"service category {line.category_id} has no item in QuickBooks yet",
            )
        )
    else:
        findings.append(
            Finding(
                "missing_service",
                where,
                f"{name!r} costs something but names no service, so no item in QuickBooks fits",
                "Give the line a service in billing, then correct the document.",
                f"line_without_service:{line.id}",
            )
        )
    return None


def _class(
    number: int,
    line: Line,
    item: Mapped | None,
    books: Books,
    mappings: Mapping[Key, Mapped],
    findings: list[Finding],
) -> str | None:
    """The class of a line: billing's own, else the item's, else the default; none where lines have no classes."""
    if books.preference("AccountingInfoPrefs", "ClassTrackingPerTxnLine") is False:
        return None
    if line.class_ is None:
        return (item.details.get("class_id") if item else None) or books.reference("default_class")
    if ("class", line.class_, "") in mappings:
        return mappings["class", line.class_, ""].external_id
    findings.append(
        missing_mapping(
            books.company_id,
            "class",
            line.class_,
            "missing_class_mapping",
            f"line {number} ({_short(line.description)}), class",
            f"class {line.class_} is not linked to a class in QuickBooks yet",
        )
    )
    return None


def _sales_line(
    line: Line, sign: int, currency: str, item: Mapped, tax_code: str, class_id: str | None
) -> dict[str, Any]:
    quantity, unit_price = signed(line, sign)
    price = priced(quantity, unit_price, sign * line.net_amount, currency)
    description = f"{line.description} ({price.remark})" if price.remark else line.description
    detail: dict[str, Any] = {
        "ItemRef": {"value": item.external_id},
        "Qty": price.quantity,
        "UnitPrice": price.unit_price,
        "TaxCodeRef": {"value": tax_code},
    }
    if line.service_period_start is not None:
        detail["ServiceDate"] = line.service_period_start.isoformat()
    if class_id:
        detail["ClassRef"] = {"value": class_id}
    return {
        "DetailType": "SalesItemLineDetail",
        "Amount": price.amount,
        "Description": fitted(description, LONGEST_DESCRIPTION),
        "SalesItemLineDetail": detail,
    }


def signed(line: Line, sign: int) -> tuple[Decimal, Decimal]:
    """Quantity and price whose product has the sign of the wire's amount; of a negated line the negative one turns."""
    product = line.quantity * line.unit_price
    if product == 0 or line.net_amount == 0 or (product > 0) == (sign * line.net_amount > 0):
        return line.quantity, line.unit_price
    if line.quantity < 0:
        return -line.quantity, line.unit_price
    return line.quantity, -line.unit_price


def _short(description: str) -> str:
    one_line = " ".join(description.split())
    return one_line if len(one_line) <= 40 else one_line[:39] + "…"
