"""Holding a worker at a boundary of an operation, from outside, and killing it there; and what both books then show.

The product has no hooks for this: a lock that another session holds stops a worker before or inside a transaction,
a limiter slot that lies ahead stops it between intent and call, the sandbox stops a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
import requests
from sqlalchemy import text

from services.ledger import sweep
from services.ledger.operations import Operation
from tests.support.deadline import eventually
from tests.support.exporting import Workbench
from tests.support.killable import Crew

_MARK = re.compile(r"(AS|TAX|WO|VD)-[A-Z2-7]{8}")  # differs by tenant and company
_TXN = {"Purchase": "Expense"}  # as payments call it
WITHIN = 15.0  # seconds until a worker is where it is to be
_BLOCKED_BY = "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"


class Boundary(StrEnum):
    """Where a worker dies, in the order in which it gets there."""

    BEFORE_INTENT = "before_intent"
    AFTER_INTENT = "after_intent"
    BEFORE_CALL = "before_call"
    ANSWER_LOST = "answer_lost"
    AFTER_ANSWER = "after_answer"
    BEFORE_COMMIT = "before_commit"
    BEFORE_ACK = "before_ack"
    DATABASE_LOST = "database_lost"


class Killer:
    """Kills workers of one workbench."""

    def __init__(self, bench: Workbench, crew: Crew) -> None:
        self._bench = bench
        self._crew = crew

    def kill(self, boundary: Boundary, operation: Operation) -> None:
        """Let a worker take the operation, and kill it at the boundary. What it left behind is then due again."""
        with psycopg.connect(self._crew.url) as session:
            getattr(self, f"_{boundary}")(session, operation)
            session.rollback()
        self._bench.no_more_troubles()
        self._bench.expire_leases()

    def _before_intent(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        session.execute(
            "SELECT FROM algasync.document WHERE tenant_id = %s AND kind = %s AND document_id = %s FOR UPDATE",
            (operation.tenant_id, operation.document_kind, operation.document_id),
        )
        pid = self._crew.start(self._bench, operation.operation_id)
        self._until_blocked(session)
        self._crew.kill(pid)

    def _after_intent(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        self._next_call(session, "8 s")
        pid = self._crew.start(self._bench, operation.operation_id)
        self._until_running(operation)
        self._crew.kill(pid)
        self._next_call(session, "0 s")

    def _before_call(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        self._at_a_call("hang_before", operation)

    def _answer_lost(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        self._at_a_call("hang_after", operation)

    def _after_answer(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        with self._slow_calls():
            pid = self._crew.start(self._bench, operation.operation_id)
            self._until_running(operation)
            session.execute(
                "SELECT FROM algasync.operation WHERE operation_id = %s FOR UPDATE", (operation.operation_id,)
            )
            self._until_blocked(session)
            self._crew.kill(pid)

    def _before_commit(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        with self._slow_calls():
            pid = self._before_waking(session, operation)
            self._crew.kill(pid)

    def _before_ack(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        for _ in range(2):  # done, but the message stays and comes again
            self._crew.ended(self._crew.start(self._bench, operation.operation_id))
            self._bench.run(operation)

    def _database_lost(self, session: psycopg.Connection[Any], operation: Operation) -> None:
        with self._slow_calls():
            pid = self._before_waking(session, operation)
            for backend in self._until_blocked(session):
                session.execute("SELECT pg_terminate_backend(%s)", (backend,))
            session.rollback()
            self._crew.ended(pid)

    def _before_waking(self, session: psycopg.Connection[Any], operation: Operation) -> int:
        """Waking whoever waited for a step is the last thing that a finishing transaction does."""
        session.execute(
            "SELECT pg_advisory_xact_lock_shared(algasync.condition_lock(%s, 'step', %s::text))",
            (operation.tenant_id, operation.operation_id),
        )
        pid = self._crew.start(self._bench, operation.operation_id)
        self._until_blocked(session)
        return pid

    def _at_a_call(self, kind: str, operation: Operation) -> None:
        rule = self.trouble(kind, method="POST", times=1)
        pid = self._crew.start(self._bench, operation.operation_id)
        self.until_hit(rule)
        self._crew.kill(pid)

    @contextmanager
    def _slow_calls(self) -> Iterator[None]:
        self.trouble("latency", method="POST", seconds=0.2)
        yield

    def trouble(self, kind: str, **conditions: Any) -> str:
        """Switch a fault of this company on; returns its id."""
        rule = {"kind": kind, "realm": self._bench.realm, **conditions}
        answer = requests.post(f"{self._bench.sandbox.control}/troubles", json=rule, timeout=5)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def until_hit(self, rule: str) -> None:
        """Wait until a call has met a fault."""

        def hit() -> bool:
            rules = requests.get(f"{self._bench.sandbox.control}/troubles", timeout=5).json()
            return any(one["id"] == rule and one["hits"] for one in rules)

        eventually(hit, WITHIN, what="a call meets the trouble")

    def _until_running(self, operation: Operation) -> None:
        def running() -> bool:
            return self._bench.operation(operation.operation_id).state == "running"

        eventually(running, WITHIN, what="the intent is written")

    def _until_blocked(self, session: psycopg.Connection[Any]) -> list[int]:
        with psycopg.connect(self._crew.url, autocommit=True) as watcher:

            def blocked() -> list[int]:
                rows = watcher.execute(_BLOCKED_BY, (session.info.backend_pid,)).fetchall()
                return [pid for (pid,) in rows]

            return eventually(blocked, WITHIN, what="a worker waits for our lock")

    def _next_call(self, session: psycopg.Connection[Any], ahead: str) -> None:
        session.execute(
            """UPDATE algasync.company_limiter SET next_call = clock_timestamp() + %s::interval
                WHERE company_id = %s""",
            (ahead, self._bench.company_id),
        )
        session.commit()


def hits(bench: Workbench) -> int:
    """How many calls the faults of a company have met."""
    rules = requests.get(f"{bench.sandbox.control}/troubles", timeout=5).json()
    return sum(one["hits"] for one in rules if one["realm"] == bench.realm)


def work_on(bench: Workbench, rounds: int = 40) -> None:
    """Work in this process until nothing of the tenant is due."""
    for _ in range(rounds):
        bench.make_due()
        due = [one for one in bench.operations() if one.state in {"queued", "scheduled"}]
        if not due:
            return
        for operation in due:
            bench.run(operation)


_FIELDS = (
    "DocNumber",
    "TotalAmt",
    "Balance",
    "RemainingCredit",
    "UnappliedAmt",
    "TxnDate",
    "DueDate",
    "PrivateNote",
)


def picture(bench: Workbench) -> dict[str, Any]:
    """Both books as they stand, by our names of things instead of QuickBooks' ids: equal for equal histories."""
    with bench.fleet.transaction(bench.tenant) as connection:
        links = connection.execute(
            text(
                "SELECT kind, document_id, external_type, external_id, sync_token, state FROM link ORDER BY 1, 2"
            )
        ).all()
        told = connection.execute(
            text(
                """SELECT type, body::jsonb #>> '{data,document,billing_id}', body::jsonb #>> '{data,action}'
                     FROM outbox_event WHERE exchange = 'accounting' ORDER BY id"""
            )
        ).all()
        violations = sweep.violations(connection)
    names: dict[tuple[str, str], str] = {}
    for link in links:
        key = (link.external_type, link.external_id)
        names[key] = names[_TXN.get(link.external_type, link.external_type), link.external_id] = "+".join(
            filter(None, [names.get(key), f"{link.kind}:{link.document_id}"])
        )
    objects = {entity: bench.objects(entity) for entity in ("Invoice", "CreditMemo", "Payment", "Purchase")}
    tokens = {(entity, one["Id"]): int(one["SyncToken"]) for entity, rows in objects.items() for one in rows}
    client = next(one for one in bench.objects("Customer") if one["Id"] == "2")
    return {
        "books": sorted(
            (_shown(names, entity, one) for entity, rows in objects.items() for one in rows), key=str
        ),
        "customers": sorted(one["DisplayName"] for one in bench.objects("Customer")),
        "client": [client.get("CompanyName"), client.get("PrimaryEmailAddr")],
        "links": [
            (
                one.kind,
                one.document_id,
                one.state,
                tokens.get((one.external_type, one.external_id), 0) - int(one.sync_token)
                if (one.external_type, one.external_id) in tokens
                else "gone",
            )
            for one in links
        ],
        "told": [tuple(one) for one in told],
        "operations": sorted(
            (
                one.document_kind,
                one.document_id.removeprefix(f"{bench.realm}/"),
                one.kind,
                one.repair,
                str(one.state),
            )
            for one in bench.operations()
        ),
        "exceptions": bench.codes(),
        "violations": violations,
    }


def strangers(bench: Workbench) -> list[str]:
    """What stands in QuickBooks and no link knows."""
    return [str(one) for one in picture(bench)["books"] if one["name"].startswith("?")]


def _shown(names: dict[tuple[str, str], str], entity: str, raw: dict[str, Any]) -> dict[str, Any]:
    lines = []
    for line in raw.get("Line", ()):
        if line.get("LinkedTxn"):
            link = line["LinkedTxn"][0]
            on = names.get((link["TxnType"], link["TxnId"]), f"?{link['TxnType']}")
            lines.append((on, line["Amount"]))
        elif line.get("DetailType") == "SalesItemLineDetail":
            lines.append((line.get("Description"), line["Amount"]))
    return {
        "name": names.get((entity, raw["Id"]), f"?{entity}"),
        "customer": (raw.get("CustomerRef") or raw["EntityRef"])["value"],
        "lines": sorted(lines, key=str),
        **{
            name: _MARK.sub("AS-", value) if isinstance(value := raw.get(name), str) else value
            for name in _FIELDS
        },
    }


def opened(bench: Workbench) -> UUID:
    """The one operation that is due."""
    (due,) = [one for one in bench.operations() if one.state in {"queued", "scheduled"}]
    return due.operation_id
