"""`algasync bench fleet` measures a fleet of real processes next to its baselines, and counts every document."""

from __future__ import annotations

import json

import pytest
from typer import Typer
from typer.testing import CliRunner

from services.cli import bench_fleet


def test_a_small_fleet_has_every_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys scripts rely on, medians and runs; nothing doubled or missing, and far fresher than a cycle."""
    for name, value in {
        "IDLE": 0.5,
        "CALM": 5,
        "ALONE": 0.3,
        "FAIR": 5,
        "FAIR_SECONDS": 1.0,
        "HUNG": 3,
    }.items():
        monkeypatch.setattr(bench_fleet, name, value)
    app = Typer()
    app.command()(bench_fleet.fleet)
    options = ["--companies", "4", "--documents", "100", "--burst", "20", "--runs", "2", "--workers", "1"]
    result = CliRunner().invoke(app, [*options, "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["doubled"], report["missing"], report["metered_reads_per_document"]) == (0, 0, 0)
    for name in ("documents_per_second", "cpu_ms_per_document", "freshness_p99_ms", "fairness_p99_ms"):
        assert report[name] > 0
    assert 2 < report["commits_per_document"] < 6
    assert report["sequential_loop_per_second"] > 0
    assert 430 < report["cycle_freshness_p50_s"] < 470
    assert report["ratio_to_cycle_p50"] > 10
    assert [one["documents_per_second"] > 0 for one in report["runs"]] == [True, True]
