"""Commands: small, exact, and refused by name otherwise."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import BadMessage, commands
from messages.commands import Command, encode, parse

ID = UUID("0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01")


@given(st.uuids(), st.integers(1, 2**31 - 1))
def test_a_command_is_read_back_equal(operation_id: UUID, attempt: int) -> None:
    """Every command survives the wire, in the same bytes."""
    command = Command(operation_id=operation_id, attempt=attempt)
    assert parse(encode(command)) == command


def test_the_bytes_are_stable() -> None:
    """Running fleets of two releases understand each other: these bytes never change within version 1."""
    assert encode(Command(operation_id=ID, attempt=2)) == (
        b'{"version":1,"operation_id":"0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01","attempt":2}'
    )


@pytest.mark.parametrize(
    ("body", "reason", "sentence"),
    [
        (b"", "bad_json", "body is not JSON"),
        (b'{"options":null}', "unknown_version", "version is null; this fleet reads 1"),
        (b'{"version":2}', "unknown_version", "version is 2; this fleet reads 1"),
        (b'{"version":true}', "unknown_version", "version is true; this fleet reads 1"),
        (b"[]", "invalid_command", "body is an array; send one JSON object"),
        (b"null", "invalid_command", "body is null; send one JSON object"),
        (b'{"version":1,"attempt":1}', "invalid_command", "operation_id is missing"),
        (
            b'{"version":1,"operation_id":"x","attempt":1}',
            "invalid_command",
            "operation_id is 'x'; send a UUID",
        ),
        (
            b'{"version":1,"operation_id":"0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01","attempt":0}',
            "invalid_command",
            "attempt is 0: ",
        ),
        (
            b'{"version":1,"operation_id":"0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01","attempt":"1"}',
            "invalid_command",
            "attempt is '1': ",
        ),
        (b'"' + b"x" * commands.MAX_BYTES + b'"', "too_large", "may have 4,096"),
        (b"[" * 2000 + b"]" * 2000, "too_deep", "nested deeper"),
    ],
)
def test_bad_commands_are_refused_by_name(body: bytes, reason: str, sentence: str) -> None:
    """A hostile body ends as a dead letter with a reason, never as an exception nobody expects."""
    with pytest.raises(BadMessage) as caught:
        parse(body)
    assert caught.value.reason == reason
    assert sentence in str(caught.value)


def test_unknown_fields_are_tolerated() -> None:
    """A newer sender may add a field."""
    body = b'{"version":1,"operation_id":"0190c3a8-7d3e-7a10-8c5e-2f6b1d9e4a01","attempt":1,"lane":0}'
    assert parse(body) == Command(operation_id=ID, attempt=1)
