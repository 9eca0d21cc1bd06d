"""Fixtures of the fleet's tests."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator

import pika.data
import pytest
import structlog
from dramatiq.middleware.time_limit import _CtypesTimeoutManager

from tests.integration.workers.harness import amqp

__all__ = ["amqp"]


@pytest.fixture(autouse=True, scope="module")
def _plain_tracebacks() -> Iterator[None]:
    """Drawing a traceback with all its locals takes longer than most of these tests."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, colors=False)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()


AS_ON_THE_WIRE = "as on the wire"


def _table(inner: bytes) -> bytes:
    return b"F" + struct.pack(">I", len(inner)) + inner


def _nested(levels: int) -> bytes:
    inner = b"\x01aV"
    for _ in range(levels):
        inner = b"\x01a" + _table(inner)
    return _table(inner)


DEADLY = {
    "far in the future": b"T" + b"\x7f" + b"\xff" * 7,
    "before all time": b"T" + b"\xff" * 8,
    "very deep": _nested(5000),
}


@pytest.fixture(params=DEADLY)
def deadly_headers(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dict[str, object]]:
    """Headers to publish with, whose value no Python client can decode (and so none can encode)."""
    wire = DEADLY[request.param]
    encode_value = pika.data.encode_value

    def encode(pieces: list[bytes], value: object) -> int:
        if value == AS_ON_THE_WIRE:
            pieces.append(wire)
            return len(wire)
        return int(encode_value(pieces, value))

    monkeypatch.setattr("pika.data.encode_value", encode)
    return lambda: {"deadly": AS_ON_THE_WIRE}


@pytest.fixture(autouse=True)
def _no_limit_outlives_its_test() -> Iterator[None]:
    """Forget the time limits of worker threads that a test has stopped in the middle of a message.

    Dramatiq's timer never ends and knows threads by their number only, which the next thread may be given.
    """
    yield
    for thread in threading.enumerate():
        if isinstance(thread, _CtypesTimeoutManager):
            with thread.mu:
                thread.deadlines.clear()
