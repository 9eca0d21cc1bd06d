"""Engines and transactions.

Every connection takes one of the roles of the first migration before it does anything, and every transaction
names its tenant, so that row-level security decides what it sees even when a query forgets to.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import TracebackType

from psycopg.pq import Escaping, ExecStatus
from sqlalchemy import Connection, Engine, create_engine

from services.database.statement import Statement, driver

ALL_TENANTS = "*"
"""Scope of a fleet transaction that works across tenants (relay, dispatcher, sweeps). Never given to the API."""

STATEMENT_TIMEOUT = 30_000  # milliseconds; below every lease, so a stuck statement cannot outlive its owner
LOCK_TIMEOUT = 10_000  # milliseconds
# A process that was stopped in the middle of a transaction must not hold its locks for long: ours never think
# between two statements.
IDLE_TIMEOUT = 4_000  # milliseconds


_SCOPE = Statement("SELECT set_config('algasync.tenant', :tenant, true)")
_CAME = Statement("SELECT set_config('algasync.via', :via, true)")


class Role(StrEnum):
    """Database roles, each with the least it needs (see migration 0001)."""

    OWNER = "algasync_owner"
    API = "algasync_api"
    FLEET = "algasync_fleet"
    EMIT = "algasync_emit"


def to_driver_url(url: str) -> str:
    """`postgresql://...` as people write it, as SQLAlchemy wants it for psycopg 3. Raises `ValueError` for others."""
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise ValueError(f"DATABASE_URL must start with postgresql://, not {scheme}://")
    return f"postgresql+psycopg://{rest}"


class Database:
    """One role's access to one PostgreSQL database, with a bounded pool."""

    def __init__(self, url: str, role: Role, *, pool_size: int = 5, application: str = "algasync") -> None:
        self.url = url
        self.role = role
        self._via = ""
        options = (
            f"-c role={role} -c search_path=algasync,pg_catalog -c timezone=UTC"
            f" -c statement_timeout={STATEMENT_TIMEOUT} -c lock_timeout={LOCK_TIMEOUT}"
            f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT}"
        )
        self.engine: Engine = create_engine(
            to_driver_url(url),
            pool_size=pool_size,
            max_overflow=0,
            # Asking first costs a round trip a transaction. A worker needs none: when a connection turns out
            # broken, the pool drops them all and the message is held and done again.
            pool_pre_ping=role is not Role.FLEET,
            pool_use_lifo=True,
            hide_parameters=True,  # errors are logged, and parameters carry clients' names and secrets
            connect_args={"options": options, "application_name": application, "connect_timeout": 5},
        )

    @contextmanager
    def transaction(self, tenant: str) -> Iterator[Connection]:
        """One transaction that sees only `tenant` (or all of them with `ALL_TENANTS`, fleet only).

        Commits at the end, rolls back when the block raises.
        """
        if self.role is Role.API and tenant == ALL_TENANTS:
            raise PermissionError("the API never works across tenants")
        with self.engine.begin() as connection:
            begin(connection, tenant)
            if self._via:
                _CAME.run(connection, {"via": self._via})
            yield connection

    def acting(self, via: str) -> Database:
        """The same access, telling the timeline where its acts come from: JSON that is put into every entry."""
        noted = copy.copy(self)
        noted._via = via
        return noted

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def begin(connection: Connection, tenant: str, *, plan_once: bool = False) -> None:
    """Begin the transaction and name its tenant, in one round trip. `connection` has none open on the server.

    `plan_once`: keep the plan of a prepared statement, whatever its values; for statements of which no value changes
    the plan, and that are asked too often to be planned anew.
    """
    session = driver(connection)
    named = Escaping(session.pgconn).escape_literal(tenant.encode())
    plans = b"SET LOCAL plan_cache_mode = force_generic_plan; " if plan_once else b""
    done = session.pgconn.exec_(
        b"BEGIN; %bSELECT set_config('algasync.tenant', %b, true)" % (plans, bytes(named))
    )
    if done.status != ExecStatus.TUPLES_OK:
        scope(connection, tenant)  # meets the same trouble, and raises it in SQLAlchemy's words


def scope(connection: Connection, tenant: str) -> None:
    """Name the tenant of the running transaction; row-level security reads it."""
    _SCOPE.run(connection, {"tenant": tenant})
