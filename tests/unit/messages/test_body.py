"""Hostile and broken bodies are refused with a reason; honest ones are not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import BadJson, BadMessage, TooDeep, TooLarge
from messages.body import MAX_BYTES, MAX_DEPTH, read, write

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    """Every plain value survives, and the same value gives the same bytes."""
    assert read(write(value)) == value
    assert write(value) == write(read(write(value)))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes raise anything but a BadMessage."""
    refused = None
    try:
        read(body)
    except BadMessage as error:
        refused = error
    assert refused is None or (refused.reason in {"bad_json", "too_deep"} and str(refused))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "is not JSON at line 1 column 1"),
        (b"{", "is not JSON"),
        (b'{"a":1} x', "is not JSON"),
        (b"\xff\xfe{}", "is not UTF-8 at byte 0"),
        ('{"a":1}'.encode("utf-16"), "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"a":NaN}', "holds NaN"),
        (b'{"a":-Infinity}', "holds -Infinity"),
        (b'{"total":1,"x":2,"total":3}', "total appears twice in one object"),
        (b'{"data":{"total":1,"total":1}}', "total appears twice"),
        (b'{"memo":"a\\u0000b"}', "memo holds a NUL character"),
        (b'{"a":[{"memo":"\\ud83d"}]}', "memo holds half of a surrogate pair"),
        (b'{"\\udc00":1}', "holds half of a surrogate pair"),
        (b'{"a":' + b"9" * 5000 + b"}", "thousands of digits"),
    ],
)
def test_ambiguous_json_is_bad_json(body: bytes, sentence: str) -> None:
    """What readers could take differently, or the database could not keep, is refused and says where."""
    with pytest.raises(BadJson, match=sentence) as caught:
        read(body)
    assert caught.value.reason == "bad_json"
    str(caught.value).encode()


def test_a_whole_surrogate_pair_and_an_escaped_backslash_are_fine() -> None:
    """Only half a pair is refused, and the text backslash-u-0000 is no NUL."""
    assert read(b'["\\ud83d\\ude00", "\\\\u0000"]') == ["\U0001f600", "\\u0000"]


def test_size_is_limited_to_the_byte() -> None:
    """A body of exactly 1 MB is read, one byte more is too large."""
    body = b'"' + b"x" * (MAX_BYTES - 2) + b'"'
    assert len(read(body)) == MAX_BYTES - 2
    with pytest.raises(TooLarge, match="has 1,048,577 bytes and may have 1,048,576"):
        read(body + b" ")
    with pytest.raises(TooLarge):
        write("x" * MAX_BYTES)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 500, 100_000])
def test_deep_nesting_is_refused(opening: bytes, depth: int) -> None:
    """Deep nesting is refused by name at any depth, also where it would exhaust the parser's stack."""
    closing = b"]" if opening == b"[" else b"}"
    with pytest.raises(TooDeep, match="nested deeper than 32 levels"):
        read(opening * depth + b"1" + closing * depth)


def test_ordinary_nesting_is_read() -> None:
    """The limit itself is allowed."""
    assert read(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_carry_is_not_written(value: Any) -> None:
    """Writing refuses what reading would refuse."""
    with pytest.raises(BadJson):
        write({"a": value})


def test_many_names_are_checked_in_linear_time() -> None:
    """A megabyte of names in one object is told apart without comparing each with each."""
    body = json.dumps({str(index): 0 for index in range(80_000)})
    with pytest.raises(BadJson, match="79999 appears twice"):
        read(body[:-1].encode() + b',"79999":1}')
