"""Going through a table a slice at a time, for jobs that look for a few rows among many that are to stay.

A job that looked at all of them each time would cost more the longer the fleet has run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, TextClause


class Slices:
    """Remembers how far it has come, in this process only: another one begins anew, which costs a round, no more.

    `statement` selects, in order, the rows behind the columns named in `start`, given as values of those names, and at
    most `size` of them. Give an upper bound by `statement_timestamp()`: `clock_timestamp()` moves on while a statement
    runs, so PostgreSQL reads an index to its end for it.
    """

    def __init__(self, statement: TextClause, start: Mapping[str, Any], size: int) -> None:
        self._statement = statement
        self._start = dict(start)
        self._size = size
        self._place = dict(start)

    def next(self, connection: Connection, **values: Any) -> list[Row[Any]]:
        """The next slice; after the last one the first again."""
        rows = list(connection.execute(self._statement, {**self._place, **values, "size": self._size}))
        whole = len(rows) == self._size
        self._place = {name: getattr(rows[-1], name) for name in self._start} if whole else dict(self._start)
        return rows
