"""Decimal amounts as the API keeps them: cents rounded half up, prices with up to seven decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import simplejson

ZERO = Decimal("0.00")
CENT = Decimal("0.01")
ONE = Decimal(1)
PRICE = Decimal("0.0000001")
HUNDRED = Decimal(100)


def cents(value: Decimal) -> Decimal:
    """Round to two decimals, half up."""
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def plain(value: Decimal) -> Decimal:
    """The same number with at most seven decimals and no exponent or trailing zeros."""
    rounded = value.quantize(PRICE, rounding=ROUND_HALF_UP).normalize()
    return rounded.quantize(ONE) if rounded == rounded.to_integral_value() else rounded


def decode(text: bytes | str) -> Any:
    """Parse JSON with every number as `Decimal`; raises `ValueError`."""
    return simplejson.loads(text, use_decimal=True, parse_int=Decimal)


def encode(value: Any) -> bytes:
    """Compact JSON in UTF-8, decimals written as plain numbers."""
    return simplejson.dumps(value, use_decimal=True, separators=(",", ":"), ensure_ascii=False).encode()
