"""Bodies of messages: JSON bytes to plain values and back.

Whatever two readers could understand differently is refused.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from messages.errors import BadJson, Problem, TooDeep, TooLarge

MAX_BYTES: Final = 1_048_576  # 1 MB
MAX_DEPTH: Final = 32  # objects and arrays inside one another; an invoice needs 6

NUL: Final = "holds a NUL character, which no database keeps; remove it"
HALF_CHARACTER: Final = "holds half of a surrogate pair; send the whole character"

# A NUL character and half of a surrogate pair are legal JSON, yet PostgreSQL's jsonb refuses both.
_SUSPECT_ESCAPE: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def read(body: bytes, *, limit: int = MAX_BYTES) -> Any:
    """Parse UTF-8 JSON bytes into plain values.

    Raises TooLarge beyond `limit` bytes, TooDeep beyond 32 levels, and BadJson for everything that is not
    unambiguous JSON: duplicated names (RFC 8259 section 4 leaves their meaning open), NaN, Infinity, and what
    PostgreSQL cannot keep.
    """
    if len(body) > limit:
        raise TooLarge([_too_large(len(body), limit)])
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise BadJson(
            [Problem("body", f"is not UTF-8 at byte {error.start}; encode the JSON as UTF-8")]
        ) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BadJson([Problem("body", f"is not JSON at {where}: {error.msg}; send one object")]) from None
    except RecursionError:
        raise TooDeep([_TOO_DEEP]) from None
    except ValueError:  # the interpreter's own guard against integers of thousands of digits
        raise BadJson([Problem("body", "holds a number of thousands of digits; shorten it")]) from None
    _check_depth(value)
    if _SUSPECT_ESCAPE.search(body):
        _check_characters(value)
    return value


def write(value: Any) -> bytes:
    """Encode plain values as compact UTF-8 JSON; equal values in equal order give equal bytes.

    Raises BadJson for NaN, Infinity and text that UTF-8 cannot carry, TooLarge beyond 1 MB.
    """
    try:
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except ValueError as error:
        raise BadJson([Problem("body", f"cannot be written as JSON: {error}")]) from None
    if len(body) > MAX_BYTES:
        raise TooLarge([_too_large(len(body), MAX_BYTES)])
    return body


_TOO_DEEP: Final = Problem("body", f"is nested deeper than {MAX_DEPTH} levels; flatten it")


def _too_large(size: int, limit: int) -> Problem:
    return Problem(
        "body", f"has {size:,} bytes and may have {limit:,}; shorten its texts or bill in several documents"
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise BadJson([Problem(_shown(name), "appears twice in one object; send it once")])
            seen.add(name)
    return value


def _constant(name: str) -> NoReturn:
    raise BadJson([Problem("body", f"holds {name}, which is not JSON; leave the field out or send a number")])


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            if type(node) in _NESTED
            for child in (node.values() if type(node) is dict else node)
            if type(child) in _NESTED
        ]
        if not level:
            return
    raise TooDeep([_TOO_DEEP])


_NESTED: Final = frozenset((dict, list))


def _check_characters(value: Any) -> None:
    pending = [("body", value)]
    while pending:
        name, node = pending.pop()
        if isinstance(node, dict):
            pending += node.items()
            pending += ((key, key) for key in node)
        elif isinstance(node, list):
            pending += ((name, child) for child in node)
        elif isinstance(node, str) and "\0" in node:
            raise BadJson([Problem(_shown(name), NUL)])
        elif isinstance(node, str) and any("\ud800" <= character <= "\udfff" for character in node):
            raise BadJson([Problem(_shown(name), HALF_CHARACTER)])


def _shown(name: str) -> str:
    """Return a name from a hostile body in a form and length that logs and databases take."""
    return name[:60].encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
