"""Intake: duplicates, events that come too early, and events so old that they were forgotten."""

from __future__ import annotations

from sqlalchemy import text

from services.ledger import retention
from tests.support.exporting import TENANT, Workbench, invoice


def test_an_event_forgotten_by_retention_is_still_a_duplicate(workbench: Workbench) -> None:
    """The broker hands out a message from long ago: it was applied, and is not kept waiting for ever."""
    first = workbench.bill("inv-1")
    second = workbench.emit("invoice.corrected.v1", "inv-1", invoice("inv-1", net=27000))
    workbench.intake.take_over(second)
    with workbench.fleet.transaction("*") as connection:
        connection.execute(text("UPDATE event SET received_at = '2020-01-01'"))
        assert retention.forget(connection)["events"] == 1
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
