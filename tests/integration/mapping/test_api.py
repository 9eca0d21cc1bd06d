"""`/v1/mappings` and `/v1/settings` over HTTP, for a company that is really connected to the sandbox."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.api.keys import Scope
from tests.support.api import TENANT, Served, served
from tests.support.intuit import US

__all__ = ["served"]


@pytest.fixture
def company_id(served: Served) -> UUID:
    """The company, approved at Intuit's."""
    return served.admin.connected(TENANT, US).company_id


def test_from_choices_to_a_checked_mapping(served: Served, company_id: UUID) -> None:
    """Choices come from the company, a mapping is checked against it, and listed with what it is called now."""
    manager = served.manager
    choices = manager.get("/v1/mappings/choices", kind="tax_code")
    assert choices["stale"] == ""
    assert {one["label"] for one in choices["data"]} >= {"California (8%)", "TAX", "NON"}
    done = manager.put("/v1/mappings", {"kind": "item", "key": "svc", "external_id": "5"})
    assert (done["mapping"]["external_name"], done["unchecked"]) == ("Cloud Backup", "")
    refused = manager("PUT", "/v1/mappings", json={"kind": "item", "key": "svc", "external_id": "9"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "external_id"
    (listed,) = manager.get("/v1/mappings", kind="item")["data"]
    assert (listed["label"], listed["standing"], listed["hindrance"]) == ("Cloud Backup", "active", "")
    history = manager.get("/v1/mappings/history", kind="item", key="svc")["data"]
    assert [one["details"]["after"]["external_id"] for one in history] == ["5"]


def test_many_at_once_and_as_a_sheet(served: Served, company_id: UUID) -> None:
    """All or nothing, a dry run changes nothing, a sheet goes out and in again."""
    manager = served.manager
    rows = [
        {"kind": "term", "key": "net_30", "external_name": "Net 30"},
        {"kind": "item", "key": "svc", "external_id": "404"},
    ]
    outcome = manager.put("/v1/mappings/bulk", {"mappings": rows})
    assert (outcome["applied"], [one["row"] for one in outcome["troubles"]]) == (False, [2])
    rows[1]["external_id"] = "3"
    assert manager.put("/v1/mappings/bulk", {"mappings": rows, "dry_run": True})["applied"] is False
    assert manager.get("/v1/mappings")["data"] == []
    assert manager.put("/v1/mappings/bulk", {"mappings": rows})["applied"] is True
    sheet = manager("GET", "/v1/mappings/export")
    assert sheet.headers["content-type"].startswith("text/csv")
    again = manager("POST", "/v1/mappings/import", json={"sheet": sheet.text})
    assert {one["does"] for one in again.json()["changes"]} == {"same"}


def test_a_setting_points_at_what_is_there(served: Served, company_id: UUID) -> None:
    """The account is completed by its name; one of another type is refused; methods are set one by one."""
    manager = served.manager
    choices = manager.get("/v1/settings/choices", name="deposit_account")["data"]
    assert "Checking (Bank, USD)" in {one["label"] for one in choices}
    done = manager.put("/v1/settings/deposit_account", {"realm_id": US, "value": {"id": "5"}})
    assert done["effective"]["deposit_account"]["name"] == "Checking"
    refused = manager("PUT", "/v1/settings/deposit_account", json={"realm_id": US, "value": {"id": "7"}})
    assert refused.json()["errors"][0]["field"] == "deposit_account"
    for account, status in (("5", 422), ("999", 422), ("7", 200)):
        path, given = "/v1/settings/receivables_account", {"realm_id": US, "value": {"id": account}}
        assert manager("PUT", path, json=given).status_code == status
    assert manager.get("/v1/settings", realm_id=US)["effective"]["receivables_account"]["name"]
    labels = [one["id"] for one in manager.get("/v1/settings/choices", name="receivables_account")["data"]]
    assert labels == ["7"]
    for method, account in (("card", "9"), ("check", "4")):
        manager.put(f"/v1/settings/deposit_accounts/{method}", {"realm_id": US, "value": {"id": account}})
    shown = manager.get("/v1/settings", realm_id=US)["effective"]["deposit_accounts"]
    assert {method: one["name"] for method, one in shown.items()} == {
        "card": "Stripe Clearing",
        "check": "Undeposited Funds",
    }
    history = manager.get("/v1/settings/deposit_account/history", realm_id=US)["data"]
    assert [one["details"]["after"]["id"] for one in history] == ["5"]


def test_reading_takes_no_right_to_change(served: Served, company_id: UUID) -> None:
    """A key that may read sees choices and history and sets nothing."""
    reader = served.caller(Scope.READ)
    assert reader.get("/v1/mappings/unmapped", kind="item")["data"] == []
    assert reader.get("/v1/mappings/usage", kind="item", key="svc")["unsent"] == 0
    for path in ("/v1/mappings/bulk", "/v1/settings/deposit_accounts/card"):
        assert reader("PUT", path, json={}).status_code == 403
    assert reader("POST", "/v1/mappings/import", json={"sheet": "x"}).status_code == 403
