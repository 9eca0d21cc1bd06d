"""Ids as people type them: whole, or the last characters that a table shows."""

from __future__ import annotations

import re
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.cli.console import USAGE, Told

SHORTEST = 6

_FIND = {
    "letter": text(
        "SELECT letter_id FROM letter WHERE translate(letter_id::text, '-', '') LIKE '%' || :tail LIMIT 2"
    ),
    "exception": text(
        "SELECT exception_id FROM exception WHERE translate(exception_id::text, '-', '') LIKE '%' || :tail LIMIT 2"
    ),
    "operation": text(
        "SELECT operation_id FROM operation WHERE translate(operation_id::text, '-', '') LIKE '%' || :tail LIMIT 2"
    ),
}


def find(connection: Connection, what: Literal["letter", "exception", "operation"], written: str) -> UUID:
    """The id meant: a whole one as it is, else the only one that ends like this. Raises `Told`."""
    try:
        return UUID(written)
    except ValueError:
        pass
    tail = written.replace("-", "").lower()
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}", tail):
        raise _bad(f"{written!r} is no id; give all of it, or at least its last {SHORTEST} characters")
    found = list(connection.execute(_FIND[what], {"tail": tail}).scalars())
    if len(found) != 1:
        how_many = "several" if found else "no"
        raise _bad(f"{how_many} {what}s end with {written!r}; give the whole id")
    return UUID(str(found[0]))


def _bad(sentence: str) -> Told:
    return Told(sentence, code="invalid_id", field="id", exit_code=USAGE)
