"""Backlogs that go in batches, and what both books then show."""

from __future__ import annotations

from collections.abc import Sequence

from services.ledger import sweep
from services.ledger.operations import Operation
from services.outbound import batch_backlog
from tests.support.crashes import strangers
from tests.support.exporting import TENANT, Workbench


def backlog(bench: Workbench, number: int, *, size: int = 25) -> list[str]:
    """Invoices that are due at once, and a company that wants `size` a call; returns their ids."""
    if size:
        bench.set("export_batch_size", size)
    ids = [f"inv-{one:02}" for one in range(number)]
    for place, id_ in enumerate(ids):
        bench.bill(id_, net=9000 + 300 * place)
    return ids


def gather(bench: Workbench) -> list[Operation]:
    """What the dispatcher does first; returns the batches there are."""
    with bench.fleet.transaction("*") as connection:
        batch_backlog.gather(connection)
    return batches(bench)


def batches(bench: Workbench) -> list[Operation]:
    """The batches, oldest first."""
    return [one for one in bench.operations() if one.kind == "export_batch"]


def batch(bench: Workbench) -> Operation:
    """The only batch, as it stands."""
    (one,) = batches(bench)
    return one


def asked(bench: Workbench, operation: str = "batch") -> int:
    """Calls of a kind that the sandbox has counted."""
    counted = bench.counters()["companies"].get(bench.realm, {"requests": {}})["requests"]
    return sum(number for label, number in counted.items() if label.endswith(f" {operation}"))


def arrived(bench: Workbench, ids: Sequence[str]) -> None:
    """Every document is there once, to the cent, linked, told of, and nothing is left to do."""
    expected = {id_.upper(): (9000 + 300 * int(id_[-2:])) / 100 for id_ in ids}
    made = bench.objects()
    assert sorted(one["DocNumber"] for one in made) == sorted(expected)
    for id_ in ids:
        link = bench.link("invoice", id_)
        assert link is not None
        raw = next(one for one in made if one["Id"] == link.external_id)
        assert (raw["DocNumber"], raw["TotalAmt"]) == (id_.upper(), expected[id_.upper()])
        assert bench.outcome("invoice", id_) == ("succeeded", None)
    told = [one["document"]["billing_id"] for one in bench.told("document.synced")]
    assert sorted(told) == sorted(ids)
    assert strangers(bench) == []
    alive(bench)


def alive(bench: Workbench) -> None:
    """Nothing waits for nothing."""
    with bench.fleet.transaction(TENANT) as connection:
        assert sweep.violations(connection) == {}
