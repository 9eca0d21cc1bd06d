"""Connecting over HTTP: credentials, the button, Intuit's page, the callback, and the life that follows."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from services.api.keys import Scope
from services.connections import companies
from services.inbound import schedule
from tests.support.api import OTHER, TENANT, Caller, Served
from tests.support.intuit import APP, GB, US, browse, decide

RETURN = "https://psa.example/settings?tab=integrations"


def saves(caller: Caller) -> dict[str, Any]:
    """Save the Intuit app's credentials."""
    saved: dict[str, Any] = caller.put(
        "/v1/quickbooks/credentials", {"client_id": APP[0], "client_secret": APP[1]}
    )
    return saved


def ticket(caller: Caller, **body: Any) -> str:
    """Click Connect QuickBooks in the PSA; returns the address to open."""
    answer = caller("POST", "/v1/quickbooks/connect", json={"return_to": RETURN, **body})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["connect_url"])


def connects(caller: Caller, realm: str = US, **body: Any) -> dict[str, str]:
    """The whole way; returns what the PSA is told in its address."""
    answer = browse(ticket(caller, **body), realm)
    assert answer.status_code == 303, answer.text
    return told(answer)


def told(answer: requests.Response) -> dict[str, str]:
    """The parameters with which the browser arrives at the PSA."""
    parts = urlsplit(answer.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://psa.example/settings"
    return {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_credentials_card(served: Served) -> None:
    """It shows what to register, then Credentials Ready with masked values; secrets never come back."""
    card = served.manager.get("/v1/quickbooks/credentials")
    assert (card["ready"], card["can_connect"]) == (False, False)
    assert "client id" in card["reason"]
    assert card["redirect_uri"] == f"{served.url}/v1/quickbooks/callback"
    assert (card["scope"], card["environment"]) == ("com.intuit.quickbooks.accounting", "sandbox")
    saved = saves(served.manager)
    assert (saved["ready"], saved["source"], saved["reason"]) == (True, "tenant", None)
    assert saved["client_secret"] == "••••0001"
    assert APP[1] not in str(saved)
    assert served.manager.get("/v1/quickbooks/credentials") == saved


def test_connect_needs_credentials(served: Served) -> None:
    """Before both values are saved the connection cannot start, and the answer says why."""
    answer = served.manager("POST", "/v1/quickbooks/connect", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "config_missing")


def test_the_whole_way_to_a_connected_company(served: Served) -> None:
    """Button, Intuit's page, back at the PSA with success; the card shows name, realm and an active status."""
    saves(served.manager)
    arrived = connects(served.manager)
    assert (arrived["qbo_status"], arrived["qbo_realm"], arrived["tab"]) == ("success", US, "integrations")
    [company] = served.manager.get("/v1/quickbooks/companies")["data"]
    assert (company["name"], company["realm_id"], company["state"], company["is_default"]) == (
        "Sandbox Company_US_1",
        US,
        "active",
        True,
    )
    assert company == served.manager.get(f"/v1/quickbooks/companies/{US}")


def test_cookie_is_safe(served: Served) -> None:
    """Out of scripts' reach, not sent with others' requests, for the callback only, for ten minutes."""
    saves(served.manager)
    url = ticket(served.manager)
    form = {"ticket": parse_qs(urlsplit(url).query)["ticket"][0]}
    away = requests.post(url.partition("?")[0], data=form, timeout=10, allow_redirects=False)
    cookie = away.headers["set-cookie"].lower()
    for attribute in ("httponly", "samesite=lax", "path=/v1/quickbooks/callback", "max-age=600"):
        assert attribute in cookie
    assert form["ticket"] not in away.headers["location"]


def test_page_says_who_started_it_and_uses_nothing_up(served: Served) -> None:
    """Looking at the page twice is harmless; it names tenant and starter and loads nothing from elsewhere."""
    saves(served.manager)
    url = ticket(served.manager)
    for _ in range(2):
        page = requests.get(url, timeout=10)
        assert page.status_code == 200
    assert TENANT in page.text
    assert "key:test" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "script" not in page.text


@pytest.mark.parametrize("bad", ["", "nonsense", "orsw4ylooqwwc.forged", "<script>"])
def test_bad_tickets_lead_nowhere(bad: str, shared: Served) -> None:
    """An unknown, used or malformed ticket gets a page that says what to do, on both ways in."""
    for answer in (
        requests.get(f"{shared.url}/connect/quickbooks", params={"ticket": bad}, timeout=10),
        requests.post(f"{shared.url}/connect/quickbooks", data={"ticket": bad}, timeout=10),
    ):
        assert answer.status_code == 400
        assert "click Connect QuickBooks again" in answer.text
        assert "<script>" not in answer.text


def test_cancelled_at_intuit(served: Served) -> None:
    """The PSA is told failure, Intuit's code and a sentence."""
    saves(served.manager)
    arrived = told(browse(ticket(served.manager), US, approve=False))
    assert (arrived["qbo_status"], arrived["qbo_error"]) == ("failure", "access_denied")
    assert "cancelled" in arrived["qbo_message"]


def test_callback_in_another_browser(served: Served) -> None:
    """Without the cookie the answer is refused with a page; nothing is connected."""
    saves(served.manager)
    url = ticket(served.manager)
    form = {"ticket": parse_qs(urlsplit(url).query)["ticket"][0]}
    away = requests.post(url.partition("?")[0], data=form, timeout=10, allow_redirects=False)
    answer = requests.get(decide(away.headers["location"], US), timeout=10, allow_redirects=False)
    assert answer.status_code == 400
    assert "saved or shared link" in answer.text
    assert served.manager.get("/v1/quickbooks/companies")["data"] == []


def test_return_address_is_checked(served: Served) -> None:
    """A place that the operator did not list is refused by name."""
    saves(served.manager)
    answer = served.manager("POST", "/v1/quickbooks/connect", json={"return_to": "https://evil.test/"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "return_to"


def test_several_companies_default_disconnect_and_reconnect(served: Served) -> None:
    """Two companies; the second made default; each disconnected and reconnected for itself, in one click."""
    manager = served.manager
    saves(manager)
    connects(manager, US)
    connects(manager, GB)
    made = manager("POST", f"/v1/quickbooks/companies/{GB}/make-default")
    assert made.json()["is_default"]
    answer = manager("POST", f"/v1/quickbooks/companies/{GB}/disconnect").json()
    assert (answer["company"]["state"], answer["revoked"]) == ("disconnected", True)
    again = manager("POST", f"/v1/quickbooks/companies/{GB}/disconnect")
    assert (again.status_code, again.json()["code"]) == (409, "company_disconnected")
    states = {one["realm_id"]: one["state"] for one in manager.get("/v1/quickbooks/companies")["data"]}
    assert states == {US: "active", GB: "disconnected"}
    assert manager.get("/v1/quickbooks/credentials")["ready"]
    assert connects(manager, US, realm_id=GB)["qbo_error"] == "realm_mismatch"
    assert connects(manager, GB, realm_id=GB)["qbo_status"] == "success"
    entries = manager.get(f"/v1/quickbooks/companies/{GB}/timeline")["data"]
    assert [entry["action"] for entry in entries] == [
        "connected",
        "made_default",
        "disconnected",
        "revoked",
        "reconnected",
    ]
    assert all(entry["intact"] for entry in entries)
    # Who, and from where: also for what a browser did on its way back from Intuit.
    assert [entry["details"].get("via", {}).get("address") for entry in entries] == ["127.0.0.1"] * 5


def test_company_of_another_tenant(served: Served) -> None:
    """The same QuickBooks company cannot be connected by two tenants."""
    saves(served.manager)
    connects(served.manager)
    stranger = served.caller(Scope.MANAGE, tenant=OTHER)
    saves(stranger)
    assert connects(stranger)["qbo_error"] == "realm_in_use"


def test_health_card(served: Served) -> None:
    """Token end, work by state, reads, exceptions and settings worth knowing, all without asking QuickBooks."""
    manager = served.manager
    saves(manager)
    connects(manager)
    manager("POST", "/v1/pause", json={"reason": "month end"})
    card = manager.get(f"/v1/quickbooks/companies/{US}/health")
    assert card["company"]["state"] == "active"
    assert card["token"]["days_left"] in (99, 100, 101)
    assert card["operations"]["queued"] == 0
    assert (card["auto_sync"], card["paused"], card["exceptions_open"]) == (False, ["tenant"], 0)
    assert card["reads_this_month"] == {"total": 2, "by_operation": {"read": 2}}
    codes = {finding["code"] for finding in card["findings"]}
    assert codes >= {"class_tracking", "department_tracking", "invoice_reminders"}
    assert all(finding["place"] for finding in card["findings"])
    assert (card["last_cycle"], card["next_cycle_at"], card["notices"]) == (None, None, [])


def test_health_card_shows_the_last_cycle(served: Served) -> None:
    """Its number, why it ran and how far it is; and when the next one comes."""
    saves(served.manager)
    connects(served.manager)
    with served.fleet.transaction("*") as connection:
        assert schedule.open_due(connection) == 0  # automatic sync is off
        [company] = companies.listed(connection, TENANT)
        assert schedule.wake(connection, company.company_id, "request")
        assert schedule.open_due(connection) == 1
    card = served.manager.get(f"/v1/quickbooks/companies/{US}/health")
    cycle = card["last_cycle"]
    assert (cycle["number"], cycle["cause"], cycle["state"]) == (1, "request", "running")
    assert card["next_cycle_at"] > cycle["started_at"]


def test_health_of_an_expired_company(served: Served) -> None:
    """Expired: the card says why and since when, and one exception waits with the PSA's title."""
    manager = served.manager
    saves(manager)
    connects(manager)
    with served.fleet.transaction(TENANT) as connection:
        [company] = companies.listed(connection, TENANT)
        companies.expire(
            connection, company.company_id, "Intuit said invalid_grant", served.context.attention
        )
    card = manager.get(f"/v1/quickbooks/companies/{US}/health")
    assert (card["company"]["state"], card["exceptions_open"]) == ("expired", 1)
    assert card["company"]["attention_reason"] == "Intuit said invalid_grant"
    [shown] = manager.get("/v1/exceptions")["data"]
    assert shown["title"] == "Accounting connection needs attention"
    assert connects(manager, US, realm_id=US)["qbo_status"] == "success"
    assert manager.get("/v1/exceptions")["data"] == []


def test_production_needs_https(served: Served) -> None:
    """Credentials are ready, and still nobody can connect: the card and the refusal say what the operator sets."""
    saves(served.manager)
    intuit = served.context.intuit
    intuit.configuration.environment = "production"
    intuit.configuration.quickbooks_authorize_url = ""
    card = served.manager.get("/v1/quickbooks/credentials")
    assert (card["ready"], card["can_connect"], card["environment"]) == (True, False, "production")
    assert "https" in card["reason"]
    assert "QBO_REDIRECT_URI" in card["reason"]
    answer = served.manager("POST", "/v1/quickbooks/connect", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "config_missing")
    assert answer.json()["detail"] == card["reason"]
    intuit.application.redirect_uri = "https://sync.psa.example/v1/quickbooks/callback"
    card = served.manager.get("/v1/quickbooks/credentials")
    assert (card["can_connect"], card["reason"]) == (True, None)
    assert served.manager("POST", "/v1/quickbooks/connect", json={}).status_code == 201


def test_where_changes_are_read_from(served: Served) -> None:
    """Set before the first cycle, shown on the card, in the timeline; a moment to come or without offset is refused."""
    manager, path = served.manager, f"/v1/quickbooks/companies/{US}"
    saves(manager)
    connects(manager)
    for bad in ("2100-01-01T00:00:00Z", "2026-01-31T00:00:00", "yesterday"):
        answer = manager("PUT", f"{path}/cursor", json={"cursor": bad})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"].endswith("cursor")
    assert manager.get(f"{path}/health")["cursor"] is None
    assert manager.put(f"{path}/cursor", {"cursor": "2026-01-31T00:00:00+02:00"})["cursor"] == (
        "2026-01-30T22:00:00Z"
    )
    assert manager.get(f"{path}/timeline")["data"][-1]["action"] == "cursor_set"
    answer = manager("PUT", "/v1/quickbooks/companies/77/cursor", json={"cursor": "2026-01-31T00:00:00Z"})
    assert answer.status_code == 404


def test_tenant_without_the_edition(served: Served) -> None:
    """Edition missing: 403 with a sentence on everything about QuickBooks; events are still taken."""
    operator = served.caller(Scope.OPERATOR)
    assert served.manager("PUT", "/v1/settings/entitled", json={"value": False}).status_code == 403
    operator.put("/v1/settings/entitled", {"value": False})
    for path in ("/v1/quickbooks/credentials", "/v1/quickbooks/companies", "/v1/mappings"):
        answer = served.manager("GET", path)
        assert (answer.status_code, answer.json()["code"]) == (403, "not_entitled")
        assert "Enterprise edition" in answer.json()["detail"]
    answer = served.manager("POST", "/v1/quickbooks/connect", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_entitled")
    assert served.manager("GET", "/v1/operations").status_code == 200
