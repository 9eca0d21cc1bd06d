"""`algasync bench exceptions` does what it measures: every exception is retried, every one of the cause released."""

from __future__ import annotations

import json

import pytest
from typer import Typer
from typer.testing import CliRunner

from services.cli import bench_exceptions
from services.configuration import configuration


def test_everything_is_replayed_and_released(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    """No row of the list is left out of a figure, and the other tenant did work meanwhile."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr(bench_exceptions, "PAGES", 3)
    monkeypatch.setattr(bench_exceptions, "PAUSE", 0.01)
    configuration.cache_clear()
    app = Typer()
    app.command()(bench_exceptions.exceptions)
    try:
        result = CliRunner().invoke(app, ["--exceptions", "200", "--json"])
    finally:
        configuration.cache_clear()
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["replayed"], report["released"], report["to_release"]) == (200, 180, 180)
    assert report["first_page_ms"] == max(one["p99"] for one in report["pages_ms"].values())
    assert report["beside_replay_ms"]["p99"] > 0
