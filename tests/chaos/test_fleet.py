"""Real processes, killed and stopped from outside: every document arrives exactly once and to the cent."""

from __future__ import annotations

import pytest

from services.cli.chaos.boundaries import Boundary
from tests.support.fleet import FleetOfProcesses, Party

# What the ledger knows of the operation once its worker is dead: state and outcome.
AT_DEATH = {
    Boundary.BEFORE_INTENT: ("queued", "none"),
    Boundary.AFTER_INTENT: ("running", "intended"),
    Boundary.BEFORE_CALL: ("running", "intended"),
    Boundary.ANSWER_LOST: ("running", "intended"),
    Boundary.AFTER_ANSWER: ("running", "intended"),
    Boundary.BEFORE_COMMIT: ("running", "intended"),
    Boundary.BEFORE_ACK: ("succeeded", "answered"),
}


def test_ordinary_work_through_every_process(fleet: FleetOfProcesses, party: Party) -> None:
    """Emit, relay, intake, dispatch, export: twenty documents through real processes, without a single read."""
    fleet.bill(party, 20)
    fleet.arrived(party)
    asked = fleet.arena.counters(party.realm)["requests"]
    assert [what for what in asked if "Invoice" in what or "query" in what] == ["POST Invoice create"]


@pytest.mark.parametrize("boundary", list(Boundary))
def test_sigkill_at_a_boundary(fleet: FleetOfProcesses, party: Party, boundary: Boundary) -> None:
    """A worker dies exactly here, another goes on, and one effect stands."""
    with fleet.boundaries.held(boundary, fleet.aim(party)) as document_id:
        fleet.crew.kill("workers")
        (operation,) = fleet.operations(party, document_id)
    assert (operation.state, operation.outcome) == AT_DEATH[boundary]
    fleet.crew.start("workers")
    fleet.bill(party)
    fleet.arrived(party)


def progress(fleet: FleetOfProcesses, party: Party) -> None:
    """Wait until more is done than at this moment."""
    before = fleet.states(party).get("succeeded", 0)
    fleet.eventually(lambda: fleet.states(party).get("succeeded", 0) > before, "progress")


def test_two_worker_processes_die_in_turn(fleet: FleetOfProcesses, party: Party) -> None:
    """Two processes share the work; each dies while QuickBooks is thinking, and nothing is done twice."""
    fleet.arena.trouble("latency", realm=party.realm, entity="invoice", seconds=0.2)
    fleet.crew.start("workers-2")
    fleet.bill(party, 30)
    for name in ("workers", "workers-2"):
        progress(fleet, party)
        fleet.crew.restart(name)
    fleet.arrived(party)


def test_sigstop_beyond_the_lease(fleet: FleetOfProcesses, party: Party) -> None:
    """A worker sleeps through its leases and wakes up: another has done its work, and it writes nothing."""
    with fleet.boundaries.held(Boundary.BEFORE_CALL, fleet.aim(party)):
        fleet.crew.stop("workers")
    fleet.crew.start("workers-2")
    fleet.arrived(party)
    fleet.crew.go_on("workers")
    # Beyond twice the lease it is interrupted before it can find out.
    fleet.eventually(
        lambda: bool(
            fleet.crew.said("workers", "lease_lost") or fleet.crew.said("workers", "message_failed")
        ),
        "the sleeper gives up",
    )
    fleet.bill(party, 5)
    fleet.arrived(party)


def test_sigkill_of_relay_and_dispatcher(fleet: FleetOfProcesses, party: Party) -> None:
    """Whoever dies between publishing and marking leaves duplicates behind, and they change nothing."""
    for name in ("relay", "dispatcher", "relay", "dispatcher"):
        fleet.bill(party, 10)
        fleet.crew.restart(name)
    fleet.arrived(party)


def test_a_standby_dispatcher_takes_over(fleet: FleetOfProcesses, party: Party) -> None:
    """The leader is killed and stays dead: the one that stood by dispatches."""
    fleet.crew.start("dispatcher-2")
    fleet.bill(party, 5)
    fleet.arrived(party)
    assert not fleet.crew.said("dispatcher-2", "leading")
    fleet.bill(party, 10)
    fleet.crew.kill("dispatcher")
    fleet.arrived(party)
    assert fleet.crew.said("dispatcher-2", "leading")
