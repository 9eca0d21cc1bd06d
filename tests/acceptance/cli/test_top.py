"""`algasync top` and the figures of `/metrics`: the same look, complete, and honest about what it cannot see."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from services.cli import figures
from services.cli.exporter import Exporter, families
from services.database import Database, Role
from services.database.engine import ALL_TENANTS
from services.ledger import pauses
from tests.support.desk import Installed, World


def test_one_look(desk: Installed, world: World) -> None:
    """States, what needs a person, stop switches and the busiest companies, as text and as one JSON object."""
    world.failed("inv-1")
    world.queued("inv-2")
    with world.fleet.transaction(ALL_TENANTS) as connection:
        pauses.pause(connection, "fleet", actor="dana", reason="test")
    said = desk("top", "--once")
    for part in (
        "queued",
        "failed operations",
        "1 fleet",
        "sync_export_error open",
        "liveness violations",
        "UNFINISHED",
    ):
        assert part in said
    told = desk.json("top")
    assert told["operations"] == {"failed": 1, "queued": 1}
    assert told["exceptions"][0]["number"] == 1
    assert (told["busiest"][0]["unfinished"], told["busiest"][0]["failed"]) == (2, 1)
    assert told["unseen"] == []


def test_what_it_cannot_see_it_says(desk: Installed, world: World) -> None:
    """Without the broker the rest is shown and the gap named; without the database nothing is left: exit code 3."""
    nobody = "amqp://guest:guest@127.0.0.1:1/"
    said = desk("top", "--once", BROKER_URL=nobody)
    assert "cannot see the broker's queues: it does not answer" in said
    assert "queued" in said
    gone = "postgresql://nobody@127.0.0.1:1/gone"
    assert "cannot see the database" in desk("top", "--once", exit_code=3, DATABASE_URL=gone)


def test_every_figure_is_exported(world: World) -> None:
    """Each field of a look reaches `/metrics`; nothing is left out when there is nothing to count."""
    with world.fleet.transaction(ALL_TENANTS) as connection:
        found = figures.look(connection)
    named = {family.name for family in families(found)}
    assert len(named) == 24
    source = Path(figures.__file__).with_name("exporter.py").read_text()
    for field in figures.Figures.__dataclass_fields__:
        assert field == "busiest" or f"found.{field}" in source, field


def test_a_lost_database_is_a_figure(world: World) -> None:
    """A scrape while the database is down says so, and says nothing that is not known."""
    registry = CollectorRegistry()
    with Database("postgresql://nobody@127.0.0.1:1/gone", Role.FLEET) as gone:
        registry.register(Exporter(gone))
        told = generate_latest(registry).decode()
    assert "algasync_database_up 0.0" in told
    assert "algasync_operations" not in told


def test_a_living_database_is_scraped(world: World) -> None:
    """What is in the database stands in the scrape, with its labels."""
    world.failed("inv-1")
    registry = CollectorRegistry()
    registry.register(Exporter(world.fleet))
    told = generate_latest(registry).decode()
    assert "algasync_database_up 1.0" in told
    assert 'algasync_operations{state="failed"} 1.0' in told
    assert 'algasync_exceptions{state="open",type="accounting_sync_export_error"} 1.0' in told
    assert 'algasync_liveness_violations{violation="lease_expired"} 0.0' in told
