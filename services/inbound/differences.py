"""What differs between a document as both books had it and as QuickBooks has it now, field by field, and whose it is.

Billing owns what was agreed with the client: number, dates, customer, lines, tax and totals. QuickBooks owns what a
bookkeeper keeps books by: classes, locations, notes, sending, and everything that payments move. A difference in the
latter is nobody's drift.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

Wire = Mapping[str, Any]
Owner = Literal["billing", "quickbooks"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: what both had, and what QuickBooks has now, as a person reads them."""

    field: str
    agreed: str | None
    observed: str | None
    owner: Owner


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    read: Callable[[Wire], Any]
    owner: Owner = "billing"


def _at(*path: str) -> Callable[[Wire], Any]:
    def read(raw: Wire) -> Any:
        value: Any = raw
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return read


_HEADER: Final = (
    _Field("number", _at("DocNumber")),
    _Field("date", _at("TxnDate")),
    _Field("due date", _at("DueDate")),
    _Field("customer", _at("CustomerRef")),
    _Field("currency", _at("CurrencyRef")),
    _Field("terms", _at("SalesTermRef")),
    _Field("memo to the customer", _at("CustomerMemo", "value")),
    _Field("tax treatment", _at("GlobalTaxCalculation")),
    _Field("tax", _at("TxnTaxDetail", "TotalTax")),
    _Field("total", _at("TotalAmt")),
    _Field("deposit", _at("Deposit")),  # money that settles an invoice without a Payment, which no feed shows
    _Field("class", _at("ClassRef"), "quickbooks"),
    _Field("location", _at("DepartmentRef"), "quickbooks"),
)
_LINE: Final = (
    _Field("kind", _at("DetailType")),
    _Field("description", _at("Description")),
    _Field("item", _at("SalesItemLineDetail", "ItemRef")),
    _Field("quantity", _at("SalesItemLineDetail", "Qty")),
    _Field("unit price", _at("SalesItemLineDetail", "UnitPrice")),
    _Field("amount", _at("Amount")),
    _Field("tax code", _at("SalesItemLineDetail", "TaxCodeRef")),
    _Field("service date", _at("SalesItemLineDetail", "ServiceDate")),
    _Field("discount", _at("DiscountLineDetail", "DiscountPercent")),
    _Field("class", _at("SalesItemLineDetail", "ClassRef"), "quickbooks"),
)


def compare(agreed: Wire, observed: Wire) -> list[Difference]:
    """Every field that differs. Lines are matched by their Id; QuickBooks' subtotals do not count."""
    found = list(_fields("", _HEADER, agreed, observed))
    was, now = _sold(agreed), _sold(observed)
    left = list(now)
    for number, line in enumerate(was, start=1):
        match = next((one for one in left if "Id" in line and one.get("Id") == line["Id"]), None)
        if match is None:
            found.append(Difference(f"line {number}", _line(line), None, "billing"))
            continue
        left.remove(match)
        found += _fields(f"line {number} ", _LINE, line, match)
    for line in left:
        found.append(Difference(f"line {now.index(line) + 1}, new", None, _line(line), "billing"))
    return found


def is_void(observed: Wire) -> bool:
    """Whether a document was voided: it lives on, empty, and its note says so."""
    note = str(observed.get("PrivateNote") or "").strip().lower()
    nothing = not _number(observed.get("TotalAmt")) and not _number(observed.get("Balance"))
    return (
        note.startswith("void")
        and nothing
        and not any(_number(line.get("Amount")) for line in _sold(observed))
    )


def digest(change: str, differences: Sequence[Difference]) -> str:
    """The same for the same differences."""
    told = [change, *([one.field, one.agreed, one.observed] for one in differences)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _fields(prefix: str, fields: Sequence[_Field], agreed: Wire, observed: Wire) -> Iterator[Difference]:
    for field in fields:
        was, now = field.read(agreed), field.read(observed)
        if _plain(was) != _plain(now):
            yield Difference(prefix + field.name, _shown(was), _shown(now), field.owner)


def _sold(raw: Wire) -> list[Wire]:
    return [line for line in raw.get("Line") or () if line.get("DetailType") != "SubTotalLineDetail"]


def _plain(value: Any) -> Any:
    """What counts of a value: a reference by its id, a number by its amount; nothing, empty and zero alike."""
    if isinstance(value, Mapping):
        return str(value.get("value") or "")
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return _number(value) or ""
    return str(value or "")


def _shown(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("value")
    if isinstance(value, Decimal):
        return format(value, "f")
    return None if value in (None, "") else str(value)


def _line(line: Wire) -> str:
    said = " ".join(str(line.get("Description") or line.get("DetailType") or "").split())[:60]
    amount = _shown(line.get("Amount"))
    return f"{said}: {amount}" if amount else said


def _number(value: Any) -> Decimal:
    try:
        return Decimal(str(value or 0)).normalize()
    except InvalidOperation:
        return Decimal(0)
