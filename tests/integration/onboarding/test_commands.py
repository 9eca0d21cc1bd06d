"""`algasync onboard` from hand-over to undo, in process, with the sandbox as QuickBooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from services.cli import console, onboard
from services.configuration import configuration
from tests.integration.onboarding.conftest import Wizard
from tests.support.exporting import TENANT, wire_of


@pytest.fixture
def told(wizard: Wizard, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function that runs a command with --json and returns its answer; calls go through the test's own wire."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setattr("services.connections.clients.Clients", wire_of(wizard.bench.clients))
    configuration.cache_clear()

    def run(*arguments: str, input_: str | None = None) -> Any:
        as_json = input_ is None
        options = ["--tenant", TENANT, *(["--json"] if as_json else [])]
        with capture_logs():  # they go to standard error, which the root of the commands sees to
            answer = CliRunner().invoke(
                onboard.app, [*arguments, *options], input=input_, catch_exceptions=False
            )
        assert answer.exit_code == 0, answer.output
        return json.loads(answer.stdout) if as_json else answer.stdout

    yield run
    console.mode.json = False
    configuration.cache_clear()


def test_from_hand_over_to_undo(wizard: Wizard, told: Any, tmp_path: Path) -> None:
    """Lists from CSV and JSON, exact customers, history, dry run, go-live and undo: one command each."""
    wizard.enter("Customer", {"DisplayName": "Blue Ridge Dental LLC"}, {"DisplayName": "Castelano Brothers"})
    wizard.enter("Invoice", wizard.form("2", "O-1", "12.00"))
    clients, documents = tmp_path / "clients.csv", tmp_path / "documents.json"
    clients.write_text("id,name\nc1,Blue Ridge Dental\nc2,Castellano Brothers\n")
    documents.write_text(json.dumps([wizard.document("d1", "O-1", 1200, "cl-1")]))
    assert told("hand-over", "--clients", str(clients), "--documents", str(documents)) == {
        "clients": 2,
        "documents": 1,
        "services": 0,
    }
    standing = told()
    assert standing["customers"] == {"linked": 0, "exact": 1, "suggested": 1, "unmatched": 0}
    assert standing["history"] == {"linked": 0, "confident": 1, "review": 0, "none": 0}
    assert told("customers", "--accept-exact")["counts"]["linked"] == 1
    suggested = told("customers", "--status", "suggested")["matches"][0]
    told("link-customer", "c2", suggested["candidates"][0]["id"])
    assert told("history", "--link-confident")["linked"] == 1
    assert told("dry-run", "--cutover", "2026-12-01")["steps"] == []
    assert told("go-live", "--cutover", "2026-12-01", "--waiting", "export")["handled"] == 0
    assert told("undo")["undone"] == {"mapped client": 2, "linked invoice": 1, "set setting": 2}


def test_the_walk_asks_at_every_step(wizard: Wizard, told: Any) -> None:
    """Exact ones at a yes, one alike by its number, history at a yes, and no switch without a yes."""
    wizard.enter("Customer", {"DisplayName": "Pinnacle Roofing"}, {"DisplayName": "Castelano Brothers"})
    wizard.enter("Invoice", wizard.form("2", "W-1", "12.00"))
    wizard.hand_over(
        [{"id": "c1", "name": "Pinnacle Roofing Inc"}, {"id": "c2", "name": "Castellano Brothers"}],
        [wizard.document("d1", "W-1", 1200, "cl-1")],
    )
    console.mode.json = False
    said = told(input_="y\ny\n1\ny\ny\n2026-12-01\nn\n")
    assert "castellano is like castelano" in said
    assert "Left as it is" in said
    assert {match.status for match in wizard.plan(wizard.start()).values()} == {"linked"}
    link = wizard.bench.link("invoice", "d1")
    assert link is not None


def test_a_list_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """A file that is no list names itself."""
    from services.cli.onboard_desk import rows

    broken = tmp_path / "clients.json"
    broken.write_text('{"id": 1}')
    with pytest.raises(console.Told, match="no array of objects"):
        rows(broken)
