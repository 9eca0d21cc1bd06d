"""A worker dies at every boundary of a batch, from outside: both books end as if each document had gone alone.

What is compared with is the same history told one by one and without a crash.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests
from sqlalchemy import text

from services.database import Database, Role
from services.exceptions import replays
from tests.support.batches import batch, gather
from tests.support.crashes import Boundary, Killer, picture, strangers, work_on
from tests.support.exporting import Workbench, credit_note, invoice, new_workbench, payment
from tests.support.killable import Crew
from tests.support.sandbox import Sandbox

_numbers = itertools.count(1)

BACKLOG = [
    ("invoice.finalized", invoice("inv-1")),
    ("invoice.finalized", invoice("inv-2", net=9000)),
    ("credit_note.finalized", credit_note("cn-1")),
    ("payment.recorded", payment("pay-1", ("inv-1", 13500))),
]
"""The first three go together; the payment waits for its invoice."""


@pytest.fixture(scope="module")
def crew(module_database_url: str) -> Iterator[Crew]:
    """Workers to kill."""
    made = Crew.assemble(module_database_url)
    yield made
    made.dismiss()


@pytest.fixture(scope="module")
def fleet(module_database_url: str) -> Iterator[Database]:
    """The module's database."""
    with Database(module_database_url, Role.FLEET, pool_size=5) as database:
        yield database


Bench = Callable[[int], Workbench]


@pytest.fixture(scope="module")
def new_bench(fleet: Database, _sandbox_process: Sandbox) -> Iterator[Bench]:
    """Makes tenants, each with a company of its own, a backlog that is due, and a size of batches."""
    _sandbox_process.reset()

    def make(size: int) -> Workbench:
        number = next(_numbers)
        realm = str(9341450000003000 + number)
        address = f"{_sandbox_process.control}/companies"
        requests.post(address, json={"realm": realm}, timeout=5).raise_for_status()
        bench = new_workbench(fleet, _sandbox_process, tenant=f"t-{number}", realm=realm)
        bench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
        bench.set("export_batch_size", size)
        for event, data in BACKLOG:
            bench.say(event, data, settle=False)
        return bench

    yield make
    _sandbox_process.reset()


@pytest.fixture(scope="module")
def one_by_one(new_bench: Bench) -> dict[str, Any]:
    """Both books after the same history without batches and without a crash."""
    bench = new_bench(0)
    work_on(bench)
    assert strangers(bench) == []
    return without_batches(bench)


def without_batches(bench: Workbench) -> dict[str, Any]:
    """Both books, by documents alone; billing hears of them in whatever order."""
    found = picture(bench)
    found["operations"] = [one for one in found["operations"] if one[0] != "batch"]
    found["told"] = sorted(one for one in found["told"] if not one[0].startswith("exception"))
    return found


@pytest.mark.parametrize("boundary", list(Boundary))
def test_killed_at_a_boundary(
    new_bench: Bench, crew: Crew, one_by_one: dict[str, Any], boundary: Boundary
) -> None:
    """SIGKILL, or a database connection that breaks: whoever comes next ends with the same books."""
    bench = new_bench(3)
    (operation,) = gather(bench)
    if boundary is Boundary.BEFORE_INTENT:  # held by the lock of a document that is in it
        operation = replace(operation, document_kind="invoice", document_id="inv-2")
    Killer(bench, crew).kill(boundary, operation)
    work_on(bench)
    assert without_batches(bench) == one_by_one
    assert batch(bench).state == "succeeded"


def test_several_workers_at_once(new_bench: Bench, crew: Crew, one_by_one: dict[str, Any]) -> None:
    """The batch's command three times, and commands of its documents that were under way: one call is made."""
    bench = new_bench(3)
    early = bench.last("invoice", "inv-1")
    (operation,) = gather(bench)
    killer = Killer(bench, crew)
    killer.trouble("latency", method="POST", seconds=0.2)
    pids = [crew.start(bench, operation.operation_id) for _ in range(3)]
    assert bench.run(early).code in {"waiting", "already_settled"}
    for pid in pids:
        crew.ended(pid)
    bench.no_more_troubles()
    work_on(bench)
    assert without_batches(bench) == one_by_one
    counted = bench.counters()["companies"][bench.realm]
    assert counted["creates"] == {"Invoice": 2, "CreditMemo": 1, "Payment": 1}
    assert counted["replays"] == 0


def test_replayed_by_an_operator_while_a_worker_hangs(
    new_bench: Bench, crew: Crew, one_by_one: dict[str, Any]
) -> None:
    """QuickBooks did it and does not answer; given up, replayed by hand and done; the late worker writes nothing."""
    bench = new_bench(3)
    (operation,) = gather(bench)
    killer = Killer(bench, crew)
    rule = killer.trouble("hang_after", method="POST", times=1, seconds=0.4)
    pid = crew.start(bench, operation.operation_id)
    killer.until_hit(rule)
    bench.expire_leases()
    with bench.fleet.transaction(bench.tenant) as connection:
        connection.execute(text("UPDATE operation SET tries = 11 WHERE kind = 'export_batch'"))
    killer.trouble("server_error", times=2)  # a question is asked twice
    bench.run(batch(bench))
    assert batch(bench).state == "failed"
    with bench.fleet.transaction(bench.tenant) as connection:
        replays.again(connection, operation.operation_id, "operator", "QuickBooks is back")
    work_on(bench)
    crew.ended(pid)
    work_on(bench)
    assert without_batches(bench) == one_by_one


def test_killed_while_looking_for_an_old_batch(
    new_bench: Bench, crew: Crew, one_by_one: dict[str, Any]
) -> None:
    """The answer was lost half a day ago, the worker that looks for it dies: the next one looks and sends nothing."""
    bench = new_bench(3)
    (operation,) = gather(bench)
    killer = Killer(bench, crew)
    killer.kill(Boundary.ANSWER_LOST, operation)
    with bench.fleet.transaction(bench.tenant) as connection:
        connection.execute(
            text(
                "UPDATE operation SET called_at = called_at - interval '13 hours' WHERE kind = 'export_batch'"
            )
        )
    assert bench.run(batch(bench)).code == "read_back"
    bench.make_due()
    rule = killer.trouble("hang_before", operation="query", times=1)
    pid = crew.start(bench, operation.operation_id)
    killer.until_hit(rule)
    crew.kill(pid)
    bench.no_more_troubles()
    bench.expire_leases()
    work_on(bench)
    assert without_batches(bench) == one_by_one
    requested = bench.counters()["companies"][bench.realm]["requests"]
    assert sum(number for label, number in requested.items() if label.endswith(" batch")) == 1
