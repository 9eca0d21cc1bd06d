"""What of an object may be sent back: the one place that knows what QuickBooks only shows.

A full update sends all of an object as it was read, for what it leaves out is emptied; but not what QuickBooks
adds when it answers. A sparse update sends what changes; but a list of lines replaces all lines.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#sparse-updates
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.quickbooks.errors import InvalidCall

# QuickBooks sets these itself and ignores what is sent; MetaData is a record, domain and status describe it.
_NEVER = frozenset({"MetaData", "domain", "status", "sparse"})

_TOTALS = frozenset({"TotalAmt", "HomeTotalAmt", "Balance", "HomeBalance"})

_READ_ONLY: Mapping[str, frozenset[str]] = {
    "Invoice": _TOTALS | {"InvoiceLink"},
    "CreditMemo": _TOTALS | {"RemainingCredit"},
    "RefundReceipt": _TOTALS,
    "Payment": frozenset({"UnappliedAmt", "HomeTotalAmt"}),
    "Customer": frozenset({"Balance", "BalanceWithJobs", "FullyQualifiedName", "Level"}),
    "Item": frozenset({"FullyQualifiedName", "Level"}),
    "Class": frozenset({"FullyQualifiedName"}),
    "Department": frozenset({"FullyQualifiedName"}),
    "Account": frozenset({"FullyQualifiedName", "CurrentBalance", "CurrentBalanceWithSubAccounts"}),
}

# What a sparse update must name although it does not change, or QuickBooks refuses it.
_REQUIRED: Mapping[str, tuple[str, ...]] = {"Payment": ("CustomerRef", "TotalAmt")}


def full(entity: str, wire: Mapping[str, Any]) -> dict[str, Any]:
    """Return a read object without what QuickBooks only shows; every other field, known or not, stays."""
    unwanted = _NEVER | _READ_ONLY.get(entity, frozenset())
    kept = {name: value for name, value in wire.items() if name not in unwanted}
    if "Line" in kept:
        kept["Line"] = lines(kept["Line"])
    if entity == "Invoice" and "LinkedTxn" in kept:
        # Links to estimates and time are the invoice's own; those to payments belong to the payments.
        kept["LinkedTxn"] = [link for link in kept["LinkedTxn"] if link.get("TxnType") != "Payment"]
    return kept


def lines(given: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return lines without QuickBooks' subtotals and without what it notes on a payment's lines."""
    return [
        {name: value for name, value in line.items() if name != "LineEx"}
        for line in given
        if line.get("DetailType") != "SubTotalLineDetail"
    ]


def sparse(
    entity: str,
    wire: Mapping[str, Any],
    current: Mapping[str, Any] | None,
    dropped_lines: Sequence[str],
) -> dict[str, Any]:
    """Return the fields of a sparse update, checked: nothing emptied, no line dropped but those named.

    `current` is the object as last read; it is needed when the lines change. Raises InvalidCall naming the field.
    """
    changes = {name: value for name, value in wire.items() if name not in _NEVER}
    for name, value in changes.items():
        if name != "Line":  # lines are replaced, so a blank there takes nothing away
            _no_blank(entity, name, value)
    for name in _REQUIRED.get(entity, ()):
        if name not in changes:
            raise InvalidCall(f"{entity}.{name}: QuickBooks refuses a sparse update of a {entity} without it")
    if "Line" in changes:
        changes["Line"] = _complete(entity, lines(changes["Line"]), current, dropped_lines)
    return changes


def line_key(line: Mapping[str, Any]) -> str:
    """Return what tells a line from the others: its Id, or the transactions it is linked to, like `Invoice:71`."""
    links = line.get("LinkedTxn") or ()
    return str(line.get("Id") or ",".join(f"{link.get('TxnType')}:{link.get('TxnId')}" for link in links))


def _complete(
    entity: str,
    new: list[dict[str, Any]],
    current: Mapping[str, Any] | None,
    dropped: Sequence[str],
) -> list[dict[str, Any]]:
    if current is None:
        raise InvalidCall(
            f"{entity}.Line: the lines given replace all lines there are; pass the object as last read as `current`"
        )
    missing = {line_key(line) for line in lines(current.get("Line") or ())} - {line_key(line) for line in new}
    lost = sorted(missing - set(dropped) - {""})
    if lost:
        raise InvalidCall(
            f"{entity}.Line: {', '.join(lost)} would be lost; give all lines, or name those to drop"
        )
    return new


def _no_blank(entity: str, path: str, value: Any) -> None:
    if value is None or value == "":
        raise InvalidCall(
            f"{entity}.{path}: a sparse update cannot empty a field; leave it out, or update in full"
        )
    if isinstance(value, Mapping):
        for name, item in value.items():
            _no_blank(entity, f"{path}.{name}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _no_blank(entity, f"{path}[{index}]", item)
