"""Quantity, price and amount: QuickBooks' arithmetic rule holds and the amount is sacred."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messages.money import exponent, round_half_up, to_decimal
from services.outbound.amounts import PRICE_DECIMALS, priced

QUANTITIES = st.decimals(min_value="-9999", max_value="9999", places=4, allow_nan=False, allow_infinity=False)
PRICES = st.decimals(min_value="-99999", max_value="99999", places=6, allow_nan=False, allow_infinity=False)
NETS = st.integers(min_value=-10_000_000, max_value=10_000_000)
CURRENCIES = st.sampled_from(["USD", "JPY", "KWD"])


@example(quantity=Decimal("0.0236"), price=Decimal(0), net=5117905, currency="KWD")
@given(quantity=QUANTITIES, price=PRICES, net=NETS, currency=CURRENCIES)
def test_amount_is_sacred_and_arithmetic_holds(
    quantity: Decimal, price: Decimal, net: int, currency: str
) -> None:
    """Whatever came in, Amount is the net amount and equals Qty x UnitPrice rounded half up (error 6070)."""
    line = priced(quantity, price, net, currency)
    assert line.amount == to_decimal(net, currency)
    product = line.quantity * line.unit_price
    assert round_half_up(product, 2) == round_half_up(line.amount, 2)
    assert round_half_up(product, exponent(currency)) == line.amount
    assert -line.unit_price.normalize().as_tuple().exponent <= PRICE_DECIMALS  # type: ignore[operator]  # finite


@pytest.mark.parametrize(
    ("quantity", "price", "net", "sent"),
    [
        ("3", "0.0475", 14, ("3", "0.0475")),  # a price below a cent stays as it is
        ("2", "59.95", 387, ("2", "1.935")),  # prorated: the price gives way
        ("7", "10", 1, ("7", "0.0014286")),  # seven decimals are enough
        ("0", "10", 500, ("1", "5.00")),  # nothing times anything is never 5.00
        ("1", "-12.50", -1250, ("1", "-12.50")),  # a discount
    ],
)
def test_price_gives_way_before_quantity(quantity: str, price: str, net: int, sent: tuple[str, str]) -> None:
    """First as billed, then with a fitted price, and one piece only when nothing else fits."""
    line = priced(Decimal(quantity), Decimal(price), net, "USD")
    assert (line.quantity, line.unit_price) == (Decimal(sent[0]), Decimal(sent[1]))


def test_yen_hold_at_cents_too() -> None:
    """A prorated price in a currency without decimals must not leave a fraction that QuickBooks sees (6070)."""
    line = priced(Decimal("0.25"), Decimal(12675), 3169, "JPY")
    assert line.quantity * line.unit_price == line.amount == 3169


def test_original_quantity_and_rate_are_kept_for_the_reader() -> None:
    """When one piece is sent, the description still tells what was billed."""
    line = priced(Decimal(123456789), Decimal("0.01"), 1, "USD")
    assert (line.quantity, line.amount) == (Decimal(1), Decimal("0.01"))
    assert line.remark == "123456789 x 0.01 USD"
