"""Holding a worker at a boundary of an export, from outside, so that it can be killed exactly there.

The product has no hooks for this. A lock that another session holds stops a worker before or inside a transaction, a
limiter slot that lies ahead stops it between intent and call, the sandbox stops a call, a stalled network an ack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import namedtuple_row

from deploy.local.process import wait_until
from services.cli.arena import Arena
from services.cli.chaos.proxy import Proxy

REACHED_WITHIN: Final = 30.0  # seconds
_SLOT_AHEAD: Final = 1.8  # seconds; the dispatcher keeps commands back whose slot is 2 s away

_OPTIONS: Final = "-c role=algasync_fleet -c search_path=algasync,pg_catalog -c algasync.tenant=*"
_HOLDS_UP: Final = """
    SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                    WHERE NOT l.granted AND a.application_name = 'algasync workers'
                      AND %s = ANY (pg_blocking_pids(l.pid)))
"""
_OPERATION: Final = """
    SELECT operation_id, state, outcome FROM operation
     WHERE tenant_id = %s AND document_kind = 'invoice' AND document_id = %s ORDER BY revision DESC LIMIT 1
"""


class Boundary(StrEnum):
    """Where a worker stands when it dies, in the order of an export."""

    BEFORE_INTENT = "before_intent"  # the command has arrived, nothing is written down
    AFTER_INTENT = "after_intent"  # the call is written down, nothing is sent
    BEFORE_CALL = "before_call"  # the request is on its way, QuickBooks has not acted
    ANSWER_LOST = "answer_lost"  # QuickBooks has acted, its answer has not arrived
    AFTER_ANSWER = "after_answer"  # the answer has arrived, nothing of it is recorded
    BEFORE_COMMIT = "before_commit"  # everything is recorded but for the commit
    BEFORE_ACK = "before_ack"  # everything is committed, the message is not acknowledged


class NotReached(Exception):
    """No worker came to the boundary in time."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Whose export is to be stopped. `bill` emits an invoice that nothing keeps back and returns its id."""

    tenant: str
    company_id: UUID
    realm: str
    bill: Callable[[], str]


class Boundaries:
    """Holds workers up. Their connections to the broker must go through `proxy`."""

    def __init__(self, arena: Arena, database_url: str, proxy: Proxy) -> None:
        self._arena = arena
        self._database_url = make_conninfo(database_url, options=_OPTIONS, application_name="algasync chaos")
        self._proxy = proxy

    @contextmanager
    def held(self, boundary: Boundary, aim: Aim) -> Iterator[str]:
        """Bill something and wait until a worker stands at the boundary with it; the block may kill the worker.

        Yields the invoice's id; afterwards nothing is held up any more. Raises `NotReached`.
        """
        with psycopg.connect(self._database_url, row_factory=namedtuple_row) as session:
            hold = getattr(self, f"_{boundary}")
            with hold(session, aim) as document_id:
                yield document_id

    # --- one a boundary; `session` holds what it locks until it rolls back -------------------------------

    @contextmanager
    def _before_intent(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        session.execute("SELECT FROM company_limiter WHERE company_id = %s FOR UPDATE", (aim.company_id,))
        document_id = aim.bill()
        self._until_blocked(session)
        yield document_id
        session.rollback()

    @contextmanager
    def _after_intent(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        session.execute(
            """UPDATE company_limiter SET next_call = clock_timestamp() + make_interval(secs => %s)
                WHERE company_id = %s""",
            (_SLOT_AHEAD, aim.company_id),
        )
        session.commit()
        document_id = aim.bill()
        self._until(session, aim, document_id, "running")
        yield document_id

    @contextmanager
    def _before_call(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        with self._trouble(aim, "hang_before") as rule:
            document_id = aim.bill()
            self._until_hit(rule)
            yield document_id

    @contextmanager
    def _answer_lost(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        with self._trouble(aim, "hang_after") as rule:
            document_id = aim.bill()
            self._until_hit(rule)
            yield document_id

    @contextmanager
    def _after_answer(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        with self._trouble(aim, "latency", times=0, seconds=0.5):
            document_id = aim.bill()
            operation_id = self._until(session, aim, document_id, "running")
            session.execute("SELECT FROM operation WHERE operation_id = %s FOR UPDATE", (operation_id,))
            self._until_blocked(session)
            yield document_id
        session.rollback()

    @contextmanager
    def _before_commit(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        with self._trouble(aim, "latency", times=0, seconds=0.5):
            document_id = aim.bill()
            operation_id = self._until(session, aim, document_id, "running")
            # Waking whoever waited for this step is the last thing that a finishing transaction does.
            session.execute(
                "SELECT pg_advisory_xact_lock_shared(condition_lock(%s, 'step', %s::text))",
                (aim.tenant, operation_id),
            )
            self._until_blocked(session)
            yield document_id
        session.rollback()

    @contextmanager
    def _before_ack(self, session: psycopg.Connection[Any], aim: Aim) -> Iterator[str]:
        with self._trouble(aim, "latency", times=0, seconds=0.5):
            try:
                document_id = aim.bill()
                self._until(session, aim, document_id, "running")
                self._proxy.stall()
                self._until(session, aim, document_id, "succeeded")
                yield document_id
            finally:
                self._proxy.cut()
                self._proxy.flow()

    # --- waiting ----------------------------------------------------------------------------------------

    def _until(self, session: psycopg.Connection[Any], aim: Aim, document_id: str, state: str) -> UUID:
        """Wait until the invoice's newest operation is in this state; returns its id."""
        found: list[UUID] = []

        def there() -> bool:
            row = session.execute(_OPERATION, (aim.tenant, document_id)).fetchone()
            session.commit()
            if row is not None and row.state == state:
                found.append(row.operation_id)
            return bool(found)

        if not wait_until(there, REACHED_WITHIN):
            raise NotReached(f"invoice {document_id} was not {state} within {REACHED_WITHIN:g} s")
        return found[0]

    def _until_blocked(self, session: psycopg.Connection[Any]) -> None:
        """Wait until a worker waits for what `session` has locked."""
        with psycopg.connect(self._database_url, autocommit=True) as watcher:

            def blocked() -> bool:
                row = watcher.execute(_HOLDS_UP, (session.info.backend_pid,)).fetchone()
                return row is not None and bool(row[0])

            if not wait_until(blocked, REACHED_WITHIN):
                raise NotReached(f"no worker waited for our lock within {REACHED_WITHIN:g} s")

    @contextmanager
    def _trouble(self, aim: Aim, kind: str, times: int = 1, **conditions: Any) -> Iterator[str]:
        rule = self._arena.trouble(
            kind, realm=aim.realm, entity="invoice", method="POST", times=times, **conditions
        )
        try:
            yield rule
        finally:
            self._arena.no_more_trouble(rule)

    def _until_hit(self, rule: str) -> None:
        if not wait_until(lambda: self._arena.hits(rule) > 0, REACHED_WITHIN):
            raise NotReached(f"no call met the sandbox's trouble within {REACHED_WITHIN:g} s")
