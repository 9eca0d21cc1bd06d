"""Field types: what they take, what they refuse, and in which words."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from messages.refusals import problems_in
from messages.shape import (
    Count,
    Currency,
    Date,
    DecimalText,
    ExchangeRate,
    Identifier,
    Instant,
    Minor,
    Name,
    NotNegativeMinor,
    OptionalIdentifier,
    OptionalText,
    PositiveMinor,
    Rate,
    Rows,
    Shape,
    Text,
    Uuid,
    shown,
)


class Everything(Shape):
    """One field of each type, all optional, so that each can be tried alone."""

    minor: Minor | None = None
    positive: PositiveMinor | None = None
    not_negative: NotNegativeMinor | None = None
    number: DecimalText | None = None
    rate: Rate | None = None
    exchange: ExchangeRate | None = None
    currency: Currency | None = None
    count: Count | None = None
    day: Date | None = None
    moment: Instant | None = None
    text: Text | None = None
    name: Name | None = None
    identifier: Identifier | None = None
    maybe_text: OptionalText = None
    maybe_identifier: OptionalIdentifier = None
    uuid: Uuid | None = None
    flag: bool | None = None
    rows: Rows[Identifier] = ()


def refusal(field: str, value: Any) -> str:
    """Return the sentence with which a value is refused."""
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate({field: value})
    (problem,) = problems_in(caught.value, Everything, "data")
    assert problem.field == f"data.{field}"
    return problem.message


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        (
            "minor",
            12.5,
            "is 12.5, a number with a fraction; send an integer of minor units: 12.50 USD is 1250",
        ),
        (
            "minor",
            12.0,
            "is 12.0, a number with a fraction; send an integer of minor units: 12.50 USD is 1250",
        ),
        ("minor", "1250", "is '1250'; send an integer of minor units: 12.50 USD is 1250"),
        ("minor", True, "is true; send an integer of minor units: 12.50 USD is 1250"),
        (
            "minor",
            2**53,
            "is beyond 2**53 - 1 minor units, where readers of JSON lose cents; check the amount",
        ),
        ("positive", 0, "is 0; send an amount above 0"),
        ("positive", -5, "is -5; send an amount above 0"),
        ("not_negative", -1, "is -1; send 0 or more"),
        ("number", 1.5, 'is the JSON number 1.5; send a decimal string, for example "1.5"'),
        ("number", 3, 'is the JSON number 3; send a decimal string, for example "3"'),
        ("number", False, 'is false; send a decimal string such as "12.5"'),
        ("rate", "-1", "is '-1'; send 0 or more"),
        ("exchange", "0", "is '0'; send a number above 0"),
        ("exchange", "0.000", "is '0.000'; send a number above 0"),
        ("currency", "usd", "is 'usd'; send an ISO 4217 currency code in capitals such as USD"),
        ("currency", "XXX", "is 'XXX'; send an ISO 4217 currency code in capitals such as USD"),
        ("currency", {}, "is an object; send an ISO 4217 currency code in capitals such as USD"),
        ("count", 0, "is 0; send an integer from 1"),
        ("count", "1", "is '1'; send an integer from 1"),
        ("day", "2026-02-30", "is '2026-02-30', which no calendar has; correct the day or month"),
        ("day", "31.03.2026", "is '31.03.2026'; send an ISO date such as 2026-03-31"),
        ("day", "20260331", "is '20260331'; send an ISO date such as 2026-03-31"),
        ("day", 1774915200, "is 1774915200; send an ISO date such as 2026-03-31"),
        ("moment", "2026-03-31T25:00:00Z", "is '2026-03-31T25:00:00Z', which no clock shows; correct it"),
        ("text", 5, "is 5; send a string in quotes"),
        ("text", "a\0b", "holds a NUL character, which no database keeps; remove it"),
        ("text", "\ud800", "holds half of a surrogate pair; send the whole character"),
        ("name", " \n", "is blank or holds a NUL character; send some text"),
        ("identifier", "", "is empty; send the id"),
        (
            "identifier",
            " a",
            "has blanks at an end, or line breaks or control characters in it; send the bare id",
        ),
        (
            "identifier",
            "a\nb",
            "has blanks at an end, or line breaks or control characters in it; send the bare id",
        ),
        ("identifier", "x" * 201, "has 201 characters and may have 200; shorten it"),
        ("uuid", "7", "is '7'; send a UUID such as 0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01"),
        ("flag", "yes", "is 'yes'; send true or false, without quotes"),
        ("flag", 1, "is 1; send true or false, without quotes"),
        ("rows", {}, "is an object; send a JSON array, [] when there is none"),
        ("rows", None, "is null; send a JSON array, [] when there is none"),
    ],
)
def test_refusals_say_what_came_and_what_to_send(field: str, value: Any, sentence: str) -> None:
    """Each wrong value is refused in one sentence with the fix in it."""
    assert refusal(field, value) == sentence


@pytest.mark.parametrize(
    "value", ["1e3", "NaN", "Infinity", "+1", ".5", "5.", "1,000.00", " 1", "1 ", "", "٣", "--1"]
)
def test_decimal_strings_are_plain(value: str) -> None:
    """Exponents, NaN, separators and foreign digits are refused: every reader must see the same number."""
    assert refusal("number", value) == (
        f'is {shown(value)}; send a decimal string such as "12.5": at most 15 digits before the point and 10 '
        "after it, no exponent, no thousands separators"
    )


@pytest.mark.parametrize("value", ["2026-03-31T00:00:00Z", "2026-03-31 00:00", "2026-03-31T19:00:00-07:00"])
def test_an_instant_in_a_date_field_is_refused_by_name(value: str) -> None:
    """A document's date is a date: turning an instant into one is a decision nobody here may make."""
    assert refusal("day", value).startswith(f"is '{value}', an instant; send the date alone")
    assert "an instant" in refusal("day", datetime(2026, 3, 31, tzinfo=UTC))


@pytest.mark.parametrize("value", ["2026-03-31T19:00:00", "2026-03-31", "2026-03-31T19:00Z", 0, "now"])
def test_an_instant_needs_its_offset(value: Any) -> None:
    """A time without its offset names no instant."""
    assert "send an instant with its offset from UTC" in refusal("moment", value)
    assert "offset" in refusal("moment", datetime(2026, 3, 31, 19, 0))  # noqa: DTZ001  the point of the test


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2026-03-31T19:00:00-07:00", "2026-03-31T19:00:00-07:00"),
        ("2026-03-31t19:00:00.5z", "2026-03-31T19:00:00.5Z"),
        ("2026-03-31T19:00:00.120000+00:00", "2026-03-31T19:00:00.12Z"),
        ("2026-03-31T10:00:00+05:30", "2026-03-31T10:00:00+05:30"),
    ],
)
def test_instants_keep_their_offset(value: str, written: str) -> None:
    """31 March, 7 pm Pacific stays 31 March: the offset in which it was said is kept."""
    assert Everything.model_validate({"moment": value}).plain() == {"moment": written, "rows": []}


@given(
    st.dates(),
    st.datetimes(timezones=st.timezones().map(lambda _: UTC)),
    st.decimals(min_value=-(10**14), max_value=10**14, places=10),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.uuids(),
)
def test_python_values_and_their_wire_forms_are_the_same(
    day: date, moment: datetime, number: Decimal, minor: int, uuid: Any
) -> None:
    """A model made from Python values equals the one read back from its JSON."""
    made = Everything(day=day, moment=moment, number=number, minor=minor, uuid=uuid)
    assert Everything.model_validate(made.plain()) == made
    assert "E" not in made.plain()["number"]


def test_blank_optional_text_means_left_out() -> None:
    """Forms send "" for what nobody filled in."""
    read = Everything.model_validate({"maybe_text": "  ", "maybe_identifier": "", "day": None})
    assert read == Everything()


def test_unknown_fields_are_tolerated_and_messages_cannot_change() -> None:
    """A sender may know more than we do; a checked message stays as it was checked."""
    read = Everything.model_validate({"minor": 1, "loyalty_points": [1.5]})
    assert read.plain() == {"minor": 1, "rows": []}
    with pytest.raises(ValidationError):
        read.minor = 2  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 1000, "'" + "x" * 56 + "..."),
        ("\ud800é", r"'\ud800\xe9'"),
        pytest.param(10**5000, "an integer of many digits", id="huge"),
        ([1], "an array"),
        (b"x", "bytes"),
    ],
)
def test_refused_values_are_shown_short_and_printable(value: Any, text: str) -> None:
    """Hostile input cannot flood or break a log through an error."""
    assert shown(value) == text
