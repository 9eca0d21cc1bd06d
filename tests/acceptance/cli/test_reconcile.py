"""`algasync reconcile` as a controller uses it: the cost, the statement, its files, and what it exits with."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import requests

from services.database import Database, Role
from services.mapping import mappings
from tests.support.installation import Installation
from tests.support.intuit import US, Admin, Noted, intuit_of
from tests.support.sandbox import Sandbox

TENANT = ("--tenant", "acme")


@pytest.fixture
def connected(installation: Installation, sandbox: Sandbox, database_url: str) -> Installation:
    """An installation with a connected company and one client linked in it."""
    intuit = intuit_of(sandbox, key=installation.settings["ALGASYNC_SECRET_KEYS"])
    with Database(database_url, Role.FLEET) as fleet:
        company = Admin(fleet, intuit, Noted()).connected("acme", US)
        with fleet.transaction("acme") as connection:
            mappings.put(
                connection,
                "acme",
                company.company_id,
                (mappings.Kind.CUSTOMER, "cl-1", ""),
                external_id="2",
                actor="dana",
                on_mapping_set=lambda *_: None,
            )
    requests.post(f"{sandbox.control}/clock", json={"seconds": 5}, timeout=5).raise_for_status()
    return installation


def enter(sandbox: Sandbox, customer: str, amount: float) -> str:
    """Somebody enters an invoice in QuickBooks; returns its id."""
    detail = {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}}
    line = {"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": detail}
    body = {"CustomerRef": {"value": customer}, "TxnDate": "2026-10-01", "Line": [line]}
    return sandbox.enter(US, "Invoice", body)


def test_a_month_is_reconciled(connected: Installation, sandbox: Sandbox, tmp_path: Path) -> None:
    """Zero exits with 0; a stranger's invoice with 1, in JSON, on paper and in a spreadsheet; accepted, with 0."""
    enter(sandbox, "3", 12)
    before = sandbox.reads(US)
    # The realm id says whose company it is.
    zero = connected.json("reconcile", "--company", US, "--period", "2026-10")
    assert (zero["unexplained"], zero["outside_scope"], zero["matched"], zero["timing"]) == (0, 1, 0, 0)
    assert (zero["ours_total"], zero["quickbooks_total"], zero["difference"]) == (0, 1200, 1200)
    assert zero["reads"]["actual"] == sandbox.reads(US) - before == zero["reads"]["estimated"]
    invoice = enter(sandbox, "2", 77)
    sheet, page = tmp_path / "october.csv", tmp_path / "october.html"
    files = ("--csv", str(sheet), "--html", str(page))
    told = connected("reconcile", *TENANT, "--period", "2026-10", "--yes", *files, exit_code=1)
    assert "5 metered reads, by the rows of the last statement" in told
    assert f"Invoice:{invoice}" in told
    assert "1 unexplained" in told
    assert "1 difference is unexplained" in page.read_text()
    rows = list(csv.DictReader(io.StringIO(sheet.read_text(encoding="utf-8-sig"))))
    assert [row["class"] for row in rows] == ["outside_scope", "unexplained"]
    (last, _) = connected.json("reconcile", "list", *TENANT)["statements"]
    assert (last["unexplained"], last["started_by"]) == (1, "dana")
    why = ("--reason", "agreed with the client")
    connected("reconcile", "accept", last["statement_id"], f"Invoice:{invoice}", *TENANT, *why)
    assert connected.json("reconcile", *TENANT, "--to", "2026-10-31")["accepted"] == 1


def test_nothing_is_spent_before_it_is_agreed(
    connected: Installation, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Input that cannot be, and a question that is not answered yes: no statement is made."""
    before = sandbox.reads(US)
    connected("reconcile", *TENANT, "--period", "October", exit_code=2)
    connected("reconcile", *TENANT, "--html", str(tmp_path / "nowhere" / "x.html"), exit_code=2)
    assert sandbox.reads(US) == before
    declined = connected("reconcile", *TENANT, stdin="n\n", exit_code=1)
    assert "5 metered reads, and 5 were spent on counting" in declined
    assert "Make the statement?" in declined
    assert sandbox.reads(US) == before + 5
    assert connected.json("reconcile", "list", *TENANT)["statements"] == []
