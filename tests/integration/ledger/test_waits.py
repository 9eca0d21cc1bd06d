"""Waiting and waking: conditions spend no attempt, and no wake-up is ever lost."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import text

from services.database import Database
from services.ledger import pauses, sweep, waits
from services.ledger.ports import Condition
from tests.support.ledger import TENANT, company, operation, read, setting


def hold(ledger: Database, operation_id: UUID, conditions: list[Condition]) -> int:
    """Hold as `take` does: record the waits and the state in one transaction."""
    with ledger.transaction(TENANT) as connection:
        held = waits.hold(connection, operation_id, TENANT, conditions)
        if held:
            connection.execute(
                text("UPDATE operation SET state = 'waiting' WHERE operation_id = :id"), {"id": operation_id}
            )
        return held


def test_met_conditions_hold_nothing(ledger: Database) -> None:
    """A condition that holds already is no reason to wait."""
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        operation_id = operation(connection, company_id)
    met = [
        Condition("company", "default"),
        Condition("company", str(company_id)),
        Condition("auto_sync", "tenant"),
        Condition("pause", "fleet"),
        Condition("pause", "tenant"),
        Condition("pause", str(company_id)),
    ]
    assert hold(ledger, operation_id, met) == 0


def test_operation_wakes_only_when_every_condition_is_met(ledger: Database) -> None:
    """Two conditions, two releases: the first leaves it waiting, the second makes it due at once."""
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        operation_id = operation(connection, company_id)
        setting(connection, TENANT, "auto_sync", False)
        pauses.pause(connection, "tenant", tenant=TENANT, actor="test", reason="month end")
    assert hold(ledger, operation_id, [Condition("auto_sync", "tenant"), Condition("pause", "tenant")]) == 2
    with ledger.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", True)
        waits.release(connection, TENANT, "auto_sync", "tenant")
        assert read(connection, operation_id).state == "waiting"
        assert pauses.resume(connection, "tenant", tenant=TENANT, actor="test") == 1
        woken = read(connection, operation_id)
    assert (woken.state, woken.attempt, woken.tries) == ("queued", 1, 0)


def test_operation_without_a_company_gets_the_one_that_comes(ledger: Database) -> None:
    """Events before the first connection are recorded and go out once a company is there."""
    with ledger.transaction(TENANT) as connection:
        operation_id = operation(connection, None)
        assert waits.hold(connection, operation_id, TENANT, [Condition("company", "default")]) == 1
        assert read(connection, operation_id).state == "waiting"
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        waits.release(connection, TENANT, "company", "default", company_id=company_id)
        woken = read(connection, operation_id)
    assert (woken.state, woken.company_id) == ("queued", company_id)


@pytest.mark.parametrize("round_", range(3))
def test_no_wake_up_is_lost_in_a_race(ledger: Database, round_: int) -> None:
    """Forty holders race the provider of their condition: afterwards nobody waits for what is there."""
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        setting(connection, TENANT, "auto_sync", False)
        operation_ids = [operation(connection, company_id) for _ in range(40)]
    start = threading.Barrier(9)

    def holders(mine: list[UUID]) -> None:
        start.wait()
        for operation_id in mine:
            hold(ledger, operation_id, [Condition("auto_sync", "tenant")])

    def provider() -> None:
        start.wait()
        with ledger.transaction(TENANT) as connection:
            setting(connection, TENANT, "auto_sync", True)
            waits.release(connection, TENANT, "auto_sync", "tenant")

    threads = [threading.Thread(target=holders, args=(operation_ids[n::8],)) for n in range(8)]
    threads.append(threading.Thread(target=provider))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.transaction(TENANT) as connection:
        assert {read(connection, one).state for one in operation_ids} == {"queued"}
        assert sweep.violations(connection) == {}


def test_liveness_view_sees_a_lost_wake_up_and_the_sweep_mends_it(ledger: Database) -> None:
    """A checker that cannot fail proves nothing: planted violations are seen by kind, then mended."""
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        lost, empty, dead = (operation(connection, company_id) for _ in range(3))
        connection.execute(
            text(
                "INSERT INTO wait (operation_id, tenant_id, condition, key) VALUES (:id, :t, 'auto_sync', 'tenant')"
            ),
            {"id": lost, "t": TENANT},
        )
        connection.execute(
            text("UPDATE operation SET state = 'waiting' WHERE operation_id = ANY (CAST(:ids AS uuid[]))"),
            {"ids": [lost, empty]},
        )
        connection.execute(
            text(
                """UPDATE operation SET state = 'running', lease_token = gen_random_uuid(), outcome = 'intended',
                          lease_until = clock_timestamp() - interval '1 second' WHERE operation_id = :id"""
            ),
            {"id": dead},
        )
    with ledger.transaction("*") as connection:
        assert sweep.violations(connection) == {
            "condition_met": 1,
            "waits_for_nothing": 1,
            "lease_expired": 1,
        }
        sweep.sweep(connection)
        assert sweep.violations(connection) == {}
        assert {read(connection, one).state for one in (lost, empty, dead)} == {"queued"}
        assert read(connection, dead).outcome == "unknown"


def test_the_sweep_goes_round(ledger: Database) -> None:
    """However many wait, a run looks at a few of them; those whose condition was met are found in their turn."""
    with ledger.transaction(TENANT) as connection:
        company_id = company(connection)
        waiting = [operation(connection, company_id) for _ in range(5)]
        connection.execute(text("UPDATE operation SET state = 'waiting'"))
        for one in waiting[:-1]:
            connection.execute(
                text(
                    "INSERT INTO wait (operation_id, tenant_id, condition, key) VALUES (:id, :t, 'link', 'invoice/x')"
                ),
                {"id": one, "t": TENANT},
            )
    rounds = sweep.Sweep(look=2)
    mended = []
    for _ in range(4):
        with ledger.transaction("*") as connection:
            mended.append(rounds.run(connection)["waits_for_nothing"])
    assert sum(mended) == 1
    with ledger.transaction("*") as connection:
        assert {read(connection, one).state for one in waiting[:-1]} == {"waiting"}
        assert read(connection, waiting[-1]).state == "queued"
