"""Money on the wire is exact, both ways."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks import body


@given(st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-(10**14), max_value=10**14))
def test_a_decimal_goes_out_with_exactly_its_digits(amount: Decimal) -> None:
    """The number in the body has the digits that were given, trailing zeros too, and never an exponent."""
    assert body.dump({"Amount": amount}) == f'{{"Amount":{amount:f}}}'
    assert body.load(body.dump([amount])) == [amount]


@pytest.mark.parametrize("text", ["10.50", "0.1", "100.00", "1.0000000", "999999999999.99"])
def test_a_number_comes_in_with_exactly_its_digits(text: str) -> None:
    """What QuickBooks writes as 10.50 is Decimal('10.50'), not the nearest binary fraction."""
    assert str(body.load(f'{{"TotalAmt":{text}}}')["TotalAmt"]) == text


def test_an_exponent_is_written_out() -> None:
    """A Decimal that calls itself 1E+2 is sent as 100, as a person would write it."""
    assert body.dump([Decimal("1E+2"), Decimal("0E-7"), Decimal("1E-7")]) == "[100,0.0000000,0.0000001]"


@pytest.mark.parametrize(
    ("bad", "kind"),
    [(1.1, TypeError), (Decimal("NaN"), ValueError), (Decimal("Infinity"), ValueError), (b"x", TypeError)],
)
def test_what_is_not_exact_is_refused_by_name(bad: object, kind: type[Exception]) -> None:
    """A float or NaN in a body is refused before anything is sent, and the message says where it stood."""
    with pytest.raises(kind, match=r"Line\[0\]\.Amount"):
        body.dump({"Line": [{"Amount": bad}]})


@given(st.text())
def test_any_text_goes_out_in_ascii_and_means_the_same(text: str) -> None:
    """US companies are read as ISO-8859-1 and others as UTF-8: the bytes must mean the same in both."""
    written = body.dump({"Name": text})
    assert written.isascii()
    assert json.loads(written) == {"Name": text}


def test_dates_are_written_as_iso() -> None:
    """A date field holds a date without a time."""
    assert body.dump({"TxnDate": datetime.date(2026, 3, 31)}) == '{"TxnDate":"2026-03-31"}'
