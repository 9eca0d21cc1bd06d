"""One leader at a time, by a session advisory lock: it ends with the connection, so a dead leader blocks nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from services.database.engine import ALL_TENANTS, Database, begin

log = structlog.get_logger()

STANDBY = 1.0  # seconds between two tries of a process that stands by


class Leadership:
    """The held lock, and the connection it lives on. All of the leader's work goes through that connection.

    So work that commits was done by the leader: if the connection is gone, so is the lock.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self, *, plan_once: bool = False) -> Iterator[Connection]:
        """A transaction across all tenants on the leader's own connection; `plan_once` as in `engine.begin`."""
        with self._connection.begin():
            begin(self._connection, ALL_TENANTS, plan_once=plan_once)
            yield self._connection


@contextmanager
def lead(database: Database, role: str, stop: threading.Event) -> Iterator[Leadership | None]:
    """Wait until this process leads `role`; None when `stop` came first. The lock ends with the block."""
    with database.engine.connect() as connection:
        while not stop.is_set():
            held: bool = connection.execute(
                text("SELECT pg_try_advisory_lock(hashtextextended('leader:' || :role, 0))"), {"role": role}
            ).scalar_one()
            connection.commit()
            if held:
                log.info("leading", role=role)
                try:
                    yield Leadership(connection)
                finally:
                    _give_up(connection, role)
                return
            stop.wait(STANDBY)
    yield None


def _give_up(connection: Connection, role: str) -> None:
    """Release the lock; a broken connection has released it already."""
    try:
        connection.rollback()
        connection.execute(
            text("SELECT pg_advisory_unlock(hashtextextended('leader:' || :role, 0))"), {"role": role}
        )
        connection.commit()
    except DBAPIError:
        connection.invalidate()
