"""An invoice from event to QuickBooks: once, to the cent, whatever the answer was."""

from __future__ import annotations

from tests.support.exporting import Workbench


def test_one_invoice_through(workbench: Workbench) -> None:
    """Event, operation, call, link, timeline, and the event back to billing."""
    workbench.bill("inv-1")
    (operation,) = workbench.operations()
    assert operation.state == "queued"
    assert not workbench.run(operation).reject
    (operation,) = workbench.operations()
    assert (operation.state, operation.outcome, operation.tries) == ("succeeded", "answered", 1)
    (created,) = workbench.objects()
    assert (created["DocNumber"], created["TotalAmt"]) == ("INV-1", 135.0)
