"""Statements of the hot path, sent by psycopg itself inside a transaction of `Database`.

SQLAlchemy spends more on a short statement than PostgreSQL does. These are written like its `text()`, with values
as `:name`, are prepared when a connection first sends them, and raise SQLAlchemy's errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import psycopg
from psycopg import Cursor
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]

_VALUE = re.compile(r"(?<![:\w]):(\w+)")  # and not a cast, `::`


class Statement:
    """One statement, written once and sent often."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = _VALUE.sub(r"%(\1)s", text.replace("%", "%%")).encode()

    @property
    def sql(self) -> str:
        """The text as psycopg wants it, with values as `%(name)s`."""
        return self._text.decode()

    def all(self, connection: Connection, values: Mapping[str, Any]) -> list[Row]:
        """Every row."""
        return self._send(connection, values).fetchall()

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Row | None:
        """The first row, None when there is none."""
        return self._send(connection, values).fetchone()

    def one(self, connection: Connection, values: Mapping[str, Any]) -> Row:
        """The only row of a statement that always has one."""
        found = self._send(connection, values).fetchone()
        assert found is not None
        return found

    def run(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """How many rows were written."""
        return self._send(connection, values).rowcount

    def _send(self, connection: Connection, values: Mapping[str, Any]) -> Cursor[Row]:
        session = driver(connection)
        try:
            return session.execute(self._text, values, prepare=True)
        except psycopg.Error as error:
            _refuse(connection, session, error)


def driver(connection: Connection) -> psycopg.Connection[Row]:
    """psycopg's own session behind a connection of the pool."""
    session = connection.connection.driver_connection
    assert isinstance(session, psycopg.Connection)  # what the dialect of `to_driver_url` opens
    return session


def _refuse(connection: Connection, session: psycopg.Connection[Row], error: psycopg.Error) -> NoReturn:
    """Raise what SQLAlchemy would have raised."""
    if session.closed or session.broken:
        connection.exec_driver_sql("SELECT")  # SQLAlchemy notices, drops its whole pool, and raises
    raise DBAPIError.instance(
        None, None, error, psycopg.Error, hide_parameters=True, dialect=connection.dialect
    ) from error
