"""Money is exact, whatever the currency."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.money import EXPONENTS, LIMIT, Money, allocate, exponent, round_half_up, to_decimal, to_minor

currencies = st.sampled_from(sorted(EXPONENTS))
minors = st.integers(-LIMIT, LIMIT)


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [
        ("USD", 2),
        ("EUR", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("CLP", 0),
        ("ISK", 0),
        ("UGX", 0),
        ("XAF", 0),
        ("BHD", 3),
        ("KWD", 3),
        ("OMR", 3),
        ("TND", 3),
        ("CLF", 4),
        # printed without decimals, yet accounted with them
        ("IQD", 3),
        ("RSD", 2),
        ("LBP", 2),
        ("MMK", 2),
        ("YER", 2),
    ],
)
def test_exponent_follows_iso_4217(currency: str, decimals: int) -> None:
    """Minor units mean what ISO 4217 says, also where people print fewer decimals."""
    assert exponent(currency) == decimals


@pytest.mark.parametrize("currency", ["usd", "US", "", "XXX", "XTS", "$", None, 840, ["USD"]])
def test_unknown_currency_is_refused(currency: object) -> None:
    """What is no currency code is refused by a sentence that shows a right one."""
    with pytest.raises(ValueError, match="use an ISO 4217 code in capitals such as 'USD'"):
        exponent(currency)  # type: ignore[arg-type]  # wrong on purpose


@given(minors, currencies)
def test_minor_units_survive_the_way_to_decimal_and_back(minor: int, currency: str) -> None:
    """No amount changes between minor units and decimals, and decimals carry the currency's own scale."""
    amount = to_decimal(minor, currency)
    assert to_minor(amount, currency) == minor
    assert -amount.as_tuple().exponent == exponent(currency)  # type: ignore[operator]  # finite


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9), currencies)
def test_rounding_is_half_up_and_at_most_half_a_unit(amount: Decimal, currency: str) -> None:
    """Conversion rounds to the nearest minor unit, ties away from zero, under any decimal context of the caller."""
    with localcontext() as context:
        context.prec = 3
        minor = to_minor(amount, currency)
    with localcontext() as context:
        context.prec = 80
        assert minor == int((amount * 10 ** exponent(currency)).quantize(Decimal(1), rounding=ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.505", "USD", 1251),
        ("-12.505", "USD", -1251),
        ("12.5049999999", "USD", 1250),
        ("0.5", "JPY", 1),
        ("1.2345", "KWD", 1235),
        (Decimal("1E+3"), "USD", 100000),
        (7, "USD", 700),
    ],
)
def test_to_minor_rounds_half_up(amount: Decimal | int | str, currency: str, minor: int) -> None:
    """Half a unit goes away from zero, as by hand."""
    assert to_minor(amount, currency) == minor
    assert Money.of(amount, currency) == Money(minor, currency)


@pytest.mark.parametrize("amount", [12.5, 0.1, float("nan"), True])
def test_a_float_is_refused_by_name(amount: object) -> None:
    """A float never becomes money, not even one that happens to be exact."""
    with pytest.raises(TypeError, match=f"never a {type(amount).__name__}"):
        to_minor(amount, "USD")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "amount", ["", "twelve", "NaN", "sNaN", "Infinity", "-Infinity", "1e99", "1e999999", "12,50"]
)
def test_what_is_no_amount_is_refused(amount: str) -> None:
    """Text that is no finite amount is refused, showing what came and how to write it."""
    with pytest.raises(ValueError, match=r"not an amount of money; write it like '12\.50'|2\*\*53"):
        to_minor(amount, "USD")


@pytest.mark.parametrize("minor", [1.0, "1", None, True, Decimal(1)])
def test_minor_units_are_ints(minor: object) -> None:
    """Minor units are counted, never measured."""
    with pytest.raises(TypeError, match="minor units are an int"):
        Money(minor, "USD")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("minor", [LIMIT + 1, -LIMIT - 1])
def test_amounts_beyond_exact_json_are_refused(minor: int) -> None:
    """An amount that a JavaScript reader would round is refused."""
    with pytest.raises(ValueError, match=r"2\*\*53 - 1"):
        Money(minor, "USD")


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_allocation_is_exact_fair_and_leaves_the_rest_to_the_largest(total: int, weights: list[int]) -> None:
    """Parts add up to the total; all but the largest are the share cut towards zero; none changes sign."""
    if not sum(weights):
        with pytest.raises(ValueError, match="add up to 0"):
            allocate(total, weights)
        return
    parts = allocate(total, weights)
    assert sum(parts) == total
    largest = weights.index(max(weights))
    sign = -1 if total < 0 else 1
    for index, (part, weight) in enumerate(zip(parts, weights, strict=True)):
        share = sign * (abs(total) * weight // sum(weights))
        assert part * sign >= 0
        assert part == share if index != largest else 0 <= (part - share) * sign < len(weights)


def test_allocation_over_discounted_lines() -> None:
    """A discount line takes a negative part, and the remainder still goes to the largest line."""
    assert allocate(100, [10, -3, 6]) == [77, -23, 46]
    assert allocate(100, [1, 1, 1]) == [34, 33, 33]
    assert [str(part) for part in Money(100, "USD").split([1, 1, 1])] == ["0.34 USD", "0.33 USD", "0.33 USD"]


@given(st.integers(1 - 2**52, 2**52 - 1), st.integers(1 - 2**52, 2**52 - 1), currencies)
def test_arithmetic_is_that_of_the_minor_units(left: int, right: int, currency: str) -> None:
    """Sums, differences and order are exact."""
    assert Money(left, currency) + Money(right, currency) == Money(left + right, currency)
    assert Money(left, currency) - Money(right, currency) == Money(left - right, currency)
    assert -Money(left, currency) == Money(-left, currency)
    assert (Money(left, currency) < Money(right, currency)) == (left < right)
    assert (Money(left, currency) <= Money(right, currency)) == (left <= right)
    assert bool(Money(left, currency)) == bool(left)


def test_currencies_never_mix() -> None:
    """Adding or comparing dollars and euros is refused with both amounts named."""
    for mix in (Money.__add__, Money.__sub__, Money.__lt__, Money.__le__):
        with pytest.raises(ValueError, match=r"1\.00 USD and 1\.00 EUR are in different currencies"):
            mix(Money(100, "USD"), Money(100, "EUR"))


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1250, "USD"), "12.50 USD"),
        (Money(-1250, "JPY"), "-1250 JPY"),
        (Money(1250, "KWD"), "1.250 KWD"),
    ],
)
def test_money_prints_exactly(money: Money, text: str) -> None:
    """Printed money shows the currency's own decimals."""
    assert str(money) == text


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9), st.integers(0, 7)
)
def test_round_half_up_ignores_the_callers_context(amount: Decimal, places: int) -> None:
    """Seven decimals of a unit price round half up whatever context the caller works in."""
    with localcontext() as context:
        context.prec = 2
        rounded = round_half_up(amount, places)
    with localcontext() as context:
        context.prec = 80
        assert rounded == amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
