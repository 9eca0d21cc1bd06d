"""Transactions of others that take long: they lock rows, keep an old snapshot, and commit events late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import outbox
from services.cli.chaos.history import Emission
from services.cli.chaos.producer import Producer
from services.database import to_driver_url
from services.database.engine import ALL_TENANTS, scope

# As a role of the fleet, and without its time-outs: nobody ends these transactions for us.
_OPTIONS: Final = "-c role=algasync_fleet -c search_path=algasync,pg_catalog -c algasync.tenant=*"
_NAME: Final = "algasync chaos"
# The limiter first, when nothing is held yet; what others hold is left to them, so that no deadlock comes of this.
_LIMITER: Final = "SELECT FROM company_limiter WHERE company_id = %s FOR UPDATE"
_DOCUMENTS: Final = """
    SELECT FROM document WHERE tenant_id = %s ORDER BY kind, document_id LIMIT 200 FOR UPDATE SKIP LOCKED
"""
_OPERATIONS: Final = """
    SELECT FROM operation WHERE tenant_id = %s AND state IN ('queued', 'running', 'waiting', 'scheduled')
     ORDER BY operation_id LIMIT 50 FOR UPDATE SKIP LOCKED
"""
_BLOCKED: Final = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"


class Locks:
    """What one long transaction holds."""

    def __init__(self, watcher: psycopg.Connection[Any], pid: int) -> None:
        self._watcher = watcher
        self._pid = pid

    def waiting(self) -> int:
        """How many sessions wait for it at this moment."""
        row = self._watcher.execute(_BLOCKED, (self._pid,)).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def rows_locked(database_url: str, tenant: str, company_id: UUID) -> Iterator[Locks]:
    """Lock a company's limiter, documents and unfinished operations, and keep a snapshot, until the block ends."""
    conninfo = make_conninfo(database_url, options=_OPTIONS, application_name=_NAME)
    with (
        closing(psycopg.connect(conninfo)) as old,
        closing(psycopg.connect(conninfo)) as session,
        closing(psycopg.connect(conninfo, autocommit=True)) as watcher,
    ):
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT count(*) FROM operation")
        session.execute(_LIMITER, (company_id,))
        session.execute(_DOCUMENTS, (tenant,))
        session.execute(_OPERATIONS, (tenant,))
        yield Locks(watcher, session.info.backend_pid)


@contextmanager
def late_commit(database_url: str, emissions: Sequence[Emission], producer: Producer) -> Iterator[None]:
    """Emit at the beginning of the block and commit at its end: later numbers are seen long before these."""
    engine = create_engine(
        to_driver_url(database_url),
        poolclass=NullPool,
        connect_args={"options": _OPTIONS, "application_name": _NAME},
    )
    with engine.connect() as connection:
        scope(connection, ALL_TENANTS)
        for one in emissions:
            outbox.emit(connection, one.tenant, one.type, one.subject, one.data, event_id=one.event_id)
        yield
        try:
            connection.commit()
        except DBAPIError:  # it is not certain that they are committed
            for one in emissions:
                producer.emit(one)
