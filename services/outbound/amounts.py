"""Quantity, price and amount of a line, in the form QuickBooks accepts.

QuickBooks refuses a line whose Amount is not Qty times UnitPrice rounded to the cent (error 6070), while billing's
`net_amount` is sacred: it was agreed with the client. So the price gives way, never the amount.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from messages.money import exponent, round_half_up, to_decimal

PRICE_DECIMALS = 7  # what QuickBooks keeps of a UnitPrice
CENTS = 2  # decimals
DIGITS = 15  # longest number QuickBooks takes


@dataclass(frozen=True, slots=True)
class Priced:
    """What goes on the wire; `remark` keeps quantity and rate for the reader when they could not be sent."""

    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    remark: str = ""


def priced(quantity: Decimal, unit_price: Decimal, net_amount: int, currency: str) -> Priced:
    """Fit quantity and price to a net amount in minor units of `currency`.

    First as they are; then with the price that leads to the amount, at 7 decimals; else one piece at the amount,
    with the original quantity and rate as a remark. Intuit rounds the product to cents and does not say whether a
    currency without cents is an exception, so the arithmetic holds at cents as well as at the currency's own decimals.
    """
    places = {exponent(currency), CENTS}
    amount = to_decimal(net_amount, currency)
    if _fits(quantity, unit_price, amount, places):
        return Priced(quantity, unit_price, amount)
    if quantity:
        fitted = round_half_up(amount / quantity, PRICE_DECIMALS).normalize()
        fitted = fitted.quantize(Decimal(1)) if fitted == fitted.to_integral_value() else fitted
        if _fits(quantity, fitted, amount, places):
            return Priced(quantity, fitted, amount)
    return Priced(Decimal(1), amount, amount, f"{_plain(quantity)} x {_plain(unit_price)} {currency}")


def _fits(quantity: Decimal, unit_price: Decimal, amount: Decimal, places: Collection[int]) -> bool:
    return (
        _decimals(unit_price) <= PRICE_DECIMALS
        and _digits(quantity) <= DIGITS
        and _digits(unit_price) <= DIGITS
        and all(round_half_up(quantity * unit_price, p) == round_half_up(amount, p) for p in places)
    )


def _decimals(number: Decimal) -> int:
    exponent_ = number.normalize().as_tuple().exponent
    assert isinstance(exponent_, int)  # messages refuse NaN and infinity
    return max(0, -exponent_)


def _digits(number: Decimal) -> int:
    return max(len(number.normalize().as_tuple().digits), _decimals(number))


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")
