"""Statements over the API: cost first, started and fetched, listed, printed, items accepted; one tenant's alone."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from sqlalchemy import text

from services.api.keys import Scope
from tests.support.api import OTHER, TENANT, Served
from tests.support.deadline import eventually
from tests.support.intuit import US
from tests.support.sandbox import Sandbox

PATH = "/v1/reconciliations"


@pytest.fixture
def company(served: Served, sandbox: Sandbox) -> str:
    """A connected company with a client linked to customer 2; its id."""
    made = served.admin.connected(TENANT, US)
    with served.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                """INSERT INTO mapping (tenant_id, company_id, kind, key, external_id, updated_by)
                   VALUES (:tenant, :company, 'customer', 'cl-1', '2', 'test')"""
            ),
            {"tenant": TENANT, "company": made.company_id},
        )
    requests.post(f"{sandbox.control}/clock", json={"seconds": 5}, timeout=5).raise_for_status()
    return str(made.company_id)


def stranger(sandbox: Sandbox, customer: str, amount: float) -> str:
    """Somebody enters an invoice in QuickBooks; returns its id."""
    detail = {"ItemRef": {"value": "3"}, "TaxCodeRef": {"value": "NON"}}
    line = {"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": detail}
    body = {"CustomerRef": {"value": customer}, "TxnDate": "2026-11-01", "Line": [line]}
    return sandbox.enter(US, "Invoice", body)


def make(served: Served, **wanted: Any) -> Any:
    """Start a statement and wait for its end."""
    started = served.manager("POST", PATH, json={"to": "2030-12-31", **wanted})
    assert started.status_code == 202, started.text
    told = started.json()
    assert told["state"] == "running"
    address = f"{PATH}/{told['statement_id']}"
    return eventually(lambda: _ended(served.manager.get(address)), 30, what="the statement is made")


def _ended(told: Any) -> Any:
    return told if told["state"] != "running" else None


def test_the_cost_is_known_first_and_exact_after(served: Served, sandbox: Sandbox, company: str) -> None:
    """Unknown for free, counted when allowed, by the last statement afterwards; what was spent is what was counted."""
    unknown = served.manager("POST", f"{PATH}/cost", json={}).json()
    assert (unknown["reads"], unknown["basis"], unknown["counting"]) == (None, "unknown", 0)
    before = sandbox.reads(US)
    counted = served.manager("POST", f"{PATH}/cost", json={"count": True}).json()
    assert (counted["reads"], counted["basis"], counted["counting"]) == (5, "counted", 5)
    assert sandbox.reads(US) - before == 5
    before = sandbox.reads(US)
    made = make(served)
    assert (made["state"], made["reads"], made["estimated_reads"]) == ("finished", 10, 10)
    assert sandbox.reads(US) - before == 10
    known = served.manager("POST", f"{PATH}/cost", json={}).json()
    assert (known["reads"], known["basis"], known["counting"]) == (5, "last_statement", 0)
    refused = served.manager("POST", PATH, json={"max_reads": 4})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_reads")


def test_a_statement_is_fetched_item_by_item_and_printed(
    served: Served, sandbox: Sandbox, company: str
) -> None:
    """What a stranger entered is unexplained, what is QuickBooks' own is not; page and list tell the same."""
    invoice = stranger(sandbox, "2", 77)
    stranger(sandbox, "3", 12)
    made = make(served)
    result = made["result"]
    assert (made["unexplained"], result["unexplained"], result["outside_scope"]) == (1, 1, 1)
    assert (result["ours_total"], result["quickbooks_total"], result["foots"]) == (0, 8900, True)
    address = f"{PATH}/{made['statement_id']}"
    first = served.manager.get(f"{address}/items", limit=1)
    second = served.manager.get(f"{address}/items", limit=1, cursor=first["next_cursor"])
    assert [one["class"] for one in first["data"] + second["data"]] == ["outside_scope", "unexplained"]
    (found,) = served.manager.get(f"{address}/items", **{"class": "unexplained"})["data"]
    assert (found["key"], found["difference"]) == (f"Invoice:{invoice}", 7700)
    page = served.manager("GET", f"{address}/page")
    assert page.headers["content-type"].startswith("text/html")
    assert "1 difference is unexplained" in page.text
    listed = served.manager.get(PATH)["data"]
    assert [one["statement_id"] for one in listed] == [made["statement_id"]]


def test_an_accepted_item_is_explained_from_then_on(served: Served, sandbox: Sandbox, company: str) -> None:
    """With a reason, just as it differs: changed again it is unexplained again."""
    invoice = stranger(sandbox, "2", 77)
    address = f"{PATH}/{make(served)['statement_id']}/accept"
    empty = served.manager("POST", address, json={"item": f"Invoice:{invoice}", "reason": " "})
    assert empty.status_code == 422
    unknown = served.manager("POST", address, json={"item": "Invoice:0", "reason": "agreed"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_item")
    done = served.manager("POST", address, json={"item": f"Invoice:{invoice}", "reason": "agreed by phone"})
    assert done.status_code == 200, done.text
    again = make(served)
    assert (again["unexplained"], again["result"]["accepted"]) == (0, 1)
    (found,) = served.manager.get(f"{PATH}/{again['statement_id']}/items")["data"]
    assert "agreed by phone" in found["why"]
    change = {"entity": "Invoice", "id": invoice, "changes": {"DocNumber": "OTHER-1"}}
    edit = f"{sandbox.control}/companies/{US}/bookkeeper/edit"
    requests.post(edit, json=change, timeout=5).raise_for_status()
    assert make(served)["unexplained"] == 1


def test_a_statement_that_cannot_be_made_says_why(served: Served, sandbox: Sandbox, company: str) -> None:
    """QuickBooks refuses: the statement has failed, with the reason, and the next one works."""
    make(served)  # so that the cost is known without a call
    trouble = {
        "kind": "fault",
        "operation": "query",
        "status": 400,
        "code": "6190",
        "message": "Invalid status",
    }
    requests.post(f"{sandbox.control}/troubles", json=trouble, timeout=5).raise_for_status()
    failed = make(served)
    assert failed["state"] == "failed"
    assert "6190" in failed["reason"]
    requests.delete(f"{sandbox.control}/troubles", timeout=5).raise_for_status()
    assert make(served)["state"] == "finished"


def test_the_same_request_twice_makes_one_statement(served: Served, company: str) -> None:
    """An Idempotency-Key makes the repetition harmless, in reads too."""
    headers = {"Idempotency-Key": "close-october"}
    first = served.manager("POST", PATH, json={"period": "2026-10"}, headers=headers)
    second = served.manager("POST", PATH, json={"period": "2026-10"}, headers=headers)
    assert first.json()["statement_id"] == second.json()["statement_id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(served.manager.get(PATH)["data"]) == 1
    address = f"{PATH}/{first.json()['statement_id']}"
    eventually(lambda: _ended(served.manager.get(address)), 30, what="the statement is made")


def test_bad_input_names_the_field_and_reads_nothing(served: Served, sandbox: Sandbox, company: str) -> None:
    """A period nobody knows, one the wrong way round, both forms at once, a company of nobody."""
    before = sandbox.reads(US)
    for body, field in (
        ({"period": "October"}, "period"),
        ({"period": "2026-10", "to": "2026-10-31"}, "period"),
        ({"from": "2026-11-01", "to": "2026-10-31"}, "from"),
    ):
        refused = served.manager("POST", PATH, json=body)
        assert refused.status_code == 422, refused.text
        assert field in {one["field"] for one in refused.json()["errors"]}
    assert served.manager("POST", PATH, json={"realm_id": "1"}).status_code == 404
    assert sandbox.reads(US) == before
    assert served.manager.get(PATH)["data"] == []


def test_statements_are_their_tenants_own(served: Served, sandbox: Sandbox, company: str) -> None:
    """Another tenant sees none of it; a reader may look and not start."""
    made = make(served)
    other = served.caller(Scope.MANAGE, tenant=OTHER)
    assert other("GET", f"{PATH}/{made['statement_id']}").status_code == 404
    assert other.get(PATH)["data"] == []
    reader = served.caller(Scope.READ)
    assert reader("POST", PATH, json={}).status_code == 403
    assert reader.get(f"{PATH}/{made['statement_id']}")["state"] == "finished"
