"""Waiting longer than a week: shown to people, still repairable, and settled by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import text

from services.outbound import long_waits
from tests.support.exporting import TENANT, Workbench, applied, invoice, payment


def look(workbench: Workbench) -> Mapping[str, int]:
    """The clock comes by."""
    with workbench.fleet.transaction("*") as connection:
        return long_waits.report(connection)


def pass_time(workbench: Workbench, days: float) -> None:
    """Everything that waits has waited that much longer."""
    with workbench.fleet.transaction(TENANT) as connection:
        longer = text("UPDATE wait SET created_at = created_at - CAST(:age AS interval)")
        connection.execute(text("SET LOCAL ROLE NONE"))
        connection.execute(longer, {"age": timedelta(days=days)})


def test_a_week_is_an_exception_that_ends_with_the_wait(workbench: Workbench) -> None:
    """A payment without its invoice: silent for a week, then shown once; it goes when the invoice comes."""
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert look(workbench) == {"opened": 0, "closed": 0}
    pass_time(workbench, 6.9)
    assert look(workbench) == {"opened": 0, "closed": 0}
    pass_time(workbench, 0.2)
    assert look(workbench) == {"opened": 1, "closed": 0}
    assert look(workbench) == {"opened": 0, "closed": 0}
    (shown,) = workbench.exceptions()
    assert (shown.type, shown.code, shown.entity_id) == ("accounting_sync_waiting", "waiting_long", "pay-1")
    assert "invoice inv-1" in shown.happened
    operation = workbench.last("payment", "pay-1")
    assert (operation.state, operation.attempt, operation.tries) == ("waiting", 1, 0)
    workbench.say("invoice.finalized", invoice("inv-1"))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    assert workbench.exceptions() == []
    assert look(workbench) == {"opened": 0, "closed": 0}


def test_a_wait_that_ends_otherwise_closes_it_too(workbench: Workbench) -> None:
    """The invoice it waits for fails for good: what waited says so itself, and nobody is told that it waits."""
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 1000))
    pass_time(workbench, 8)
    assert look(workbench) == {"opened": 1, "closed": 0}
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 1000))
    look(workbench)
    assert workbench.exceptions() == []


def test_an_unknown_company_is_shown_and_what_is_wanted_is_not(workbench: Workbench) -> None:
    """A target nobody connects is somebody's mistake; automatic sync that is off is somebody's wish."""
    workbench.say("invoice.finalized", invoice("inv-1", target_company="9999"))
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-2"))
    pass_time(workbench, 30)
    assert look(workbench) == {"opened": 1, "closed": 0}
    (shown,) = workbench.exceptions()
    assert shown.entity_id == "inv-1"
    assert "QuickBooks company 9999 to be connected" in shown.happened
