"""Lists and what they show: mappings, settings, operations, exceptions, stop switches."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.api.keys import Scope
from services.connections import companies
from services.exceptions.desk import about, report
from services.ledger import operations, waits
from services.ledger.operations import Plan
from services.ledger.ports import Condition, Problem
from services.mapping import mappings
from tests.support.api import TENANT, Served
from tests.support.intuit import GB, US, Noted


@pytest.fixture
def company_id(served: Served) -> UUID:
    """The tenant's default company; a second one is there too."""
    with served.fleet.transaction(TENANT) as connection:
        made = [
            companies.activate(
                connection, TENANT, environment="sandbox", realm_id=realm, actor="test", attention=Noted()
            )
            for realm in (US, GB)
        ]
    return made[0].company_id


def operation(served: Served, company_id: UUID, document: str) -> UUID:
    """A queued export."""
    with served.fleet.transaction(TENANT) as connection:
        made = operations.insert(
            connection, TENANT, "invoice", document, Plan("export_invoice", "export", company_id), revision=1
        )
    assert made is not None
    return made


def pages(served: Served, path: str, **params: Any) -> list[Any]:
    """All rows of a list, page by page."""
    rows: list[Any] = []
    cursor = None
    while True:
        page = served.manager.get(path, **params, **({"cursor": cursor} if cursor else {}))
        rows += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return rows


def test_mappings_are_set_listed_and_deleted(served: Served, company_id: UUID) -> None:
    """Set in the default company or a named one, listed in order over pages, deleted by place."""
    manager = served.manager
    for number in range(5):
        manager.put("/v1/mappings", {"kind": "item", "key": f"svc-{number}", "external_id": str(number)})
    manager.put(
        "/v1/mappings",
        {"kind": "customer", "key": "c-1", "variant": "EUR", "external_id": "9", "realm_id": GB},
    )
    rows = pages(served, "/v1/mappings", limit=2)
    assert [row["key"] for row in rows] == [f"svc-{number}" for number in range(5)]
    assert {row["company_id"] for row in rows} == {str(company_id)}
    assert [row["variant"] for row in pages(served, "/v1/mappings", realm_id=GB)] == ["EUR"]
    assert pages(served, "/v1/mappings", kind="term") == []
    gone = manager("DELETE", "/v1/mappings", params={"kind": "item", "key": "svc-0"})
    assert gone.json()["deleted"] is True
    assert manager("DELETE", "/v1/mappings", params={"kind": "item", "key": "svc-0"}).status_code == 404


def test_setting_a_mapping_releases_what_failed_for_it(served: Served, company_id: UUID) -> None:
    """The failed export starts its next attempt in the transaction that sets the mapping; the answer names it."""
    operation_id = operation(served, company_id, "inv-1")
    with served.fleet.transaction(TENANT) as connection:
        connection.execute(
            text("UPDATE operation SET state = 'failed' WHERE operation_id = :id"), {"id": operation_id}
        )
        failed = operations.get(connection, operation_id)
        assert failed is not None
        cause = mappings.cause("item", company_id, "svc-1")
        report(
            connection,
            about(failed),
            Problem("accounting_sync_export_error", "missing_item_mapping", cause, "t", "h", "w", "f"),
        )
    answer = served.manager.put("/v1/mappings", {"kind": "item", "key": "svc-1", "external_id": "17"})
    assert answer["released"] == [str(operation_id)]
    shown = served.manager.get(f"/v1/operations/{operation_id}")
    assert (shown["state"], shown["attempt"]) == ("queued", 2)
    assert "replayed" in [entry["action"] for entry in shown["timeline"]]


def test_mapping_needs_a_company(served: Served) -> None:
    """Before any company is connected there is nothing to map to, and the answer says so."""
    answer = served.manager("PUT", "/v1/mappings", json={"kind": "item", "key": "a", "external_id": "1"})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_company")


def test_settings_fall_back_from_company_to_tenant_to_default(served: Served, company_id: UUID) -> None:
    """Set per tenant, overridden per company, and reset one step at a time; others stay untouched."""
    manager = served.manager
    manager.put("/v1/settings/poll_interval", {"value": 30})
    shown = manager.put("/v1/settings/poll_interval", {"value": 5, "realm_id": US})
    assert shown["effective"]["poll_interval"] == 5
    assert [(row["scope"], row["value"], row["updated_by"]) for row in shown["set_here"]] == [
        (f"company:{company_id}", 5, "key:test")
    ]
    assert manager.get("/v1/settings", realm_id=GB)["effective"]["poll_interval"] == 30
    back = manager("DELETE", "/v1/settings/poll_interval", params={"realm_id": US}).json()
    assert back["effective"]["poll_interval"] == 30
    assert manager("DELETE", "/v1/settings/poll_interval").json()["effective"]["poll_interval"] == 15
    assert manager("DELETE", "/v1/settings/poll_interval").status_code == 404
    manager.put("/v1/settings/company", {"value": str(company_id), "client_id": "c-1"})
    assert manager.get("/v1/settings", client_id="c-1")["effective"]["company"] == str(company_id)


def test_settings_document_themselves(served: Served) -> None:
    """The schema names every setting with default and description."""
    schema = served.manager.get("/v1/settings/schema")["properties"]
    assert schema["auto_sync"]["default"] is False
    assert all(one["description"] and one["levels"] for one in schema.values())


def test_auto_sync_releases_what_waited_for_it(served: Served, company_id: UUID) -> None:
    """Switched on, what was billed meanwhile goes on."""
    operation_id = operation(served, company_id, "inv-1")
    with served.fleet.transaction(TENANT) as connection:
        assert waits.hold(connection, operation_id, TENANT, [Condition("auto_sync", "tenant")]) == 1
        connection.execute(text("UPDATE operation SET state = 'waiting'"))
    served.manager.put("/v1/settings/auto_sync", {"value": True})
    assert served.manager.get(f"/v1/operations/{operation_id}")["state"] == "queued"


def test_operations_are_filtered_and_paged(served: Served, company_id: UUID) -> None:
    """Newest first; by state, kind, company and document; no row twice, none lost."""
    made = [operation(served, company_id, f"inv-{number}") for number in range(7)]
    assert [row["operation_id"] for row in pages(served, "/v1/operations", limit=3)] == [
        str(one) for one in reversed(made)
    ]
    assert len(pages(served, "/v1/operations", state="queued", kind="export_invoice", realm_id=US)) == 7
    for none in ({"state": "failed"}, {"kind": "void_invoice"}, {"realm_id": GB}):
        assert pages(served, "/v1/operations", **none) == []
    [found] = pages(served, "/v1/operations", document_kind="invoice", document_id="inv-3")
    assert found["operation_id"] == str(made[3])
    assert "lease_token" not in found


def test_exceptions_are_listed_with_counts(served: Served, company_id: UUID) -> None:
    """Open ones unless asked otherwise; counts of every state; one shown with its history."""
    operation_id = operation(served, company_id, "inv-1")
    with served.fleet.transaction(TENANT) as connection:
        found = operations.get(connection, operation_id)
        assert found is not None
        report(
            connection, about(found), Problem("accounting_sync_export_error", "x", "c-1", "t", "h", "w", "f")
        )
    page = served.manager.get("/v1/exceptions", cause="c-1", realm_id=US, direction="outbound")
    assert page["counts"] == {"open": 1, "in_progress": 0, "ignored": 0, "resolved": 0}
    [shown] = page["data"]
    assert (shown["title"], shown["operation_id"]) == ("t", str(operation_id))
    assert served.manager.get("/v1/exceptions", state="resolved")["data"] == []
    whole = served.manager.get(f"/v1/exceptions/{shown['exception_id']}")
    assert [entry["action"] for entry in whole["history"]] == ["exception_opened"]


def test_pausing_and_resuming(served: Served, company_id: UUID) -> None:
    """A tenant and a company, each for itself, with who and why; going on wakes what waited."""
    manager = served.manager
    operation_id = operation(served, company_id, "inv-1")
    manager("POST", "/v1/pause", json={"reason": "month end", "realm_id": US})
    told = manager("POST", "/v1/pause", json={"reason": "audit"}).json()["data"]
    assert [(one["scope"], one["realm_id"], one["reason"], one["actor"]) for one in told] == [
        ("company", US, "month end", "key:test"),
        ("tenant", None, "audit", "key:test"),
    ]
    with served.fleet.transaction(TENANT) as connection:
        assert waits.hold(connection, operation_id, TENANT, [Condition("pause", "tenant")]) == 1
        connection.execute(text("UPDATE operation SET state = 'waiting'"))
    resumed = manager("DELETE", "/v1/pause").json()
    assert (resumed["woken"], len(resumed["data"])) == (1, 1)
    assert manager("DELETE", "/v1/pause").json()["code"] == "not_paused"
    assert manager("DELETE", "/v1/pause", params={"realm_id": US}).json()["data"] == []


def test_a_bad_cursor_is_named_as_the_field_it_came_in(served: Served) -> None:
    """Every list says which parameter holds no cursor of its own."""
    document = served.nobody("GET", "/openapi.json").json()
    lists = [
        (path, name)
        for path, item in document["paths"].items()
        if "{" not in path and path != "/v1/exceptions/export"  # an export takes all, whatever the cursor
        for name in ("cursor", "after")
        if any(one["name"] == name for one in item.get("get", {}).get("parameters", ()))
    ]
    assert len(lists) >= 7
    for path, name in lists:
        answer = served.manager("GET", path, params={name: "bm90LW91cnM"})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor"), path
        assert [one["field"] for one in answer.json()["errors"]] == [f"query.{name}"], path


def test_a_mistyped_parameter_never_widens_a_request(served: Served, company_id: UUID) -> None:
    """Every endpoint refuses query parameters that it does not document, naming them, and changes nothing."""
    document = served.nobody("GET", "/openapi.json").json()
    operator = served.caller(Scope.OPERATOR, Scope.EVENTS)
    for path, item in document["paths"].items():
        for method, described in item.items():
            if not path.startswith("/v1") or path == "/v1/quickbooks/webhooks":
                continue
            where = path.replace("{", "").replace("}", "")
            answer = operator(method.upper(), where, params={"relam_id": US}, json={})
            fields = [one["field"] for one in answer.json()["errors"]]
            assert (answer.status_code, "query.relam_id" in fields) == (422, True), (described, answer.text)
