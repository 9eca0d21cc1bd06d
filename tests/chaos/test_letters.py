"""Work that needs a person, and the people who see to it, while processes are killed."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.command import RunCli
from tests.support.exporting import LINE
from tests.support.fleet import FleetOfProcesses, Party

UNMAPPED = "svc-new"


def lines(net: int) -> list[dict[str, Any]]:
    """One line of a service that nobody has mapped yet."""
    line = copy.deepcopy(LINE)
    return [{**line, "service_id": UNMAPPED, "net_amount": net, "unit_price": str(net / 300)}]


def bill_unmapped(fleet: FleetOfProcesses, party: Party, count: int) -> None:
    """Invoices that cannot be exported yet."""
    for _ in range(count):
        fleet.bill(party, lines=lines(300 * (len(party.billed) + 1)))


def joined(fleet: FleetOfProcesses, party: Party, count: int) -> bool:
    """Whether every failed operation has one open letter, joined to the open exception that it rests for."""
    letters = fleet.letters(party)
    return (
        len(letters) == count
        and len({letter.operation_id for letter in letters}) == count
        and all(letter.state == "open" and letter.code == "missing_service_mapping" for letter in letters)
        and all(letter.exception_state == "open" for letter in letters)
        and all(letter.exception_operation == letter.operation_id for letter in letters)
    )


def test_from_a_missing_mapping_to_arrival(fleet: FleetOfProcesses, party: Party, run_cli: RunCli) -> None:
    """Failed, dead letter, exception; an operator maps the service, and the invoice arrives by itself."""
    fleet.bill(party, 3)
    bill_unmapped(fleet, party, 1)
    fleet.eventually(lambda: fleet.states(party) == {"succeeded": 3, "failed": 1}, "one failed")
    fleet.eventually(lambda: joined(fleet, party, 1), "the letter is joined to its exception")
    set_ = run_cli(
        *("mappings", "set", "item", UNMAPPED, "3", "--tenant", party.tenant, "--json"), env=fleet.settings
    )
    assert set_.returncode == 0, set_.stderr
    fleet.arrived(party)
    (letter,) = fleet.letters(party)
    assert letter.exception_state == "resolved"


def test_a_dead_collector_loses_no_letter(fleet: FleetOfProcesses, party: Party) -> None:
    """It dies again and again while letters arrive; each is filed once and joined to its exception."""
    fleet.crew.kill("collector")
    bill_unmapped(fleet, party, 10)
    fleet.eventually(lambda: fleet.states(party) == {"failed": 10}, "ten failed")
    fleet.crew.start("collector")
    fleet.eventually(lambda: len(fleet.letters(party)) > 0, "it collects")
    fleet.crew.restart("collector")
    bill_unmapped(fleet, party, 10)
    fleet.crew.restart("collector")
    fleet.eventually(lambda: fleet.states(party) == {"failed": 20}, "twenty failed")
    fleet.eventually(lambda: joined(fleet, party, 20), "every letter is joined to its exception")


def test_operators_replay_while_workers_die(fleet: FleetOfProcesses, party: Party, run_cli: RunCli) -> None:
    """Two operators replay the same letters at once and the workers are killed meanwhile: one effect each."""
    rule = fleet.arena.trouble("fault", realm=party.realm, entity="invoice", method="POST", code="6000")
    fleet.bill(party, 10)
    fleet.eventually(lambda: fleet.states(party) == {"failed": 10}, "ten refused")
    fleet.eventually(lambda: len(fleet.letters(party)) == 10, "ten letters")
    fleet.arena.no_more_trouble(rule)
    fleet.arena.trouble("latency", realm=party.realm, entity="invoice", seconds=0.3)
    because = ("--because", "QuickBooks is well", "--yes", "--json", "--rate", "0")

    def replay() -> int:
        done = run_cli("dead-letters", "replay", "--tenant", party.tenant, *because, env=fleet.settings)
        return int(json.loads(done.stdout)["replayed"])

    with ThreadPoolExecutor(2) as operators:
        both = [operators.submit(replay) for _ in range(2)]
        fleet.eventually(lambda: "running" in fleet.states(party), "a replayed one is under way")
        fleet.crew.restart("workers")
        assert sum(one.result() for one in both) == 10, "each letter was replayed by one of them"
    fleet.arrived(party)


def test_sigterm_drains(fleet: FleetOfProcesses, party: Party) -> None:
    """A worker that is told to stop finishes what it began within its bound, and what it gives back is not lost."""
    fleet.arena.trouble("latency", realm=party.realm, entity="invoice", seconds=1)
    before = fleet.crew.said("scheduler", "liveness_repaired")
    fleet.bill(party, 12)
    fleet.eventually(lambda: fleet.states(party).get("running", 0) >= 4, "several calls at once")
    assert fleet.crew.drain("workers", 11), "within ALGASYNC_DRAIN_SECONDS and a little"
    assert "running" not in fleet.states(party), "what was begun is finished"
    assert fleet.states(party)["succeeded"] >= 4
    fleet.crew.start("workers")
    fleet.arrived(party)
    assert fleet.crew.said("scheduler", "liveness_repaired") == before, "no lease was left behind"
