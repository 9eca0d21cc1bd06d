"""Tax that QuickBooks computed for a document, spread over its lines: per line and component, to the cent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from messages.accounting import LineTax
from messages.invoices import Document
from messages.lines import Line, TaxComponent
from messages.money import allocate, to_minor
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound import taxes
from services.outbound.books import Books
from services.quickbooks.entities import Invoice, TaxLine

_NAME = "Sales tax"


def of_lines(
    document: Document, answered: Invoice, books: Books, mappings: Mapping[Key, Mapped]
) -> tuple[LineTax, ...]:
    """Spread each tax line over the lines it is for, in proportion to their net amounts.

    What rounding leaves goes to the largest line, and so does what the tax lines lack of the total.
    """
    found: dict[str, list[TaxComponent]] = {line.id: [] for line in document.lines}
    for part in _parts(answered, document.currency):
        rate = str(part.rate_id or "")
        concerned = _concerned(document, rate, books, mappings)
        if not concerned:
            continue
        weights = [line.net_amount for line in concerned]
        amounts = allocate(part.amount, weights) if sum(weights) else _first(part.amount, len(weights))
        for line, amount in zip(concerned, amounts, strict=True):
            found[line.id].append(
                TaxComponent(name=part.name, rate=part.percent, amount=amount, region=line.tax_region)
            )
    return tuple(
        LineTax(
            line_id=line.id,
            net_amount=line.net_amount,
            tax_amount=sum(component.amount for component in found[line.id]),
            components=tuple(found[line.id]),
        )
        for line in document.lines
    )


class _Part:
    """One tax line of the answer, in minor units."""

    def __init__(self, amount: int, name: str, percent: Decimal | None, rate_id: str | None) -> None:
        self.amount, self.name, self.percent, self.rate_id = amount, name, percent, rate_id


def _parts(answered: Invoice, currency: str) -> list[_Part]:
    detail = answered.txn_tax_detail
    if detail is None:
        return []
    parts = []
    for line in detail.tax_line or ():
        if isinstance(line, TaxLine):
            rate = line.tax_line_detail
            ref = rate.tax_rate_ref
            name = (ref.name if ref is not None else None) or _NAME
            amount = to_minor(line.amount or Decimal(0), currency)
            parts.append(_Part(amount, name, rate.tax_percent, ref.value if ref is not None else None))
    rest = to_minor(detail.total_tax or Decimal(0), currency) - sum(part.amount for part in parts)
    if rest and parts:
        max(parts, key=lambda part: abs(part.amount)).amount += rest
    elif rest:
        parts.append(_Part(rest, _NAME, None, None))
    return parts


def _concerned(document: Document, rate: str, books: Books, mappings: Mapping[Key, Mapped]) -> Sequence[Line]:
    """The lines that a rate is for: in the US the taxable ones, elsewhere those whose code has the rate."""
    by_id = {line.id: line for line in document.lines}
    taxable = [line for line in document.lines if taxes.governing(line, by_id).is_taxable]
    if books.in_us:
        return taxable
    rated = [
        line
        for line in document.lines
        if (code := taxes.code_of(taxes.governing(line, by_id), mappings, told=taxes.told(document)))
        is not None
        and rate in taxes.rates_of(code)
    ]
    return rated or taxable


def _first(amount: int, lines: int) -> list[int]:
    return [amount, *([0] * (lines - 1))]
