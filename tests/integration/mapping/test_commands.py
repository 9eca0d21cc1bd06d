"""`algasync mappings` and `algasync settings` in process, with the sandbox as QuickBooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from services.cli import console, mappings
from services.configuration import configuration
from services.refusals import Refusal
from tests.support.exporting import TENANT, Straight, Workbench, invoice


class Told:
    """Runs commands with --json and returns what they say, or their error."""

    def __init__(self) -> None:
        self.exit_code = 0

    def __call__(self, app: typer.Typer, *arguments: str) -> Any:
        """The answer of one command."""
        with capture_logs():  # they go to standard error, which the root of the commands sees to
            answer = CliRunner().invoke(
                app, [*arguments, "--tenant", TENANT, "--json"], catch_exceptions=False
            )
        self.exit_code = answer.exit_code
        return json.loads(answer.stdout)


@pytest.fixture
def told(workbench: Workbench, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """A function that runs a command; calls go through the test's own wire."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr("services.connections.clients.Clients", _wire(workbench.clients))
    configuration.cache_clear()
    yield Told()
    console.mode.json = False
    configuration.cache_clear()


def _wire(clients: Straight) -> Any:
    class Wire:
        """`Clients` of the test: a minted token, no limits."""

        def __init__(self, *_: object) -> None:
            self.look = clients.look

        def close(self) -> None:
            """Nothing is pooled."""

    return Wire


def test_mappings_from_suggestion_to_history(told: Told, workbench: Workbench) -> None:
    """What is lacking is listed with a suggestion, set by it, released by that, and its history is told."""
    workbench.say("invoice.finalized", invoice("inv-t", terms="net_30"))
    choice = {one["label"]: one["id"] for one in told(mappings.app, "choices", "term")["choices"]}
    set_ = told(mappings.app, "set", "term", "net_30", choice["Net 30"])
    assert set_["mapping"]["external_name"] == "Net 30"
    assert len(set_["released"]) == 1
    workbench.settle()
    assert workbench.outcome("invoice", "inv-t")[0] == "succeeded"
    listed = told(mappings.app, "list", "--kind", "term")["mappings"]
    assert [one["external_id"] for one in listed] == ["4"]
    gone = told(mappings.app, "delete", "term", "net_30")
    assert gone["deleted"]
    history = told(mappings.app, "history", "term", "net_30")["history"]
    assert [one["action"] for one in history] == ["mapped", "unmapped"]


def test_a_sheet_is_all_or_nothing(told: Told, tmp_path: Path) -> None:
    """One wrong row: its number and sentence, exit code 2, and nothing of the sheet is set."""
    sheet = tmp_path / "mappings.csv"
    sheet.write_text("kind,key,quickbooks_id\nitem,svc-9,4\nterm,net_30,99\n")
    answer = told(mappings.app, "import", str(sheet))
    assert (told.exit_code, answer["applied"]) == (console.USAGE, False)
    assert [(one["row"], one["field"]) for one in answer["troubles"]] == [(2, "external_id")]
    sheet.write_text("kind,key,quickbooks_id\nitem,svc-9,4\nterm,net_30,4\n")
    assert told(mappings.app, "import", str(sheet), "--dry-run")["applied"] is False
    answer = told(mappings.app, "import", str(sheet))
    assert (told.exit_code, answer["applied"], answer["new"]) == (0, True, 2)
    exported = tmp_path / "exported.csv"
    told(mappings.app, "export", str(exported))
    assert "item,svc-9,,4,Managed Services - Server" in exported.read_text()
    with pytest.raises(Refusal, match="no Item 99"):
        told(mappings.app, "set", "item", "svc-9", "99")
