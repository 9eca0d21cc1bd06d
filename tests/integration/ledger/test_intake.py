"""Intake: duplicates, events that come too early, and events so old that they were forgotten."""

from __future__ import annotations

from sqlalchemy import text

from services.exceptions import letters, replays
from services.exceptions.letters import Letter
from services.ledger import timeline
from services.ledger.retention import Retention
from tests.support.exporting import TENANT, Workbench, invoice


def test_an_event_forgotten_by_retention_is_still_a_duplicate(workbench: Workbench) -> None:
    """The broker hands out a message from long ago: it was applied, and is not kept waiting for ever."""
    first = workbench.bill("inv-1")
    second = workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1", net=27000))
    workbench.intake.take_over(second)
    with workbench.fleet.transaction("*") as connection:
        connection.execute(text("UPDATE event SET received_at = '2020-01-01'"))
        assert Retention().forget(connection)["events"] == 1
    assert workbench.intake.take_over(first) == "duplicate"
    with workbench.fleet.transaction(TENANT) as connection:
        assert connection.execute(text("SELECT state FROM event")).scalars().all() == ["applied"]


def test_a_document_known_by_reference_only_is_not_fresh(workbench: Workbench) -> None:
    """A later event waits on a placeholder; the first one finds it and both are applied in order."""
    first = workbench.emit("invoice.finalized.v1", "inv-1", invoice("inv-1"))
    second = workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1", net=27000))
    third = workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1", net=30000))
    assert workbench.intake.take_over(third) == "waiting"
    assert workbench.intake.take_over(second) == "waiting"
    assert workbench.intake.take_over(first) == "applied"
    assert [one.revision for one in workbench.operations("inv-1")] == [1, 2, 3]


def test_discarding_a_dead_event_lets_the_later_ones_go_on(workbench: Workbench) -> None:
    """An operator gives an event up: its place is filled with the reason, and the correction behind it is applied."""
    dead = workbench.emit("invoice.finalized.v1", "inv-1", invoice("inv-1"))
    correction = workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1", net=27000))
    assert workbench.intake.take_over(correction) == "waiting"
    with workbench.fleet.transaction("*") as connection:
        filed = letters.file(connection, Letter("intake.v1", "delivery_limit", dead))
        replays.discard(connection, filed.letter_id, "operator", "wrong client")
        assert workbench.intake.catch_up(connection) == 1
        assert workbench.intake.catch_up(connection) == 0
        actions = [entry.action for entry in timeline.read(connection, TENANT, "invoice", "inv-1")]
    assert actions[-2:] == ["passed_over", "InvoiceCorrected"]
    workbench.settle()
    assert [one["TotalAmt"] for one in workbench.objects()] == [270.0]
