"""What a Payment puts on which transaction, as amounts by target: read from its lines, changed, written back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

Target = tuple[str, str]
"""Type and id of a transaction in QuickBooks, such as ("Invoice", "71")."""

Amounts = Mapping[Target, Decimal]


def read(payment: Mapping[str, Any]) -> dict[Target, Decimal]:
    """What a Payment puts on each transaction; several lines on one add up."""
    amounts: dict[Target, Decimal] = {}
    for line in payment.get("Line") or ():
        for link in line.get("LinkedTxn") or ():
            target = (str(link["TxnType"]), str(link["TxnId"]))
            amounts[target] = amounts.get(target, Decimal(0)) + Decimal(str(line["Amount"]))
    return amounts


def lines(amounts: Amounts) -> list[dict[str, Any]]:
    """The lines of a Payment, one a transaction."""
    return [
        {"Amount": amount, "LinkedTxn": [{"TxnId": id_, "TxnType": type_}]}
        for (type_, id_), amount in amounts.items()
    ]


def added(amounts: Amounts, more: Amounts) -> dict[Target, Decimal]:
    """The amounts with `more` put on."""
    return {
        target: amounts.get(target, Decimal(0)) + more.get(target, Decimal(0))
        for target in dict.fromkeys([*amounts, *more])
    }


def taken_off(amounts: Amounts, less: Amounts) -> dict[Target, Decimal]:
    """The amounts with `less` taken off; what has nothing left is gone."""
    rest = {target: amount - less.get(target, Decimal(0)) for target, amount in amounts.items()}
    return {target: amount for target, amount in rest.items() if amount > 0}


def holds(amounts: Amounts, part: Amounts) -> bool:
    """Whether at least `part` is on each of its transactions."""
    return all(amounts.get(target, Decimal(0)) >= amount for target, amount in part.items())
