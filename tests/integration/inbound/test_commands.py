"""`algasync sync-now` and `algasync drift` in process, on the tenant's own database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from services.cli import console, drift
from services.cli.sync_now import sync_now
from services.configuration import configuration
from services.refusals import Refusal
from tests.support.exporting import REALM, TENANT
from tests.support.inbound import InboundBench

SYNC = typer.Typer()
SYNC.command()(sync_now)


class Told:
    """Runs commands with --json and returns what they say."""

    exit_code = 0

    def __call__(self, app: typer.Typer, *arguments: str) -> Any:
        """The answer of one command."""
        words = [*arguments, "--tenant", TENANT, "--json"]
        with capture_logs():
            answer = CliRunner().invoke(app, words, catch_exceptions=False)
        self.exit_code = answer.exit_code
        return json.loads(answer.stdout)


@pytest.fixture
def told(bench: InboundBench, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """A function that runs a command."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    configuration.cache_clear()
    yield Told()
    console.mode.json = False
    configuration.cache_clear()


@pytest.fixture
def fleet(bench: InboundBench) -> Iterator[None]:
    """Scheduler and workers, in a thread."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            bench.open_due()
            bench.settle()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("fleet")
def test_sync_now_waits_for_the_certificate(told: Told, bench: InboundBench) -> None:
    """What it prints is the cycle that it asked for, complete, with what was seen; exit code 0."""
    qb = bench.invoice("inv-1")
    bench.receive("100.00", {qb: "100.00"})
    answer = told(SYNC, "--company", REALM)
    assert (answer["state"], told.exit_code) == ("complete", 0)
    assert answer["cycle"]["cause"] == "request"
    assert answer["cycle"]["outcomes"]["new"] == 2  # the payment, and what it did to the invoice
    bench.trouble("fault", entity="cdc", code="2010", fault_type="ValidationFault")
    answer = told(SYNC)
    assert (answer["state"], told.exit_code) == ("incomplete", 1)
    assert "2010" in answer["cycle"]["reason"]


def test_sync_now_without_a_fleet_says_so(told: Told) -> None:
    """Asked only: exit code 0. Nobody answers in time: exit code 1."""
    assert told(SYNC, "--wait", "0") == {"state": "asked", "cycle": None}
    assert told.exit_code == 0
    assert told(SYNC, "--wait", "0.1")["state"] == "unanswered"
    assert told.exit_code == 1


def test_a_difference_is_listed_and_settled(told: Told, bench: InboundBench) -> None:
    """By its document, with a reason; what does not fit is refused, and the list is empty in the end."""
    qb = bench.invoice("inv-1")
    bench.bookkeeper("edit", entity="Invoice", id=qb, changes={"DueDate": "2026-12-31"})
    bench.poll()
    (listed,) = told(drift.app, "list")["drift"]
    assert (listed["document_id"], listed["change"]) == ("inv-1", "changed")
    assert [one["field"] for one in listed["differences"]] == ["due date"]
    resolve = ("resolve", "invoice", "inv-1", "--reason", "by mistake", "--by")
    with pytest.raises(Refusal, match="re-export it"):
        told(drift.app, *resolve, "recreate")
    assert told(drift.app, *resolve, "re-export")["operation_id"]
    bench.settle()
    bench.poll()
    assert told(drift.app, "list") == {"drift": []}
    (settled,) = told(drift.app, "list", "--closed")["drift"]
    assert settled["state"] == "closed"
    assert bench.object("Invoice", qb)["DueDate"] == "2026-11-30"
