"""What several runs of a bench say together, and what they are compared with."""

from __future__ import annotations

import statistics

import pytest

from services.cli import bench_runs
from services.cli.bench_baselines import cycle_freshness


def test_medians_stand_at_the_top_and_every_run_is_kept() -> None:
    """The median of each figure, by name where it has names; the least and the most; the runs as they were."""
    runs = [
        {"rate": 10, "by_role": {"relay": 1.0, "workers": 5.0}},
        {"rate": 90, "by_role": {"relay": 3.0}},
        {"rate": 20, "by_role": {"relay": 2.0, "workers": 7.0}},
    ]
    told = bench_runs.report(runs)
    assert told["rate"] == 20
    assert told["by_role"] == {"relay": 2.0, "workers": 5.0}
    assert told["spread"] == {"rate": [10, 90], "by_role": {"relay": [1.0, 3.0], "workers": [0, 7.0]}}
    assert told["runs"] == runs
    assert told["machine"]["cpus"] >= 1


def test_no_loss_hides_behind_a_median() -> None:
    """What was lost in one run of three is in the figure, and so is a table that one run read from end to end."""
    runs = [
        {"lost": 0, "failures": {}, "scans": []},
        {"lost": 2, "failures": {"Throttled": 1}, "scans": ["letter"]},
        {"lost": 0, "failures": {}, "scans": []},
    ]
    told = bench_runs.report(runs, sums=("lost", "failures"))
    assert told["lost"] == 2
    assert told["failures"] == {"Throttled": 1}
    assert told["scans"] == ["letter"]


def test_the_table_shows_median_and_spread(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a figure with median, least and most; what is no figure of a run stands below."""
    told = bench_runs.report([{"rate": 10, "by": {"relay": 1}}, {"rate": 30, "by": {"relay": 2}}])
    bench_runs.show(told | {"companies": 50})
    printed = capsys.readouterr().out.splitlines()
    assert "rate\t20.0\t10\t30" in printed
    assert "by: relay\t1.5\t1\t2" in printed
    assert any(line.split() == ["companies", "50"] for line in printed)
    assert any(line.split() == ["runs", "2"] for line in printed)


def test_a_cycle_makes_documents_wait_for_half_of_it() -> None:
    """Whenever a cycle begins, a single document waits between nothing and fifteen minutes, all equally likely."""
    waits = cycle_freshness([("c", 1_000.0)], 0.5)
    assert min(waits) >= 0.5
    assert max(waits) <= 900.5
    assert statistics.median(waits) == pytest.approx(450, abs=2)


def test_a_cycle_exports_a_companys_documents_one_after_the_other() -> None:
    """Documents of one company queue up behind each other at the tick; another company's do not."""
    together = cycle_freshness([("c", 0.0)] * 100, 1.0)
    apart = cycle_freshness([(f"c{number}", 0.0) for number in range(100)], 1.0)
    assert max(together) - max(apart) == pytest.approx(99)


def test_work_of_one_tick_delays_the_next() -> None:
    """A backlog longer than a cycle is not done twice as fast: the exporter of a company does one thing at a time."""
    waits = cycle_freshness([("c", 0.0)] * 2_000 + [("c", 899.5)], 1.0)
    assert max(waits) > 1_900
