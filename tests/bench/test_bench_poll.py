"""`algasync bench poll` counts what reading changes costs, and notices a change that was not read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer import Typer
from typer.testing import CliRunner

from services.cli import bench_poll
from services.configuration import configuration


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Typer]:
    """The command, on a database as an operator would give it."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    configuration.cache_clear()
    app = Typer()
    app.command()(bench_poll.poll)
    yield app
    configuration.cache_clear()


def test_an_idle_cycle_is_one_metered_read(app: Typer) -> None:
    """Counted by the sandbox: one for an idle cycle and for a busy one, more only when an answer was full."""
    sizes = ["--companies", "3", "--cycles", "2", "--payments", "2", "--flood", "1001"]
    result = CliRunner().invoke(app, [*sizes, "--runs", "1", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["metered_reads_per_idle_cycle"] == 1
    assert report["metered_reads_per_busy_cycle"] == 1
    assert report["metered_reads_a_company_a_day"] == 96
    assert 1 < report["metered_reads_of_the_flooded_cycle"] <= 12
    assert (report["payments_received"], report["payments_missing"]) == (1007, 0)


def test_it_notices_what_is_missing(app: Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bookkeeper who receives one payment more than is said makes the count differ: it is no constant."""
    receive = bench_poll._Bench.receive
    monkeypatch.setattr(
        bench_poll._Bench, "receive", lambda bench, realm, number: receive(bench, realm, number - 1)
    )
    options = [
        "--companies",
        "1",
        "--cycles",
        "1",
        "--payments",
        "2",
        "--flood",
        "1",
        "--runs",
        "1",
        "--json",
    ]
    result = CliRunner().invoke(app, options)
    assert result.exit_code != 0
    assert json.loads(result.stdout)["payments_missing"] == 2
