"""Tax of a billing document in QuickBooks' terms.

In the US a line is taxable (`TAX`) or not (`NON`), and one tax code with the total stands on the document.
Elsewhere every line carries its own code, amounts exclude tax, and each rate has its sum.
https://developer.intuit.com/app/developer/qbo/docs/workflows/manage-sales-tax-for-us-locales
https://developer.intuit.com/app/developer/qbo/docs/workflows/manage-sales-tax-for-non-us-locales
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from messages.invoices import Document
from messages.lines import Line
from messages.money import allocate, to_decimal
from services.mapping.mappings import Key
from services.mapping.mappings import Mapping as Mapped
from services.outbound.books import Books
from services.outbound.findings import Finding, missing_mapping

DEFAULT_REGION = "default"
"""Key of the tax code for lines that name no tax region."""

_RATE_DECIMALS = 6  # of a percentage, as far as they matter for a share


def governing(line: Line, by_id: Mapping[str, Line]) -> Line:
    """The line whose tax decides: the discounted one for a discount, else the line itself."""
    return by_id[line.applies_to] if line.is_discount and line.applies_to is not None else line


def told(document: Document) -> bool:
    """Whether the lines say their tax: not while QuickBooks is to compute it, nor where it is known as a whole only."""
    unknown = document.tax_source == "pending_external" or (
        document.tax_source == "external" and document.tax
    )
    return not unknown or any(line.tax_amount for line in document.lines)


def treatment(line: Line, *, told: bool) -> str:
    """How a line is taxed: taxable, zero (taxable at 0 %), exempt, or reverse_charge (the buyer pays the tax).

    Billing says the last by a component of that name, over nothing. Without a rate, no tax means 0 % only where the
    lines say their tax (`told`).
    """
    if any(_is_reverse_charge(component.name) for component in line.tax_components or ()):
        return "reverse_charge"
    if not line.is_taxable:
        return "exempt"
    if line.tax_rate is not None:
        return "taxable" if line.tax_rate else "zero"
    return "zero" if told and not line.tax_amount else "taxable"


def _is_reverse_charge(name: str) -> bool:
    return name.casefold().replace("-", " ").replace("_", " ").split() == ["reverse", "charge"]


def keys(document: Document, books: Books) -> Iterator[Key]:
    """Every mapping that the tax of a document may need."""
    by_id = {line.id: line for line in document.lines}
    by_line = told(document)
    for line in document.lines:
        region = governing(line, by_id).tax_region or DEFAULT_REGION
        if books.in_us:
            if line.tax_amount or line.is_taxable:
                yield ("tax_code", region, "")
        else:
            yield ("tax_code", region, treatment(governing(line, by_id), told=by_line))
            yield ("tax_code", region, "")


def line_code(
    number: int,
    line: Line,
    by_id: Mapping[str, Line],
    books: Books,
    mappings: Mapping[Key, Mapped],
    findings: list[Finding],
    *,
    told: bool,
) -> str | None:
    """The TaxCodeRef of a line, never left out; a discount has the code of the line it lowers."""
    line = governing(line, by_id)
    if books.in_us:
        return "TAX" if line.is_taxable else "NON"
    code = code_of(line, mappings, told=told)
    if code is not None:
        return code.external_id
    region = line.tax_region or DEFAULT_REGION
    findings.append(
        missing_mapping(
            books.company_id,
            "tax_code",
            region,
            "missing_tax_mapping",
            f"line {number}, tax code",
            f"tax region {region} ({treatment(line, told=told)}) has no tax code in QuickBooks yet",
        )
    )
    return None


def detail(
    document: Document, sign: int, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """Return the header fields about tax: TxnTaxDetail, and GlobalTaxCalculation outside the US.

    A document whose tax is still to be computed by QuickBooks carries no amounts.
    """
    pending = document.tax_source == "pending_external"
    if (document.tax or pending) and books.sales_tax_off:
        findings.append(
            Finding(
                "sales_tax_off",
                "tax",
                "the document is to carry tax, but the QuickBooks company has sales tax switched off and would drop it",
                "Switch sales tax on in QuickBooks (Taxes), then retry.",
                f"sales_tax_off:{books.company_id}",
            )
        )
    if pending:
        return _pending(document, books, mappings, findings)
    total = to_decimal(sign * document.tax, document.currency)
    if books.in_us:
        return {"TxnTaxDetail": _us_detail(document, total, books, mappings, findings)}
    lines = _tax_lines(document, sign, mappings)
    tax_detail: dict[str, Any] = {"TotalTax": total}
    if lines:
        tax_detail["TaxLine"] = lines
    return {"GlobalTaxCalculation": "TaxExcluded", "TxnTaxDetail": tax_detail}


def _pending(
    document: Document, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """QuickBooks computes: from the codes of the lines, from addresses, or from the code of the document."""
    if not books.in_us:
        return {"GlobalTaxCalculation": "TaxExcluded"}
    if books.automated_sales_tax:
        return {}
    regions = _regions(document, [line for line in document.lines if line.is_taxable])
    code = _region_code(regions, books, mappings, findings)
    return {"TxnTaxDetail": code} if code else {}


def _us_detail(
    document: Document, total: Decimal, books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """The total with the code it overrides: also a total of 0, or QuickBooks would tax what billing did not."""
    taxable = [line for line in document.lines if line.is_taxable]
    regions = _regions(document, [line for line in document.lines if line.tax_amount])
    if document.tax and not regions:  # computed elsewhere, and not told by line
        regions = _regions(document, taxable)
    if regions:
        return {"TotalTax": total, **_region_code(regions, books, mappings, findings)}
    untaxed = _regions(document, taxable)
    code = next((mappings["tax_code", one, ""] for one in untaxed if ("tax_code", one, "") in mappings), None)
    return {"TotalTax": total} | ({"TxnTaxCodeRef": {"value": code.external_id}} if code else {})


def _region_code(
    regions: Sequence[str], books: Books, mappings: Mapping[Key, Mapped], findings: list[Finding]
) -> dict[str, Any]:
    """TxnTaxCodeRef of the taxed region; a document has one code, so two regions are one too many."""
    if len(regions) > 1 and not books.automated_sales_tax:
        findings.append(
            Finding(
                "several_tax_regions",
                "tax",
                f"lines are taxed in {', '.join(regions)}, but a QuickBooks document has one tax code",
                "Bill each region on a document of its own, or switch Automated Sales Tax on in QuickBooks.",
                f"several_tax_regions:{books.company_id}:{','.join(regions)}",
            )
        )
    for region in regions[:1]:
        code = mappings.get(("tax_code", region, ""))
        if code is not None:
            return {"TxnTaxCodeRef": {"value": code.external_id}}
        findings.append(
            missing_mapping(
                books.company_id,
                "tax_code",
                region,
                "missing_tax_mapping",
                "tax",
                f"tax region {region} has no tax code in QuickBooks yet",
            )
        )
    return {}


def _regions(document: Document, lines: Iterable[Line]) -> list[str]:
    """Where lines are taxed. A discount is taxed where what it lowers is; one that names neither lowers them all."""
    by_id = {line.id: line for line in document.lines}
    governed = [governing(line, by_id) for line in lines]
    own = [line for line in governed if line.tax_region or not line.is_discount]
    return sorted({line.tax_region or DEFAULT_REGION for line in own or governed})


def _tax_lines(document: Document, sign: int, mappings: Mapping[Key, Mapped]) -> list[dict[str, Any]]:
    """One TaxLine a rate, when every taxed line's code names its rates; else QuickBooks works them out itself."""
    sums: dict[str, tuple[int, int]] = {}
    percent: dict[str, str] = {}
    by_id = {line.id: line for line in document.lines}
    for line in document.lines:
        code = code_of(governing(line, by_id), mappings, told=told(document))
        if code is None or not line.tax_amount:
            continue
        rates = rates_of(code)
        if not rates:
            return []
        for rate, amount in _by_rate(line, rates).items():
            tax, net = sums.get(rate, (0, 0))
            sums[rate] = (tax + amount, net + line.net_amount)
            percent[rate] = rates[rate] or (str(line.tax_rate or "") if len(rates) == 1 else "")
    lines = []
    for rate, (tax, net) in sums.items():
        tax_line: dict[str, Any] = {
            "TaxRateRef": {"value": rate},
            "NetAmountTaxable": to_decimal(sign * net, document.currency),
        }
        if percent[rate]:
            tax_line |= {"PercentBased": True, "TaxPercent": Decimal(percent[rate])}
        lines.append(
            {
                "Amount": to_decimal(sign * tax, document.currency),
                "DetailType": "TaxLineDetail",
                "TaxLineDetail": tax_line,
            }
        )
    return lines


def rates_of(code: Mapped) -> dict[str, str]:
    """The rates that a mapped tax code is made of, such as GST and PST: percent by id, {} when it does not tell."""
    several = code.details.get("tax_rates") or ()
    if several:
        return {str(one["id"]): str(one["rate"]) for one in several}
    only = code.details.get("tax_rate_id")
    return {str(only): str(code.details.get("rate") or "")} if only else {}


def _by_rate(line: Line, rates: Mapping[str, str]) -> dict[str, int]:
    """The tax of a line by rate: as its components say, where they are told apart by percent; else in proportion."""
    if len(rates) == 1:
        return {next(iter(rates)): line.tax_amount}
    said = {component.rate: component.amount for component in line.tax_components or ()}
    percents = [Decimal(percent) for percent in rates.values()]
    if len(said) == len(line.tax_components or ()) and set(said) == set(percents) and len(said) == len(rates):
        return {rate: said[Decimal(percent)] for rate, percent in rates.items()}
    weights = [int(percent.scaleb(_RATE_DECIMALS)) for percent in percents]
    parts = allocate(line.tax_amount, weights) if sum(weights) else [line.tax_amount, *[0] * (len(rates) - 1)]
    return dict(zip(rates, parts, strict=True))


def code_of(line: Line, mappings: Mapping[Key, Mapped], *, told: bool) -> Mapped | None:
    """The mapped tax code of a line outside the US: of its region and treatment, else of its region."""
    region = line.tax_region or DEFAULT_REGION
    return mappings.get(("tax_code", region, treatment(line, told=told))) or mappings.get(
        ("tax_code", region, "")
    )
