"""Deciding how a failed operation goes on, by command line and API: listed, refused by field, carried out once."""

from __future__ import annotations

import json

import pytest

from services.api.keys import Scope
from tests.support.api import Served, served
from tests.support.command import RunCli
from tests.support.exporting import TENANT, Workbench, invoice, payment, voided

__all__ = ["served"]


@pytest.fixture
def held(workbench: Workbench) -> str:
    """The operation of an invoice dated in the closed period."""
    workbench.know("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    workbench.say("invoice.finalized", invoice("inv-1"))
    return str(workbench.last("invoice", "inv-1").operation_id)


def test_by_the_api(served: Served, workbench: Workbench, held: str) -> None:
    """Choices are listed to readers; a manager decides, and who and why stand in the timeline."""
    reader = served.caller(Scope.READ, tenant=TENANT)
    manager = served.caller(Scope.MANAGE, tenant=TENANT)
    offer = reader.get(f"/v1/operations/{held}/choices")
    assert (offer["code"], offer["closed_through"], offer["state"]) == (
        "books_closed",
        "2026-10-31",
        "failed",
    )
    assert [(one["choice"], one["needs"]) for one in offer["choices"]] == [("redate", ["date", "reason"])]
    path, good = (
        f"/v1/operations/{held}/decision",
        {
            "choice": "redate",
            "reason": "agreed with the controller",
            "date": "2026-11-02",
        },
    )
    assert reader("POST", path, json=good).status_code == 403
    for wrong, status, field in [
        ({"date": "2026-10-31"}, 422, "date"),
        ({"date": "2026-02-30"}, 422, "date"),
        ({"date": None}, 422, "date"),
        ({"choice": "overwrite"}, 409, "choice"),
        ({"reason": " "}, 422, "reason"),
    ]:
        refused = manager("POST", path, json=good | wrong)
        assert (refused.status_code, field in refused.text) == (status, True), refused.text
    assert workbench.outcome("invoice", "inv-1") == ("failed", "books_closed")
    twice = [manager("POST", path, json=good, headers={"Idempotency-Key": "k-1"}) for _ in range(2)]
    assert [(one.status_code, one.json()["attempt"]) for one in twice] == [(200, 2), (200, 2)]
    assert manager("POST", path, json=good).status_code == 409
    workbench.settle()
    assert [one["TxnDate"] for one in workbench.objects()] == ["2026-11-02"]
    shown = reader.get(f"/v1/operations/{held}")["timeline"]
    (decided,) = [one for one in shown if one["action"] == "decided"]
    assert decided["details"]["reason"] == "agreed with the controller"
    assert decided["actor"] == "key:test"
    nobody = served.caller(Scope.MANAGE, tenant="another")
    assert nobody("GET", f"/v1/operations/{held}/choices").status_code == 404


def test_by_the_command_line(workbench: Workbench, held: str, database_url: str, run_cli: RunCli) -> None:
    """Without a choice they are listed; a dry run says what would happen; wrong input names the option."""
    env = {"DATABASE_URL": database_url}
    decide = ("operations", "decide", held)
    listed = json.loads(run_cli(*decide, "--json", env=env).stdout)
    assert [one["choice"] for one in listed["offer"]["choices"]] == ["redate"]
    chosen = (*decide, "redate", "--date", "2026-11-02", "--reason", "agreed", "--actor", "controller")
    dry = run_cli(*chosen, "--dry-run", env=env)
    assert dry.returncode == 0, dry.stderr
    assert "nothing was changed" in dry.stderr
    for wrong in (
        (*decide, "redate", "--date", "2026-11-02"),
        (*decide, "redate", "--reason", "agreed"),
        (*decide, "redate", "--reason", "agreed", "--date", "tomorrow"),
    ):
        refused = run_cli(*wrong, env=env)
        assert refused.returncode == 2, refused.stdout + refused.stderr
    assert workbench.outcome("invoice", "inv-1") == ("failed", "books_closed")
    done = run_cli(*chosen, env=env)
    assert (done.returncode, "starts attempt 2" in done.stdout) == (0, True), done.stderr
    workbench.settle()
    assert [one["TxnDate"] for one in workbench.objects()] == ["2026-11-02"]
    late = run_cli(*chosen, env=env)
    assert late.returncode != 0
    assert "offers nothing" in late.stderr


def test_a_day_may_be_left_out_where_one_is_offered(served: Served, workbench: Workbench) -> None:
    """A void in the closed period: the choice names the day it takes; an earlier one is refused."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.bookkeeper("close-books", through="2026-10-31")
    workbench.know("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    workbench.say("invoice.voided", voided("inv-1", date="2026-11-06"))
    path = f"/v1/operations/{workbench.last('invoice', 'inv-1').operation_id}"
    manager = served.caller(Scope.MANAGE, tenant=TENANT)
    (choice,) = manager.get(f"{path}/choices")["choices"]
    assert (choice["choice"], choice["default_date"]) == ("offset", "2026-11-06")
    chosen = {"choice": "offset", "reason": "agreed with the controller"}
    refused = manager("POST", f"{path}/decision", json=chosen | {"date": "2026-10-15"})
    assert (refused.status_code, "date" in refused.text) == (422, True)
    assert manager("POST", f"{path}/decision", json=chosen).status_code == 200
    workbench.settle()
    assert [one["TxnDate"] for one in workbench.objects("CreditMemo")] == ["2026-11-06"]
    (decided,) = [one for one in manager.get(path)["timeline"] if one["action"] == "decided"]
    assert (decided["actor"], decided["details"]["date"]) == ("key:test", "2026-11-06")


def test_nothing_to_decide(workbench: Workbench) -> None:
    """An operation that only waits, or failed for something that is mended elsewhere, offers no choices."""
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    offer = workbench.offered("payment", "pay-1")
    assert (offer.state, offer.choices) == ("waiting", [])
    workbench.say(
        "invoice.finalized", invoice("inv-2", client={"id": "new", "name": "N", "tax_exempt": True})
    )
    offer = workbench.offered("invoice", "inv-2")
    assert (offer.state, offer.choices) == ("failed", [])
