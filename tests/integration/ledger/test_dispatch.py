"""Dispatch: fair over companies, lane by lane, never too many under way, and nothing is forgotten."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from sqlalchemy import text

from services.database import Database
from services.ledger import dispatch
from services.ledger.operations import Lane
from tests.support.ledger import TENANT, company, operation, read

LATER = timedelta(minutes=1)


def test_round_robin_over_companies(ledger: Database) -> None:
    """A company with a long backlog takes its turn like one with a single document."""
    with ledger.transaction("*") as connection:
        big = company(connection, "t-big")
        small = company(connection, "t-small")
        for _ in range(50):
            operation(connection, big, tenant="t-big")
        operation(connection, small, tenant="t-small")
        first = dispatch.due(connection, in_flight=8, limit=2)
        assert {command.company_id for command in first} == {big, small}


def test_no_more_under_way_than_allowed(ledger: Database) -> None:
    """Sent and running count; what is under way leaves less room."""
    with ledger.transaction("*") as connection:
        company_id = company(connection)
        for _ in range(20):
            operation(connection, company_id)
        first = dispatch.due(connection, in_flight=8, limit=100)
        assert len(first) == 8
        dispatch.sent(connection, first[:5], resend=LATER)
        assert len(dispatch.due(connection, in_flight=8, limit=100)) == 3


def test_lanes_are_served_in_order(ledger: Database) -> None:
    """Urgent before normal before backfill, whatever came first."""
    with ledger.transaction("*") as connection:
        company_id = company(connection)
        for lane in (Lane.BACKFILL, Lane.NORMAL, Lane.URGENT):
            operation(connection, company_id, lane=lane)
        assert [command.lane for command in dispatch.due(connection, in_flight=8, limit=100)] == [0, 1, 2]


def test_what_was_sent_and_not_taken_is_sent_again(ledger: Database) -> None:
    """The broker may lose a command: the operation comes up again by itself."""
    with ledger.transaction("*") as connection:
        company_id = company(connection)
        operation_id = operation(connection, company_id)
        commands = dispatch.due(connection, in_flight=8, limit=10)
        dispatch.sent(connection, commands, resend=timedelta(seconds=-1))
        assert [c.operation_id for c in dispatch.due(connection, in_flight=8, limit=10)] == [operation_id]
        dispatch.sent(connection, commands, resend=LATER)
        assert dispatch.due(connection, in_flight=8, limit=10) == []
        assert dispatch.resend_all(connection) == 1
        assert [c.operation_id for c in dispatch.due(connection, in_flight=8, limit=10)] == [operation_id]


def test_a_resting_company_keeps_its_rows(ledger: Database) -> None:
    """After a 429 nothing of that company goes out until the rest is over; others go on."""
    with ledger.transaction("*") as connection:
        resting, other = company(connection, "t-1"), company(connection, "t-2")
        operation(connection, resting, tenant="t-1")
        operation(connection, other, tenant="t-2")
        connection.execute(
            text(
                """UPDATE company_limiter SET paused_until = clock_timestamp() + interval '1 minute'
                    WHERE company_id = :id"""
            ),
            {"id": resting},
        )
        assert [c.company_id for c in dispatch.due(connection, in_flight=8, limit=10)] == [other]


def test_sending_marks_only_what_is_still_due(ledger: Database) -> None:
    """A worker that was faster than the mark keeps its state."""
    with ledger.transaction("*") as connection:
        company_id = company(connection)
        operation_id = operation(connection, company_id)
        commands = dispatch.due(connection, in_flight=8, limit=10)
        connection.execute(
            text(
                """UPDATE operation SET state = 'running', lease_token = gen_random_uuid(),
                          lease_until = clock_timestamp() + interval '1 minute' WHERE operation_id = :id"""
            ),
            {"id": operation_id},
        )
        dispatch.sent(connection, commands, resend=LATER)
        assert read(connection, operation_id).state == "running"


def test_due_work_is_found_without_walking_the_backlog(ledger: Database) -> None:
    """The plan stays on the partial index however many operations are done."""
    with ledger.transaction("*") as connection:
        company_id = company(connection)
        connection.execute(
            text(
                """INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, document_kind, document_id,
                                          revision, state, finished_at)
                   SELECT gen_random_uuid(), :tenant, :company, 'export_invoice', 'export', 'invoice', 'd' || n, 1,
                          'succeeded', clock_timestamp() FROM generate_series(1, 20000) AS n"""
            ),
            {"tenant": TENANT, "company": company_id},
        )
        operation(connection, company_id)
        connection.execute(text("ANALYZE operation"))
        plan = "\n".join(
            connection.exec_driver_sql(
                "EXPLAIN (ANALYZE, BUFFERS) " + dispatch._DUE.sql, {"in_flight": 8, "limit": 100}
            ).scalars()
        )
        scans = Counter(
            line.split(" on ")[0].strip(" ->") for line in plan.splitlines() if "operation" in line
        )
        assert not any(kind.startswith("Seq Scan") for kind in scans), plan
