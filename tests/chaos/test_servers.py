"""RabbitMQ and PostgreSQL are killed, wiped and started again in the middle of work: every document exactly once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import PostgresqlServer, RabbitmqNode
from services.cli.chaos import crowd
from services.cli.ear import Ear
from tests.support.command import RunCli
from tests.support.fleet import FleetOfProcesses, Party, fleet_of_processes
from tests.support.sandbox import Sandbox

NEVER = "3600"  # seconds


@pytest.fixture(scope="module")
def _fleet_of_node(
    _private_node: RabbitmqNode,
    module_database_url: str,
    _sandbox_process: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FleetOfProcesses]:
    _private_node.start(dies_with_parent=True)
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_of_processes(module_database_url, _private_node.url, _sandbox_process, folder) as made:
        yield made


@pytest.fixture
def fleet(_fleet_of_node: FleetOfProcesses, broker_node: RabbitmqNode, sandbox: Sandbox) -> FleetOfProcesses:
    """A fleet on a broker that the test may kill and wipe; every process running."""
    _fleet_of_node.arena.prepare(limits=False)
    _fleet_of_node.assemble()
    return _fleet_of_node


def begin(fleet: FleetOfProcesses, party: Party) -> None:
    """Thirty documents, some done, some under way, some on their way."""
    fleet.arena.trouble("latency", realm=party.realm, entity="invoice", seconds=0.1)
    fleet.bill(party, 30)
    fleet.eventually(lambda: fleet.states(party).get("succeeded", 0) >= 5, "in the middle of work")


def lose_disk(fleet: FleetOfProcesses, party: Party, node: RabbitmqNode) -> None:
    """The broker holds events and commands that nobody has taken, dies, and comes back empty."""
    fleet.crew.stop("workers")
    fleet.bill(party, 5)
    fleet.eventually(lambda: fleet.undelivered(party) >= (5, 1), "events and commands lie in the broker")
    node.kill()
    node.wipe()
    fleet.crew.go_on("workers")
    node.start(dies_with_parent=True)


def test_broker_sigkill(fleet: FleetOfProcesses, party: Party, broker_node: RabbitmqNode) -> None:
    """The broker dies and comes back; billing goes on meanwhile."""
    begin(fleet, party)
    broker_node.kill()
    fleet.bill(party, 5)
    broker_node.start(dies_with_parent=True)
    fleet.arrived(party)


def test_the_fleet_outlives_the_brokers_disk(
    fleet: FleetOfProcesses, party: Party, broker_node: RabbitmqNode
) -> None:
    """The broker comes back empty; what it held is sent again by itself."""
    begin(fleet, party)
    lose_disk(fleet, party, broker_node)
    fleet.arrived(party)


def test_recover_after_the_brokers_disk_is_lost(
    fleet: FleetOfProcesses, party: Party, broker_node: RabbitmqNode, run_cli: RunCli
) -> None:
    """One command sends everything again at once, dead letters included, and the fleet need not find out by time."""
    for name, setting in (("relay", "ALGASYNC_REPUBLISH_SECONDS"), ("dispatcher", "ALGASYNC_RESEND_SECONDS")):
        fleet.crew.kill(name)
        fleet.crew.start(name, **{setting: NEVER})
    fleet.crew.ready("relay", "dispatcher")
    fleet.crew.kill("collector")
    refused = fleet.arena.trouble("fault", realm=party.realm, entity="invoice", times=1, code="6000")
    begin(fleet, party)
    fleet.eventually(lambda: fleet.states(party).get("failed", 0) == 1, "one is refused")
    assert fleet.arena.hits(refused) == 1
    lose_disk(fleet, party, broker_node)
    fleet.crew.start("collector")
    done = run_cli("recover", "--json", env=fleet.settings)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["events_published_again"], told["letters_rebuilt"]) == (5, 1)
    # How many commands were lost with the disk and how many a worker held already is chance; none may be missing.
    fleet.eventually(lambda: fleet.states(party) == {"succeeded": 34, "failed": 1}, "all but the refused one")
    (letter,) = fleet.letters(party)
    assert letter.exception_state == "open"
    replayed = run_cli(
        *("dead-letters", "replay", "--tenant", party.tenant, "--because", "it is well", "--yes"),
        env=fleet.settings,
    )
    assert replayed.returncode == 0, replayed.stderr
    fleet.arrived(party)


# --- the database ---------------------------------------------------------------------------------------


@pytest.fixture
def doomed(
    database_server: PostgresqlServer, broker_url: str, sandbox: Sandbox, tmp_path: Path
) -> Iterator[FleetOfProcesses]:
    """A fleet on a database that the test may kill; every process running."""
    with fleet_of_processes(database_server.url, broker_url, sandbox, tmp_path) as made:
        made.arena.prepare(limits=False)
        made.assemble()
        yield made


def go_on(fleet: FleetOfProcesses, party: Party, server: PostgresqlServer) -> None:
    """The database is back: work goes on, and no message was blamed for the outage."""
    server.start(dies_with_parent=True)
    fleet.database.engine.dispose()
    fleet.bill(party, 5)
    fleet.arrived(party)
    assert fleet.letters(party) == []
    assert [name for name in fleet.crew.names if not fleet.crew.lives(name)] == []


def test_database_sigkill(doomed: FleetOfProcesses, database_server: PostgresqlServer) -> None:
    """PostgreSQL dies under everybody's hands, twice: nothing is acked, dead-lettered or lost."""
    party = doomed.join()
    begin(doomed, party)
    database_server.kill()
    doomed.eventually(lambda: bool(doomed.crew.said("workers", "gate_shut")), "workers hold what they have")
    database_server.start(dies_with_parent=True)
    doomed.eventually(lambda: bool(doomed.crew.said("workers", "gate_open")), "workers go on")
    database_server.kill()
    go_on(doomed, party, database_server)


def test_exhausted_connections(doomed: FleetOfProcesses, database_server: PostgresqlServer) -> None:
    """PostgreSQL has no connection left for anybody for a while: work waits for it, and no message is blamed."""
    party = doomed.join()
    begin(doomed, party)
    log = Ear(database_server.log)
    with crowd.postgresql_full(database_server.url) as ours:
        doomed.eventually(
            lambda: bool(doomed.crew.said("workers", "gate_shut")), "workers hold what they have"
        )
        doomed.eventually(lambda: log.count("too many clients") >= ours + 5, "the fleet is refused")
    go_on(doomed, party, database_server)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_database_down_for_longer_than_patience(
    doomed: FleetOfProcesses, database_server: PostgresqlServer
) -> None:
    """After half a minute consumers give back what they hold and close; they reopen when PostgreSQL answers."""
    party = doomed.join()
    begin(doomed, party)
    database_server.kill()
    doomed.eventually(lambda: bool(doomed.crew.said("workers", "consumer_closed")), "consumers close", 60)
    go_on(doomed, party, database_server)
