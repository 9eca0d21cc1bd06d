"""Headers that anybody may have written."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from decimal import Decimal

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.headers import UNREADABLE, defect, plain, text

BROKERS_OWN = {
    "queue": "export.v1",
    "reason": "rejected",
    "count": 1,
    "exchange": "work",
    "routing-keys": ["export"],
    "time": datetime(2026, 11, 23, tzinfo=UTC),
}


def test_deaths_as_a_broker_writes_them_are_no_defect() -> None:
    """An operator may move letters back into a queue with RabbitMQ's own tools."""
    assert defect({"x-death": [BROKERS_OWN, BROKERS_OWN | {"reason": "expired"}]}) == ""
    assert defect({"x-death": []}) == ""
    assert defect({}) == ""


@pytest.mark.parametrize(
    "deaths",
    ["yesterday", 1, None, {"queue": "export.v1"}, [1], ["a"], [BROKERS_OWN, 1], [{"count": "many"}]],
)
def test_a_forged_death_is_a_defect(deaths: object) -> None:
    """Each of these ended dead-lettering on a node of RabbitMQ 3.10, or may."""
    assert "x-death" in defect({"x-death": deaths})


def test_headers_that_could_not_be_read_are_a_defect() -> None:
    """The broker holds them still, and would hand them to the next reader."""
    assert "OverflowError" in defect({UNREADABLE: "OverflowError"})


def _encoded(value: bytes) -> bytes:
    """Basic properties with nothing but headers, whose only value is as given on the wire."""
    table = b"\x01h" + value
    return struct.pack(">H", pika.BasicProperties.FLAG_HEADERS) + struct.pack(">I", len(table)) + table


def _decoded(value: bytes) -> object:
    properties = pika.BasicProperties()
    properties.decode(_encoded(value))
    return properties.headers


def test_a_table_that_cannot_be_read_is_passed_over() -> None:
    """An instant beyond the year 9999 costs the headers, not the connection."""
    assert _decoded(b"T" + b"\x7f" + b"\xff" * 7) in ({UNREADABLE: "OSError"}, {UNREADABLE: "ValueError"})
    assert _decoded(b"?") == {UNREADABLE: "InvalidFieldTypeException"}
    assert _decoded(b"t\x01") == {"h": True}


@given(st.binary(max_size=40))
def test_no_header_ends_a_connection(value: bytes) -> None:
    """Whatever the bytes of a table are, reading them raises nothing."""
    assert isinstance(_decoded(value), dict)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=True)
    | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
)


@given(VALUES)
def test_every_header_can_be_told_in_json(value: object) -> None:
    """A letter with odd headers must not be unfileable: PostgreSQL takes no NUL, JSON no bytes."""
    told = json.dumps(plain(value))
    assert "\\u0000" not in told
    assert json.loads(told) == plain(value)


def test_headers_are_cut_to_a_size_for_people() -> None:
    """A megabyte of header does not become a megabyte in the list of letters."""
    assert len(plain("a" * 10_000)) == 2000
    assert len(plain([1] * 1000)) == 100
    assert plain(Decimal("1.50")) == "1.50"


def test_short_strings_may_be_any_bytes() -> None:
    """A message id that is not UTF-8 is still an id."""
    assert text(b"\xffid") == "\\xffid"
    assert text("id") == "id"
    assert text(None) is None
