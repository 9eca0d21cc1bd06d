"""What an export costs: a fixed number of statements, and three transactions that write."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
import pytest

from tests.support.exporting import Workbench, invoice

STATEMENTS = {"intake": 3, "run": 9}
"""At most, beside the beginning and the end of transactions; the limiter of a connected company adds one."""


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
    body = workbench.emit("invoice.finalized.v1", "inv-1", invoice("inv-1"))

    counted = Counted(monkeypatch)
    assert workbench.intake.take_over(body) == "applied"
    assert counted.seen.pop("statements") <= STATEMENTS["intake"]
    assert counted.seen == {"written": 1}
    monkeypatch.undo()

    (operation,) = workbench.operations("inv-1")
    counted = Counted(monkeypatch)
    assert workbench.run(operation).code == "succeeded"
    assert counted.seen.pop("statements") <= STATEMENTS["run"]
    assert counted.seen == {"written": 2}
    monkeypatch.undo()


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
    assert counted.seen["statements"] <= 3
    monkeypatch.undo()
    assert [(one.state, one.tries) for one in workbench.operations("inv-1")] == before
