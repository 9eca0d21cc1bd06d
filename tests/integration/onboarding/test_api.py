"""The wizard over HTTP, as a screen of the PSA drives it, for a company that is really connected to the sandbox."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from sqlalchemy import text

import outbox
from services.api.keys import Scope
from services.exceptions.desk import ExceptionDesk
from services.ledger.intake import Intake
from services.onboarding import payments
from services.outbound.effects import Effects
from tests.support.api import TENANT, Caller, Served, served
from tests.support.exporting import invoice, payment
from tests.support.intuit import US
from tests.support.sandbox import Sandbox

__all__ = ["served"]


@pytest.fixture
def screen(served: Served, sandbox: Sandbox) -> Caller:
    """A screen of the PSA; the company has an invoice of its customer 2 and a customer of its own."""
    served.admin.connected(TENANT, US)
    line = {
        "Amount": "12.00",
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
    }
    entries = [
        {"entity": "Customer", "body": {"DisplayName": "Castelano Brothers"}},
        {
            "entity": "Invoice",
            "body": {
                "CustomerRef": {"value": "2"},
                "DocNumber": "W-1",
                "TxnDate": "2025-03-31",
                "Line": [line],
            },
        },
    ]
    address = f"{sandbox.control}/companies/{US}/bookkeeper/create-many"
    requests.post(address, json={"entries": entries}, timeout=10).raise_for_status()
    return served.manager


def posted(screen: Caller, path: str, body: Any = None) -> Any:
    """An accepted write."""
    answer = screen("POST", path, json=body if body is not None else {})
    assert answer.status_code == 200, answer.text
    return answer.json()


LISTS = {
    "clients": [
        {"id": "c2", "name": "Cool Cars, Inc."},
        {"id": "cb", "name": "Castellano Brothers"},
        {"id": "cn", "name": "Nobody Knows LLC"},
    ],
    "documents": [
        {
            "id": "d1",
            "number": "W-1",
            "date": "2025-03-31",
            "total": 1200,
            "currency": "USD",
            "client_id": "c2",
            "state": "overdue",
        }
    ],
    "services": [{"id": "s-backup", "name": "cloud backup"}],
}


def test_all_steps_from_lists_to_undo(served: Served, screen: Caller) -> None:
    """Lists, run, reading, customers, history, items, dry run, go-live and undo: what the terminal does, by HTTP."""
    assert posted(screen, "/v1/onboarding/lists", LISTS) == {"clients": 3, "documents": 1, "services": 1}
    run = posted(screen, "/v1/onboarding/runs")
    at = f"/v1/onboarding/runs/{run['run_id']}"
    assert posted(screen, "/v1/onboarding/runs")["run_id"] == run["run_id"]
    progress = posted(screen, f"{at}/read")
    assert progress["done"]
    assert {one["entity"] for one in progress["readings"]} == {"Customer", "Invoice", "CreditMemo"}

    counts = screen.get(f"{at}/customers")["counts"]
    assert counts == {"linked": 0, "exact": 1, "suggested": 1, "unmatched": 1}
    assert posted(screen, f"{at}/customers/accept-exact") == {"linked": 1}
    (alike,) = screen.get(f"{at}/customers", status="suggested")["data"]
    best = alike["candidates"][0]
    assert "castelano" in best["evidence"]
    posted(screen, f"{at}/customers/link", {"client_id": "cb", "customer_id": best["id"]})
    made = posted(screen, f"{at}/customers/create", {"client_id": "cn"})["customer_id"]
    assert posted(screen, f"{at}/customers/create", {"client_id": "cn"})["customer_id"] == made
    assert screen.get(f"{at}/customers")["counts"]["linked"] == 3

    assert screen.get(f"{at}/history")["counts"]["confident"] == 1
    assert posted(screen, f"{at}/history/link-confident") == {"linked": 1}
    (linked,) = screen.get(f"{at}/history")["data"]
    assert (linked["status"], linked["document"]["state"]) == ("linked", "overdue")

    assert posted(screen, f"{at}/payments/read") == {"done": True}
    assert screen.get(f"{at}/payments")["counts"]["bring"] == 0
    assert posted(screen, f"{at}/payments/bring-over") == {"asked": True}
    assert screen.get(f"{at}/payments")["pending"]
    payments.bring_asked(served.fleet)
    assert not screen.get(f"{at}/payments")["pending"]

    (backup,) = screen.get(f"{at}/items", status="link")["data"]
    assert (backup["service_id"], backup["why"]) == ("s-backup", "the same name")
    assert posted(screen, f"{at}/items/link-found") == {"linked": 1}
    to_make = screen.get(f"{at}/items", status="create")["data"]
    hours = next(one for one in to_make if one["item"]["name"] == "Hours")
    assert (hours["item"]["rate"], hours["item"]["kind"]) == (12500, "service")
    posted(screen, f"{at}/items/imported", {"item_id": hours["item_id"], "service_id": "s-hours"})
    assert screen.get(f"{at}/items")["counts"]["linked"] == 2

    told = screen.get(f"{at}/go-live", cutover="2026-12-01")
    assert (told["waiting"], told["steps"]) == ([], [])
    gone = posted(screen, f"{at}/go-live", {"cutover": "2026-12-01", "waiting": "export", "auto_sync": True})
    assert gone == {"handled": 0}
    assert screen.get("/v1/settings")["effective"]["auto_sync"] is True
    assert screen.get(at)["state"] == "finished"

    undone = posted(screen, f"{at}/undo")
    assert undone["undone"] == {
        "linked invoice": 1,
        "mapped client": 3,
        "mapped service": 2,
        "set setting": 2,
    }
    assert [sentence for sentence in undone["kept"] if f"customer {made}" in sentence]


def test_pages_of_a_list_go_on_where_they_stopped(screen: Caller) -> None:
    """Every client once, however small the pages."""
    posted(screen, "/v1/onboarding/lists", LISTS)
    at = f"/v1/onboarding/runs/{posted(screen, '/v1/onboarding/runs')['run_id']}"
    posted(screen, f"{at}/read")
    found, cursor = [], None
    while True:
        page = screen.get(f"{at}/customers", limit=1, **({"cursor": cursor} if cursor else {}))
        found += [one["client"]["id"] for one in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == ["c2", "cb", "cn"]


def test_steps_in_the_wrong_order_or_by_the_wrong_person_are_refused(served: Served, screen: Caller) -> None:
    """A bad list names row and field, an unknown run is 404, a finished one a conflict, a reader changes nothing."""
    bad = screen("POST", "/v1/onboarding/lists", json={"clients": [{"id": "c", "name": ""}]})
    assert bad.status_code == 422
    assert bad.json()["errors"][0]["field"] == "rows[1].name"
    nowhere = "/v1/onboarding/runs/00000000-0000-0000-0000-000000000000"
    assert screen("GET", nowhere).status_code == 404
    run = posted(screen, "/v1/onboarding/runs")["run_id"]
    body = {"cutover": "2026-12-01", "waiting": "later", "auto_sync": True}
    assert screen("POST", f"/v1/onboarding/runs/{run}/go-live", json=body).status_code == 422
    posted(screen, f"/v1/onboarding/runs/{run}/go-live", body | {"waiting": "handled", "auto_sync": False})
    late = screen("POST", f"/v1/onboarding/runs/{run}/customers/accept-exact", json={})
    assert (late.status_code, late.json()["code"]) == (409, "run_ended")
    reader = served.caller(Scope.READ)
    assert reader("POST", "/v1/onboarding/runs", json={}).status_code == 403
    assert reader.get(f"/v1/onboarding/runs/{run}")["state"] == "finished"


def test_readiness_and_plan_over_http(served: Served, screen: Caller) -> None:
    """A draft is judged for a key that may only read; a period that ends before it begins is refused by name."""
    screen.put("/v1/settings/auto_sync", {"value": True})
    reader = served.caller(Scope.READ)
    answer = reader("POST", "/v1/readiness", json={"documents": [invoice("draft")]})
    (verdict,) = answer.json()["data"]
    assert verdict["refuse"]
    assert {one["code"] for one in verdict["findings"]} == {
        "missing_customer_mapping",
        "missing_service_mapping",
    }
    assert reader.get("/v1/plan")["data"] == []
    assert reader.get("/v1/readiness/period", begin="2026-10-01", until="2026-10-31")["data"] == []
    wrong = reader("GET", "/v1/readiness/period", params={"begin": "2026-10-31", "until": "2026-10-01"})
    assert wrong.json()["errors"][0]["field"] == "until"


def bill(served: Served, kind: str, data: dict[str, Any]) -> None:
    """Billing finalizes something, and intake takes it over."""
    with served.fleet.transaction(TENANT) as connection:
        emitted = outbox.emit(connection, TENANT, f"{kind}.v1", str(data["id"]), data)
        query = text("SELECT body FROM outbox_event WHERE event_id = :id")
        body = connection.execute(query, {"id": emitted.event_id}).scalar_one()
    Intake(served.fleet, Effects(), ExceptionDesk()).take_over(body.encode())


def test_a_screen_sees_the_plan_and_settles_what_waits(served: Served, screen: Caller) -> None:
    """In the API's own role: planned calls with their totals, the dry run, and what waits marked as handled."""
    for mapping in (("customer", "cl-1", "2"), ("item", "svc", "3")):
        kind, key, external_id = mapping
        screen.put("/v1/mappings", {"kind": kind, "key": key, "external_id": external_id})
    bill(served, "invoice.finalized", invoice("inv-1"))
    bill(served, "invoice.finalized", invoice("inv-2", terms="net_30"))
    bill(served, "payment.recorded", payment("pay-1", ("inv-1", 13500)))
    plan = screen.get("/v1/plan")
    assert plan["summary"]["calls"] == {"create Invoice": 1, "create Payment": 1}
    assert plan["summary"]["totals"]["create Invoice"] == {"USD": "135.00"}
    by_id = {one["document_id"]: one for one in plan["data"]}
    assert "new:invoice/inv-1" in by_id["pay-1"]["call"]["body"]
    assert by_id["inv-2"]["findings"][0]["where"] == "terms"
    asked = screen.get("/v1/readiness/period", begin="2026-10-01", until="2026-10-31")["data"]
    assert [one["document_id"] for one in asked] == ["inv-2"]

    at = f"/v1/onboarding/runs/{posted(screen, '/v1/onboarding/runs')['run_id']}"
    told = screen.get(f"{at}/go-live", cutover="2026-11-01")
    assert {(one["kind"], one["before_cutover"], one["documents"]) for one in told["waiting"]} == {
        ("invoice", True, 2),
        ("payment", False, 1),
    }
    body = {"cutover": "2026-11-01", "waiting": "handled", "auto_sync": True}
    assert posted(screen, f"{at}/go-live", body) == {"handled": 3}
    assert screen.get("/v1/plan")["data"] == []
