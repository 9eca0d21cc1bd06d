"""The simulation behind `docs/scale.md` agrees with what can be said without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.cli.bench_capacity import Fleet, most, waits
from services.cli.bench_runs import percentile

FLEET = Fleet(
    worker_cores=4,
    database_cores=4,
    worker_ms=8,
    database_ms=8.5,
    dispatcher_ms=0.6,
    threads=256,
    latency=0.3,
)
RATE = 400 / 60


def test_a_company_alone_is_bound_by_intuit() -> None:
    """400 invoices at 400 calls a minute take a minute, however large the fleet."""
    assert max(waits(FLEET, 1, RATE, 400, seed=1)) == pytest.approx(60, abs=3)


def test_together_they_are_bound_by_the_fleet() -> None:
    """What an hour of the fleet bears is about what it carries, less what bunches up by chance."""
    bears = 0.85 * 4 * 1_000 / 8.5 * 3_600 / 400
    carried = most(FLEET, RATE, 400, within=300, seed=1)
    assert 0.8 * bears < carried < 1.15 * bears


def test_twice_the_cores_carry_twice_as_many() -> None:
    """As long as neither dispatcher nor threads are what ends first."""
    twice = replace(FLEET, worker_cores=8, database_cores=8, threads=512)
    ratio = most(twice, RATE, 400, within=300, seed=1) / most(FLEET, RATE, 400, within=300, seed=1)
    assert ratio == pytest.approx(2, rel=0.1)


def test_threads_end_first_when_they_are_few() -> None:
    """Latency costs no CPU but threads: 32 of them make at most about a hundred calls a second at 300 ms."""
    few = replace(FLEET, threads=32)
    assert min(few.limits(), key=lambda name: few.limits()[name]) == "threads"
    assert most(few, RATE, 400, within=300, seed=1) < 0.4 * most(FLEET, RATE, 400, within=300, seed=1)


def test_too_many_companies_are_late() -> None:
    """Beyond what it carries the wait grows, and the simulation says so."""
    carried = most(FLEET, RATE, 400, within=300, seed=1)
    assert percentile(waits(FLEET, 2 * carried, RATE, 400, seed=1), 99) > 1_000


def test_a_fleet_that_bears_nothing_carries_nobody() -> None:
    """Not even one company's invoices are there in time."""
    assert most(replace(FLEET, worker_cores=0.001), RATE, 400, within=300, seed=1) == 0
