"""The brake: a flood of refusals stops itself, alone, and goes on by itself once one of them succeeds."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from services.database.engine import ALL_TENANTS
from services.exceptions import brake
from services.ledger import pauses, sweep
from tests.support.exporting import TENANT, Workbench, payment


def watch(bench: Workbench, within: timedelta = brake.WITHIN) -> tuple[int, int]:
    """One look of the scheduler, for three failures; how many brakes were pulled and released."""
    with bench.fleet.transaction(ALL_TENANTS) as connection:
        done = brake.watch(connection, failures=3, within=within)
    return done["pulled"], done["released"]


def refuse(bench: Workbench, *documents: str) -> None:
    """Export invoices that QuickBooks refuses."""
    bench.trouble("fault", entity="invoice", code="6000")
    for document in documents:
        bench.bill(document)
    bench.settle()
    assert {bench.outcome("invoice", one)[0] for one in documents} == {"failed"}


def stopped(bench: Workbench) -> list[str | None]:
    """Kinds of work that are stopped."""
    with bench.fleet.transaction(TENANT) as connection:
        return [one.kind for one in pauses.active(connection)]


def test_a_flood_stops_itself_with_one_exception(workbench: Workbench) -> None:
    """After so many refusals alike the next document of the kind waits, without a call and without an exception."""
    refuse(workbench, "inv-1", "inv-2")
    assert watch(workbench) == (0, 0)
    refuse(workbench, "inv-3")
    assert watch(workbench) == (1, 0)
    assert watch(workbench) == (0, 0)
    workbench.bill("inv-4")
    workbench.settle()
    assert workbench.outcome("invoice", "inv-4") == ("waiting", "pause")
    brakes = [one for one in workbench.exceptions() if one.type == brake.TYPE]
    assert [(one.code, one.state) for one in brakes] == [("brake", "open")]
    assert "3 x export invoice refused alike" in brakes[0].happened
    with workbench.fleet.transaction(ALL_TENANTS) as connection:
        assert sweep.violations(connection) == {}


def test_other_work_goes_on(workbench: Workbench) -> None:
    """The brake stops one kind of one company's work, nothing else."""
    workbench.bill("inv-0")
    workbench.settle()
    refuse(workbench, "inv-1", "inv-2", "inv-3")
    assert watch(workbench) == (1, 0)
    workbench.say("payment.recorded", payment("pay-0", ("inv-0", 13500)))
    assert workbench.outcome("payment", "pay-0") == ("succeeded", None)


def test_the_first_success_lets_the_others_go(workbench: Workbench) -> None:
    """What a person retries passes the brake; once it succeeded the rest follows, and the exception is closed."""
    refuse(workbench, "inv-1", "inv-2", "inv-3")
    assert watch(workbench) == (1, 0)
    workbench.bill("inv-4")
    workbench.settle()
    workbench.no_more_troubles()
    workbench.replay(workbench.last("invoice", "inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert watch(workbench) == (0, 1)
    workbench.settle()
    assert workbench.outcome("invoice", "inv-4") == ("succeeded", None)
    assert stopped(workbench) == []
    assert [one for one in workbench.exceptions() if one.type == brake.TYPE] == []


def test_a_person_resumes_it(workbench: Workbench) -> None:
    """Resumed by hand, what waited goes on and the exception is closed with the next look."""
    refuse(workbench, "inv-1", "inv-2", "inv-3")
    watch(workbench, timedelta(minutes=5))
    assert stopped(workbench) == ["export_invoice"]
    with workbench.fleet.transaction(TENANT) as connection:
        woken = pauses.resume(
            connection,
            "kind",
            actor="dana",
            tenant=TENANT,
            company_id=workbench.company_id,
            kind="export_invoice",
        )
        connection.execute(
            text("UPDATE operation SET updated_at = updated_at - interval '1 hour' WHERE state = 'failed'")
        )
    assert woken == 0
    assert watch(workbench) == (0, 0)
    assert [one for one in workbench.exceptions() if one.type == brake.TYPE] == []


def test_scattered_refusals_are_no_flood(workbench: Workbench) -> None:
    """While others of the kind succeed, or long ago, refusals stop nothing: each parks its own document only."""
    refuse(workbench, "inv-1", "inv-2", "inv-3")
    workbench.no_more_troubles()
    workbench.bill("inv-4")
    workbench.settle()
    assert watch(workbench) == (0, 0)
    refuse(workbench, "inv-5")
    assert watch(workbench, timedelta(0)) == (0, 0)
