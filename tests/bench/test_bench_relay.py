"""`algasync bench relay` measures what it says, on servers of its own, and notices when something is missing."""

from __future__ import annotations

import json

import pytest
from amqp import Connection
from kombu.connection import Connection as KombuConnection
from typer import Typer
from typer.testing import CliRunner

from services.cli import bench_relay
from services.cli.bench_servers import own_database
from services.cli.console import Told
from services.configuration import configuration

KEYS = {
    "messages_per_second",
    "messages_per_second_4k",
    "confirm_each_per_second",
    "raw_publish_per_second",
    "ratio",
    "share_of_raw",
    "lost",
    "doubled",
    "runs",
    "machine",
}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch, postgresql_url: str, broker_url: str) -> str:
    """DATABASE_URL and BROKER_URL as an operator would set them; returns the latter."""
    monkeypatch.setenv("DATABASE_URL", postgresql_url)
    monkeypatch.setenv("BROKER_URL", broker_url)
    configuration.cache_clear()
    return broker_url


def test_it_accounts_for_every_message(servers: str) -> None:
    """Two small runs: all keys, nothing lost or doubled, and pipelining is worth its while on any machine."""
    app = Typer()
    app.command()(bench_relay.relay)
    result = CliRunner().invoke(app, ["--events", "4000", "--runs", "2", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report.keys() >= KEYS
    assert (report["lost"], report["doubled"]) == (0, 0)
    assert report["ratio"] > 1
    assert report["machine"]["postgresql"]["fsync"] == "on"
    assert report["machine"]["postgresql"]["synchronous_commit"] == "on"
    assert len(report["runs"]) == 2
    assert report["spread"]["ratio"] == sorted(one["ratio"] for one in report["runs"])


def test_it_counts_what_is_missing(servers: str, postgresql_url: str) -> None:
    """A message that disappears from the queue is lost, one that comes twice is doubled: the count is no constant."""
    with (
        own_database(postgresql_url) as database_url,
        bench_relay.Bench(database_url, servers) as bench,
    ):
        drain = bench._drain
        bench._drain = lambda: (ids := drain())[1:] + ids[1:3]  # type: ignore[method-assign]  # one lost, two doubled
        run = bench._relay(1_000, 512)
    assert (run.lost, run.doubled) == (1, 2)


def test_it_refuses_the_virtual_host_of_a_fleet(servers: str, postgresql_url: str) -> None:
    """Its made-up invoices never reach an intake queue that somebody works on."""
    with KombuConnection(servers) as opened:
        opened.connect()
        connection: Connection = opened.connection
        connection.channel().queue_declare(bench_relay.INTAKE, durable=True, auto_delete=False)
    with (
        own_database(postgresql_url) as database_url,
        pytest.raises(Told, match="a virtual host in which a fleet works"),
        bench_relay.Bench(database_url, servers),
    ):
        pass
