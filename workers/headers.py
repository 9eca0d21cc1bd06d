"""AMQP headers, which anybody may have written: read without harm, judged, and told in JSON.

Two things make a header deadly. pika decodes headers inside the connection, so a value that Python cannot hold (an
instant beyond the year 9999, tables nested a thousand deep) ends the connection, and the message that carries it
does so again at every delivery. And RabbitMQ before 4.0 believes an `x-death` that a publisher wrote: one that the
broker itself would not have written kills the process that dead-letters for all quorum queues of its node, again at
every start. So headers are decoded tolerantly here, and what is deadly never comes back to the broker.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import pika.data
from pika.exceptions import AMQPError

Headers = Mapping[str, Any]

UNREADABLE: Final = "x-algasync-unreadable"
"""Stands for headers that could not be read; its value says why."""

QUEUE_HEADER: Final = "x-algasync-queue"
CODE_HEADER: Final = "x-algasync-code"
REASON_HEADER: Final = "x-algasync-reason"
FOREIGN_HEADER: Final = "x-algasync-foreign-headers"
"""What our consumer writes on a letter that the broker must not dead-letter itself."""

_DEPTH: Final = 8  # levels of a header that are told in a letter
_WIDTH: Final = 100  # entries of one level
_LENGTH: Final = 2000  # characters of one text


def defect(headers: Headers) -> str:
    """What makes these headers deadly for the broker that gets them back; "" when nothing does."""
    if UNREADABLE in headers:
        return f"cannot be read ({headers[UNREADABLE]}); publish plain texts and numbers"
    deaths = headers.get("x-death", [])
    if isinstance(deaths, list) and all(
        isinstance(death, dict) and isinstance(death.get("count", 0), int) for death in deaths
    ):
        return ""
    return "hold an x-death that no broker wrote; publish without it"


def text(value: object) -> str | None:
    """A short string property as text, whatever bytes it was made of."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if isinstance(value, str) else None


def plain(value: object, depth: int = 0) -> Any:
    """A header value as JSON knows it, cut to a size for people; never raises."""
    if value is None or isinstance(value, bool | int):
        return value if not isinstance(value, int) or abs(value) < 2**63 else str(value)
    if isinstance(value, str | bytes):
        return str(text(value))[:_LENGTH].replace("\0", "\\0")
    if isinstance(value, datetime):
        return value.isoformat()
    if depth >= _DEPTH:
        return "..."
    if isinstance(value, dict):
        items = list(value.items())[:_WIDTH]
        return {str(plain(name)): plain(inner, depth + 1) for name, inner in items}
    if isinstance(value, list):
        return [plain(inner, depth + 1) for inner in value[:_WIDTH]]
    return str(value)[:_LENGTH]


_Decode = Callable[[bytes, int], tuple[dict[Any, Any], int]]


def _tolerant(decode: _Decode) -> _Decode:
    inside = threading.local()

    def decode_table(encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
        if getattr(inside, "a_table", False):
            return decode(encoded, offset)  # a table in a table fails with the whole
        inside.a_table = True
        try:
            return decode(encoded, offset)
        except (ValueError, ArithmeticError, OSError, RecursionError, struct.error, AMQPError) as error:
            (length,) = struct.unpack_from(">I", encoded, offset)
            return {UNREADABLE: type(error).__name__}, offset + 4 + length
        finally:
            inside.a_table = False

    return decode_table


# pika offers no seam for this. A table is preceded by its length, so one that cannot be read can be passed over.
pika.data.decode_table = _tolerant(pika.data.decode_table)
