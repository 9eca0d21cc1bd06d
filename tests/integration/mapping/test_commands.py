"""`algasync mappings` and `algasync settings` in process, with the sandbox as QuickBooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from structlog.testing import capture_logs
from typer.testing import CliRunner

from services.cli import console, mappings, settings
from services.configuration import configuration
from services.mapping import settings as rules
from services.mapping.settings import of_company
from services.onboarding import company_settings
from services.refusals import Refusal
from tests.support.exporting import REALM, TENANT, Workbench, invoice, payment, wire_of


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
    monkeypatch.setattr("services.connections.clients.Clients", wire_of(workbench.clients))
    configuration.cache_clear()
    yield Told()
    console.mode.json = False
    configuration.cache_clear()


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


def test_settings_from_choices_to_history(told: Told, workbench: Workbench) -> None:
    """An account by its name, stored with id and name; history tells who; reset takes it back."""
    labels = [one["label"] for one in told(settings.app, "choices", "deposit_account")["choices"]]
    assert "Stripe Clearing (Other Current Asset, USD)" in labels
    answer = told(settings.app, "set", "deposit_account", "stripe clearing")
    assert answer["value"] == {"id": "9", "name": "Stripe Clearing", "currency": ""}
    assert answer["scope"] == f"company:{workbench.company_id}"
    listed = told(settings.app, "list", "--company", REALM)["settings"]
    assert listed["deposit_account"]["id"] == "9"
    history = told(settings.app, "history", "deposit_account")["history"]
    assert [(one["details"]["before"], one["details"]["after"]["id"]) for one in history] == [(None, "9")]
    assert told(settings.app, "reset", "deposit_account")["reset"]
    assert told(settings.app, "set", "poll_interval", "30")["scope"] == "tenant"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "deposit_account", "Services"), "no Account"),
        (("set", "deposit_account", "7"), "type Accounts Receivable"),
        (("set", "deposit_account", "77"), "no Account 77"),
        (("set", "default_class", "9"), "no Class 9"),
        (("set", "poll_interval", "often"), "poll_interval"),
        (("set", "no_such_thing", "1"), "no setting"),
    ],
)
def test_a_bad_setting_is_refused_by_name(told: Told, arguments: tuple[str, ...], said: str) -> None:
    """The sentence names it, and nothing is set."""
    with pytest.raises((Refusal, console.Told), match=said):
        told(settings.app, *arguments)
    with pytest.raises(Refusal, match="no setting") if "no_such" in arguments[1] else nullcontext():
        assert told(settings.app, "history", arguments[1])["history"] == []


def test_deposit_accounts_of_methods_do_not_trample(told: Told, workbench: Workbench) -> None:
    """Two people set the accounts of two methods at once; both are there, and one can be taken out again."""
    scope = of_company(workbench.company_id)

    def write(method: str) -> None:
        with workbench.fleet.transaction(TENANT) as connection:
            company_settings.put(
                connection, TENANT, scope, "deposit_accounts", {"id": "5"}, actor=method, key=method,
                unchecked="no need",
            )  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ["card", "check", "ach", "card:stripe"]))
    told(settings.app, "set", "deposit_accounts", "null", "--method", "ach")
    with workbench.fleet.transaction(TENANT) as connection:
        found = rules.resolve(connection, TENANT, company_id=workbench.company_id)
    assert sorted(found.deposit_accounts) == ["card", "card:stripe", "check"]


def test_another_deposit_account_releases_what_the_former_held_up(told: Told, workbench: Workbench) -> None:
    """A payment refused for the currency of its account starts again with an account that fits."""
    workbench.set("deposit_account", {"id": "12", "name": "Checking EUR", "currency": "EUR"})
    workbench.say("payment.recorded", payment("pay-1", amount=500))
    assert workbench.outcome("payment", "pay-1") == ("failed", "deposit_account_currency")
    assert len(told(settings.app, "set", "deposit_account", "5")["released"]) == 1
    workbench.settle()
    assert workbench.outcome("payment", "pay-1")[0] == "succeeded"


def test_a_class_where_classes_are_off_is_refused(told: Told, workbench: Workbench) -> None:
    """It would be left out of every document without a word."""
    workbench.know("AccountingInfoPrefs", ClassTrackingPerTxn=False, ClassTrackingPerTxnLine=False)
    with pytest.raises(Refusal, match="class tracking switched off"):
        told(settings.app, "set", "default_class", "1")
