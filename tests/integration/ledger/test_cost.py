"""What an export costs: an exact number of statements, and three transactions that write. More is noticed at once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

import outbox
from services.ledger import dispatch
from tests.support.exporting import Workbench, invoice

EMIT, INTAKE, RUN = 1, 3, 9
"""Statements beside the beginning and the end of transactions; the limiter of a connected company adds one to a run.

One less is as much a reason to write a new number here as one more is to look for what costs it.
"""


class Counted:
    """Counts what psycopg sends, and asks before each commit whether the transaction has written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[str] = Counter()
        execute, commit = psycopg.Cursor.execute, psycopg.Connection.commit

        def counting_execute(cursor: Any, *given: Any, **named: Any) -> Any:
            self.seen["statements"] += 1
            return execute(cursor, *given, **named)

        def counting_commit(connection: Any) -> None:
            result = connection.pgconn.exec_(b"SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
            self.seen["written" if result.get_value(0, 0) == b"t" else "read"] += 1
            commit(connection)

        monkeypatch.setattr(psycopg.Cursor, "execute", counting_execute)
        monkeypatch.setattr(psycopg.Connection, "commit", counting_commit)


def test_an_ordinary_export_is_three_writing_transactions(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intake, intent and outcome; each in so few statements that PostgreSQL is not what limits a fleet."""
    workbench.bill("warm-up")  # opens connections and keeps the company's client
    workbench.run(workbench.operations("warm-up")[0])
    with workbench.fleet.transaction(workbench.tenant) as connection:
        counted = Counted(monkeypatch)
        outbox.emit(connection, workbench.tenant, "invoice.finalized.v1", "inv-1", invoice("inv-1"))
        monkeypatch.undo()
        said = text("SELECT body FROM outbox_event WHERE subject = 'inv-1'")
        body = connection.execute(said).scalar_one().encode()
    assert counted.seen == {"statements": EMIT}

    counted = Counted(monkeypatch)
    assert workbench.intake.take_over(body) == "applied"
    assert counted.seen == {"statements": INTAKE, "written": 1}
    monkeypatch.undo()

    (operation,) = workbench.operations("inv-1")
    counted = Counted(monkeypatch)
    assert workbench.run(operation).code == "succeeded"
    assert counted.seen == {"statements": RUN, "written": 2}
    monkeypatch.undo()


def test_dispatch_costs_two_statements_however_much_is_due(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One finds what is due and one marks it, for one document or for twenty."""
    for number in (1, 20):
        for place in range(number):
            workbench.bill(f"inv-{number}-{place}")
        counted = Counted(monkeypatch)
        with workbench.fleet.transaction("*") as connection:
            due = dispatch.due(connection, in_flight=50, limit=500)
        with workbench.fleet.transaction("*") as connection:
            dispatch.sent(connection, due, resend=timedelta(minutes=1))
        monkeypatch.undo()
        assert len(due) == number
        assert counted.seen == {"statements": 2, "read": 1, "written": 1}


def test_a_duplicate_and_a_late_command_write_nothing(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes twice is answered from what is there."""
    body = workbench.bill("inv-1")
    (operation,) = workbench.operations("inv-1")
    workbench.run(operation)
    before = [(one.state, one.tries) for one in workbench.operations("inv-1")]
    counted = Counted(monkeypatch)
    assert workbench.intake.take_over(body) == "duplicate"
    assert workbench.run(operation).code == "already_settled"
    # The locks under which it looked, and nothing else.
    assert counted.seen == {"statements": 3, "written": 2}
    monkeypatch.undo()
    assert [(one.state, one.tries) for one in workbench.operations("inv-1")] == before
