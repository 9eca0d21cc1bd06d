"""What counts as an outage of the database, and what is only a refusal."""

from __future__ import annotations

import threading

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tests.support import eventually
from workers.gate import Gate, database_is_down


def _wrapped(kind: type[DBAPIError], error: Exception, *, invalidated: bool = False) -> DBAPIError:
    return kind("SELECT 1", {}, error, connection_invalidated=invalidated)


DOWN = {
    "connection refused": _wrapped(OperationalError, psycopg.OperationalError("connection refused")),
    "connection already closed": _wrapped(InterfaceError, psycopg.InterfaceError("closed")),
    "lost in mid-query": _wrapped(OperationalError, psycopg.errors.AdminShutdown(), invalidated=True),
    "shutting down": _wrapped(OperationalError, psycopg.errors.CannotConnectNow()),
    "too many connections": _wrapped(OperationalError, psycopg.errors.TooManyConnections()),
    "disk full": _wrapped(OperationalError, psycopg.errors.DiskFull()),
    "read-only during a failover": _wrapped(DBAPIError, psycopg.errors.ReadOnlySqlTransaction()),
    "no connection in the pool": PoolTimeout("QueuePool limit"),
    "psycopg's own": psycopg.OperationalError("connection refused"),
}
UP = {
    "a unique violation": _wrapped(IntegrityError, psycopg.errors.UniqueViolation()),
    "a missing table": _wrapped(ProgrammingError, psycopg.errors.UndefinedTable()),
    "a statement timeout": _wrapped(OperationalError, psycopg.errors.QueryCanceled()),
    "a deadlock": _wrapped(OperationalError, psycopg.errors.DeadlockDetected()),
    "a bug": LookupError("a bug"),
}


@pytest.mark.parametrize("name", DOWN)
def test_an_outage_is_seen_as_one(name: str) -> None:
    """The message that meets it is not to blame."""
    assert database_is_down(DOWN[name])


@pytest.mark.parametrize("name", UP)
def test_a_refusal_is_not_taken_for_an_outage(name: str) -> None:
    """Otherwise one bad message would stop a whole process."""
    assert not database_is_down(UP[name])


def test_an_outage_is_seen_through_what_was_raised_from_it() -> None:
    """A room may wrap the exception; its cause still tells."""
    wrapper = RuntimeError("taking over failed")
    wrapper.__cause__ = DOWN["connection refused"]
    assert database_is_down(wrapper)


def test_the_gate_opens_by_itself_when_the_database_answers() -> None:
    """Nobody has to restart a worker after an outage."""
    answering = threading.Event()

    def ask() -> None:
        if not answering.is_set():
            raise ConnectionError

    gate = Gate(ask)
    gate.shut(ConnectionError())
    assert not gate.is_open
    answering.set()
    assert gate.wait(5)


def test_patience_ends_only_while_it_is_shut() -> None:
    """Consumers give back what they hold after a while, and not when the outage is over."""
    answering = threading.Event()

    def ask() -> None:
        if not answering.is_set():
            raise ConnectionError

    gate = Gate(ask, patience=0.05)
    assert not gate.exhausted
    gate.shut(ConnectionError())
    eventually(lambda: gate.exhausted, 5)
    answering.set()
    assert gate.wait(5)
    assert not gate.exhausted


def test_shutting_twice_asks_once() -> None:
    """Every thread of a process meets the same outage."""
    asked: list[str] = []
    release = threading.Event()

    def ask() -> None:
        asked.append(threading.current_thread().name)
        release.wait(5)

    gate = Gate(ask)
    for _ in range(5):
        gate.shut(ConnectionError())
    eventually(lambda: asked)
    release.set()
    assert gate.wait(5)
    assert len(asked) == 1
