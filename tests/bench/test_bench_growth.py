"""What the fleet does costs as much with ten times as much around it; PostgreSQL counts the pages, not a clock."""

from __future__ import annotations

from typing import Final

import pytest

from services.cli import bench_growth
from services.cli.bench_crowd import GROWING, Size
from tests.support.sandbox import Sandbox

FLAT: Final = (
    "relay: anything due again",
    "billing: emit",
    "intake",
    "take and finish",
    "job: events caught up",
    "job: brake",
    "job: polls opened",
    "job: objects judged again",
    "job: merges filed",
    "job: notices retention",
    "job: deliveries retention",
    "feed: a page",
    "operations: a page",
    "timeline of a document",
    "sync state of 20 documents",
)
"""What does the same, however much there is. The rest takes a batch of what is there, or shows all that waits for
somebody: `docs/performance.md` says what of it is bounded by what."""


def test_ten_times_as_much_costs_the_same(
    monkeypatch: pytest.MonkeyPatch, database_url: str, sandbox: Sandbox
) -> None:
    """At most half as many pages more, as an index that became a level deeper asks for; and no table is read whole."""
    monkeypatch.setattr(bench_growth, "REPEATS", 2)
    sizes = [Size(3_000, 10), Size(30_000, 10)]
    with bench_growth.Bench(database_url, sandbox.api, sandbox.control) as bench:
        small, large = (bench.at(size) for size in sizes)
    grown = {what: (small[what].buffers, large[what].buffers) for what in FLAT}
    assert {what: cost for what, cost in grown.items() if cost[1] > cost[0] * 1.5 + 20} == {}
    assert {what: large[what].walked for what in FLAT if large[what].walked & set(GROWING)} == {}


def test_a_cost_that_grows_is_told() -> None:
    """The ratio is that of the pages at the last two sizes; tables read whole are named, from the second size on."""
    sizes = [Size(1, 1), Size(10, 1), Size(100, 1)]
    costs = [
        {"job": bench_growth.Cost(1, 10, 0.1, frozenset({"small"}))},
        {"job": bench_growth.Cost(1, 100, 1.0, frozenset())},
        {"job": bench_growth.Cost(1, 1_000, 10.0, frozenset({"event"}))},
    ]
    (row,) = bench_growth.compared(sizes, costs)["costs"]
    assert (row["what"], row["ratio"], row["walked"]) == ("job", 10, ["event"])
    assert [one["buffers"] for one in row["at"]] == [10, 100, 1_000]
