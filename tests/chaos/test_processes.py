"""Real processes, killed and stopped from outside: every document arrives exactly once and to the cent."""

from __future__ import annotations

import signal

from tests.support.deadline import eventually
from tests.support.fleet import FleetOfProcesses

ROLES = ("relay", "dispatcher", "scheduler", "workers")


def test_ordinary_work_through_every_process(fleet_of_processes: FleetOfProcesses) -> None:
    """Emit, relay, intake, dispatch, export: twenty documents through real processes."""
    fleet = fleet_of_processes
    fleet.connect()
    fleet.start(*ROLES)
    numbers = fleet.bill(20)
    fleet.all_done(20)
    fleet.check_books(numbers)


def test_sigkill_of_workers_during_calls(fleet_of_processes: FleetOfProcesses) -> None:
    """Workers die while QuickBooks is thinking; the lease runs out and the same call settles it."""
    fleet = fleet_of_processes
    fleet.connect()
    fleet.arena.trouble("latency", entity="invoice", seconds=0.3)
    fleet.start(*ROLES, "workers-2")
    numbers = fleet.bill(30)
    for role in ("workers", "workers-2", "workers"):
        before = fleet.states().get("succeeded", 0)
        eventually(lambda before=before: fleet.states().get("succeeded", 0) > before, 30)  # type: ignore[misc]
        fleet.restart(role)
    fleet.all_done(30)
    fleet.check_books(numbers)


def test_sigstop_beyond_the_lease_then_sigcont(fleet_of_processes: FleetOfProcesses) -> None:
    """A worker sleeps through its leases and wakes up: another has done its work, and one effect stands."""
    fleet = fleet_of_processes
    fleet.connect()
    fleet.arena.trouble("latency", entity="invoice", seconds=0.5)
    fleet.start(*ROLES)
    numbers = fleet.bill(10)
    eventually(lambda: fleet.states().get("running", 0) > 0, 30)
    fleet.kill("workers", signal.SIGSTOP)
    fleet.start("workers-2")
    fleet.all_done(10)
    fleet.kill("workers", signal.SIGCONT)
    more = fleet.bill(5, prefix="later")
    fleet.all_done(15)
    fleet.check_books(numbers + more)


def test_sigkill_of_relay_and_dispatcher(fleet_of_processes: FleetOfProcesses) -> None:
    """Whoever dies between publishing and marking leaves duplicates behind, and they change nothing."""
    fleet = fleet_of_processes
    fleet.connect()
    fleet.start(*ROLES)
    numbers: list[str] = []
    for number, role in enumerate(("relay", "dispatcher", "relay", "dispatcher")):
        numbers += fleet.bill(10, prefix=f"batch{number}")
        fleet.restart(role)
    fleet.all_done(40)
    fleet.check_books(numbers)
