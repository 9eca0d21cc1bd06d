"""What a correction changes in QuickBooks: only what differs, with complete lines, and never over somebody's edit.

A sparse update replaces all lines when it names any, so lines go out whole; those that stay keep their Id. It cannot
empty a field: what billing takes away needs a full update, of the object as it stands there.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#sparse-updates
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

Wire = Mapping[str, Any]

_TOGETHER = ("Line", "TxnTaxDetail", "GlobalTaxCalculation")
"""What QuickBooks computes from one another, and what is therefore sent together."""

_AGREED = ("DocNumber", "TxnDate", "DueDate", "CustomerRef", "CurrencyRef", "TotalAmt")
"""What was agreed with the client, beside lines and tax: nobody overwrites a bookkeeper's edit of these silently."""

_STAYS = ("CurrencyRef", "ExchangeRate", "PrivateNote")
"""What is never emptied: the currency of a document is its own for good, and its note has our marker."""


def changes(wanted: Wire, current: Wire, said: Wire | None = None) -> dict[str, Any]:
    """Return the fields of `wanted` that QuickBooks does not have like that; lines with the Ids of those that stay.

    `said` is what was wanted before, where that is known. What billing did not change then, beyond what was agreed
    with the client, is left as somebody edited it; and what lost a part, such as a line of an address, differs.
    """
    differing = {name for name, value in wanted.items() if not covers(current.get(name), value, name)}
    if said is not None:
        kept = {*_AGREED, *_TOGETHER}
        differing = {name for name in differing if name in kept or said.get(name) != wanted[name]}
        differing |= {
            name
            for name in wanted.keys() & said.keys()
            if said[name] != wanted[name] and covers(current.get(name), said[name], name)
        }
    if differing & set(_TOGETHER):
        differing |= {name for name in _TOGETHER if name in wanted}
    found = {name: wanted[name] for name in wanted if name in differing}
    if "Line" in found:
        found["Line"] = with_ids(found["Line"], current.get("Line") or ())
    return found


def emptied(wanted: Wire, current: Wire, said: Wire | None) -> set[str]:
    """Return the fields that billing no longer says and that stand in QuickBooks as it said them, whole or in part."""
    if said is None:
        return set()
    return {
        name
        for name, value in said.items()
        if name not in _STAYS and covers(current.get(name), value, name) and _less(wanted.get(name), value)
    }


def line_ids(current: Wire) -> list[str]:
    """Return the Ids of the lines there are."""
    return [line["Id"] for line in sold(current.get("Line") or ()) if "Id" in line]


def with_ids(new: Sequence[Wire], old: Sequence[Wire]) -> list[dict[str, Any]]:
    """Return the new lines, each with the Id of the old line it continues: the same one, else one of its kind."""
    left = [line for line in sold(old) if "Id" in line]
    lines = [dict(line) for line in new]
    for same in (covers, _same_kind):
        for line in lines:
            match = None if "Id" in line else next((one for one in left if same(one, line)), None)
            if match is not None:
                line["Id"] = match["Id"]
                left.remove(match)
    return lines


def edited(exported: Wire, current: Wire, overwritten: Wire) -> list[str]:
    """Return, in words, what somebody changed in QuickBooks since the export and `overwritten` would undo."""
    found = []
    for name in _AGREED:
        was, now = exported.get(name), current.get(name)
        undone = name in overwritten or (name == "TotalAmt" and "Line" in overwritten)
        if undone and not covers(now, was, name):
            found.append(f"{name} was {_shown(was)} and is {_shown(now)}")
    if "Line" in overwritten and not covers(current.get("Line"), _plain(exported), "Line"):
        found.append("its lines were changed")
    return found


def covers(has: Any, wanted: Any, name: str = "") -> bool:
    """Whether QuickBooks has a value: numbers by amount, objects and lines with whatever it adds to them."""
    if name == "Line":
        lines = sold(has or ())
        return len(lines) == len(wanted) and all(map(covers, lines, wanted))
    if name == "TxnTaxDetail":
        (code, total), (wanted_code, wanted_total) = _tax(has), _tax(wanted)
        return total == wanted_total and wanted_code in {
            None,
            code,
        }  # where none is asked for, QuickBooks finds one
    if isinstance(wanted, Mapping):
        return isinstance(has, Mapping) and all(covers(has.get(key), wanted[key]) for key in wanted)
    if isinstance(wanted, bool) or isinstance(has, bool) or wanted is None or has is None:
        return bool(has == wanted)
    if isinstance(wanted, (int, float, Decimal)):
        return _number(has) == _number(wanted)
    return str(has) == str(wanted)


def sold(lines: Sequence[Wire]) -> list[Wire]:
    """Return the lines without the subtotals that QuickBooks appends."""
    return [line for line in lines if line.get("DetailType") != "SubTotalLineDetail"]


def _plain(exported: Wire) -> list[dict[str, Any]]:
    """The lines as exported, without what QuickBooks numbers by itself."""
    return [
        {name: value for name, value in line.items() if name not in {"Id", "LineNum"}}
        for line in sold(exported.get("Line") or ())
    ]


def _same_kind(old: Wire, new: Wire) -> bool:
    return bool(old.get("DetailType") == new.get("DetailType"))


def _less(now: Any, before: Any) -> bool:
    """Whether a value is gone, or parts of it."""
    return now is None or (isinstance(before, Mapping) and bool(before.keys() - now.keys()))


def _tax(detail: Wire | None) -> tuple[Any, ...]:
    found = detail or {}
    code = (found.get("TxnTaxCodeRef") or {}).get("value")
    return code, _number(found.get("TotalTax") or 0)


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name") or value.get("value"))
    return "nothing" if value is None else str(value)
