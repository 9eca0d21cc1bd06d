"""Money: integer minor units of an ISO 4217 currency, never a float.

12.50 US dollars are `Money(1250, "USD")`, 1,250 yen are `Money(1250, "JPY")`, 1.250 Kuwaiti dinars are
`Money(1250, "KWD")`. Rounding is ROUND_HALF_UP everywhere, because that is what an accountant does by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException
from typing import Final

from babel.core import get_global
from babel.numbers import get_currency_precision

LIMIT: Final = 2**53 - 1  # minor units; the largest integer every JSON reader keeps exact

# Babel knows how many decimals people print; ISO 4217 says how many the currency has. Where the two differ,
# money on the wire follows ISO 4217, or it would be off by 100 or 1000.
# https://www.iso.org/iso-4217-currency-codes.html
_ISO_EXPONENTS: Final = {
    "IQD": 3,
    **dict.fromkeys(
        ("AFN", "ALL", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SLL", "SOS", "SYP", "YER"), 2
    ),
}
_NOT_MONEY: Final = frozenset(("XXX", "XTS"))  # "no currency" and "for testing"

# Wide enough for every product of two bounded amounts; the caller's own decimal context is never used.
_CONTEXT: Final = Context(prec=60, rounding=ROUND_HALF_UP)


def _exponents() -> dict[str, int]:
    known = (code for code in get_global("all_currencies") if code not in _NOT_MONEY)
    return {code: _ISO_EXPONENTS.get(code, get_currency_precision(code)) for code in known}


EXPONENTS: Final = _exponents()


def exponent(currency: str) -> int:
    """Return how many decimals `currency` has: 2 for USD, 0 for JPY, 3 for KWD.

    Raises ValueError for anything that is not an ISO 4217 code in capitals.
    """
    try:
        return EXPONENTS[currency]
    except (KeyError, TypeError):
        raise ValueError(
            f"{currency!r} is not a currency; use an ISO 4217 code in capitals such as 'USD'"
        ) from None


def to_decimal(minor: int, currency: str) -> Decimal:
    """Return minor units as a decimal of the currency's own scale: 1250 USD is Decimal('12.50')."""
    return Decimal(_whole(minor)).scaleb(-exponent(currency), _CONTEXT)


def to_minor(amount: Decimal | int | str, currency: str) -> int:
    """Return an amount in whole currency units as minor units, rounded half up: '12.505' USD is 1251.

    Raises TypeError for a float, ValueError for what is no finite number or beyond 2**53 - 1 units.
    """
    if isinstance(amount, (float, bool)):
        raise TypeError(
            f"money is never a {type(amount).__name__} ({amount!r}): pass a Decimal or a decimal string"
        )
    try:
        exact = Decimal(amount)
        units = exact.scaleb(exponent(currency), _CONTEXT).quantize(Decimal(1), context=_CONTEXT)
    except DecimalException:
        raise ValueError(f"{amount!r} is not an amount of money; write it like '12.50'") from None
    if not units.is_finite():
        raise ValueError(f"{amount!r} is not an amount of money; write it like '12.50'")
    return _whole(int(units))


def round_half_up(amount: Decimal, places: int) -> Decimal:
    """Round to `places` decimals, whatever the caller's decimal context says."""
    return amount.quantize(Decimal(1).scaleb(-places), context=_CONTEXT)


def allocate(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` minor units in proportion to `weights`; what rounding leaves goes to the largest weight.

    Parts are cut towards zero, so that no part exceeds its share and the remainder has the sign of the total;
    of several largest weights the first takes it. Raises ValueError if the weights add up to 0.
    """
    whole = sum(weights)
    if not whole:
        raise ValueError(f"cannot split {total} over weights that add up to 0: {list(weights)}")
    parts = [_cut(total * weight, whole) for weight in weights]
    largest = max(range(len(weights)), key=lambda index: abs(weights[index]))
    parts[largest] += total - sum(parts)
    return parts


def _cut(numerator: int, denominator: int) -> int:
    """Divide towards zero; Python's // goes down."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def _whole(minor: int) -> int:
    if type(minor) is not int:
        raise TypeError(f"minor units are an int, not {minor!r}: 12.50 USD is 1250")
    if not -LIMIT <= minor <= LIMIT:
        raise ValueError(f"{minor} minor units are more than 2**53 - 1, the largest amount that stays exact")
    return minor


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount: `minor` units of `currency`. Amounts of two currencies never mix."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        _whole(self.minor)
        exponent(self.currency)

    @classmethod
    def of(cls, amount: Decimal | int | str, currency: str) -> Money:
        """Make money from whole currency units, rounded half up; raises as `to_minor` does."""
        return cls(to_minor(amount, currency), currency)

    @property
    def decimal(self) -> Decimal:
        """The amount in whole currency units, at the currency's scale."""
        return to_decimal(self.minor, self.currency)

    def split(self, weights: Sequence[int]) -> list[Money]:
        """Split as `allocate` does."""
        return [Money(part, self.currency) for part in allocate(self.minor, weights)]

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __str__(self) -> str:
        return f"{self.decimal:f} {self.currency}"

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self} and {other} are in different currencies; convert one first")
        return other.minor
