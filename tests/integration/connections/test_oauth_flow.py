"""To Intuit and back: every way it can end, and that only the browser that left may come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import structlog
from sqlalchemy import text

from services.connections import companies, oauth_flow, token_store
from services.connections.clients import Clients
from services.connections.intuit import Intuit
from services.connections.oauth_flow import FAILURES, Returned
from services.database import Database
from services.ledger import timeline
from services.mapping import settings
from services.quickbooks import calls
from services.refusals import Refusal
from tests.support.deadline import eventually
from tests.support.intuit import (
    APP,
    CALLBACK,
    GB,
    US,
    Admin,
    Noted,
    decide,
    intuit_of,
    returned,
    trouble,
)
from tests.support.sandbox import Sandbox

TENANT = "tenant-a"


def expire_attempts(fleet: Database) -> None:
    """Let ten minutes pass for every attempt."""
    with fleet.transaction("*") as connection:
        connection.execute(text("UPDATE connect_attempt SET expires_at = clock_timestamp()"))


def test_connecting_stores_the_company(admin: Admin, intuit: Intuit) -> None:
    """Approve at Intuit: the company is active and the default, with its name, country, currency and tokens."""
    outcome = admin.connects(TENANT, US)
    assert (outcome.code, outcome.return_to) == ("success", "https://psa.example/settings")
    with admin.database.transaction(TENANT) as connection:
        [company] = companies.listed(connection, TENANT)
        held = token_store.read(connection, intuit.vault, company.company_id)
        entries = timeline.read(connection, TENANT, "company", str(company.company_id))
    assert outcome.company == company
    assert (company.realm_id, company.state, company.is_default) == (US, "active", True)
    assert (company.name, company.country, company.home_currency) == ("Sandbox Company_US_1", "USA", "USD")
    assert held is not None
    assert 3500 < held.seconds_left <= 3600
    assert [(entry.actor, entry.action) for entry in entries] == [("admin", "connected")]


def test_browser_is_sent_with_what_intuit_needs(admin: Admin) -> None:
    """The authorize address carries client id, exact redirect URI, scope and a state; the secret is not in it."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    query = parse_qs(urlsplit(departure.authorize_url).query)
    assert query["client_id"] == [APP[0]]
    assert query["redirect_uri"] == [CALLBACK]
    assert query["scope"] == ["com.intuit.quickbooks.accounting"]
    assert query["response_type"] == ["code"]
    assert APP[1] not in departure.authorize_url
    assert query["state"][0] not in repr(departure)


def test_nothing_in_the_database_lets_one_connect(admin: Admin, fleet: Database) -> None:
    """Ticket, state and cookie are stored as hashes only."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    state = parse_qs(urlsplit(departure.authorize_url).query)["state"][0]
    with fleet.transaction("*") as connection:
        stored = str(connection.execute(text("SELECT t::text FROM connect_attempt t")).all())
    for secret in (state, departure.cookie):
        assert secret not in stored
        assert secret.encode().hex() not in stored


def test_ticket_is_good_for_one_browser(admin: Admin, fleet: Database) -> None:
    """A link opens the way once, for ten minutes; a shared or saved one leads nowhere."""
    admin.saves_credentials(TENANT)
    with admin.database.transaction(TENANT) as connection:
        ticket = oauth_flow.begin(connection, admin.intuit, TENANT, actor="admin").secret
        assert oauth_flow.opener(connection, ticket) == "admin"
        oauth_flow.follow(connection, admin.intuit, ticket)
        assert oauth_flow.opener(connection, ticket) is None
        with pytest.raises(Refusal, match="used before"):
            oauth_flow.follow(connection, admin.intuit, ticket)
        late = oauth_flow.begin(connection, admin.intuit, TENANT, actor="admin").secret
    expire_attempts(fleet)
    with admin.database.transaction(TENANT) as connection, pytest.raises(Refusal, match="10 minutes"):
        oauth_flow.follow(connection, admin.intuit, late)


def _without(field: str) -> Callable[[Returned], Returned]:
    return lambda back: replace(back, **{field: ""})


@pytest.mark.parametrize(
    ("spoiled", "code"),
    [
        (_without("code"), "missing_params"),
        (_without("realm_id"), "missing_params"),
        (_without("state"), "missing_params"),
        (_without("cookie"), "invalid_state"),  # another browser
        (lambda back: replace(back, state=back.state + "x"), "invalid_state"),
        (lambda back: replace(back, state="garbage"), "invalid_state"),
        (lambda back: replace(back, cookie=back.cookie + "x"), "invalid_state"),
        (lambda back: replace(back, cookie=oauth_flow._secret("tenant-b")), "tenant_mismatch"),
        (lambda back: replace(back, error="access_denied", code=""), "access_denied"),
        (lambda back: replace(back, error="server_error", code=""), "server_error"),
        (lambda back: replace(back, error="success", code=""), "oauth_failed"),
        (lambda back: replace(back, error="<script>alert(1)</script>"), "oauth_failed"),
        (lambda back: replace(back, code="AB1forged"), "token_exchange_failed"),
    ],
)
def test_spoiled_answers_connect_nothing(
    spoiled: Callable[[Returned], Returned], code: str, admin: Admin
) -> None:
    """Whatever is missing, forged or refused: its own code, a sentence for the admin, and no company."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    back = returned(decide(departure.authorize_url, US), departure.cookie)
    outcome = admin.comes_back(spoiled(back))
    assert outcome.code == code
    assert outcome.sentence[0].isupper()
    assert outcome.sentence.endswith(".")
    assert "<" not in outcome.sentence
    with admin.database.transaction(TENANT) as connection:
        assert companies.listed(connection, TENANT) == []


def test_denying_at_intuit_is_told(admin: Admin) -> None:
    """The admin clicks Cancel on Intuit's page: access_denied, back at the PSA."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    outcome = admin.comes_back(returned(decide(departure.authorize_url, US, approve=False), departure.cookie))
    assert (outcome.code, outcome.return_to) == ("access_denied", "https://psa.example/settings")


def test_state_is_single_use(admin: Admin) -> None:
    """The same answer a second time is refused, and the company connected by the first one stays."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    back = returned(decide(departure.authorize_url, US), departure.cookie)
    assert admin.comes_back(back).code == "success"
    assert admin.comes_back(back).code == "invalid_state"


def test_ten_minutes_are_the_limit(admin: Admin, fleet: Database) -> None:
    """Too long at Intuit's page: session_expired, and the PSA gets its browser back."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    back = returned(decide(departure.authorize_url, US), departure.cookie)
    expire_attempts(fleet)
    outcome = admin.comes_back(back)
    assert (outcome.code, outcome.return_to) == ("session_expired", "https://psa.example/settings")


def test_credentials_removed_on_the_way(admin: Admin) -> None:
    """The tenant's app disappears while the admin is at Intuit: config_missing."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    back = returned(decide(departure.authorize_url, US), departure.cookie)
    with admin.database.transaction(TENANT) as connection:
        connection.execute(text("DELETE FROM app_credential"))
    assert admin.comes_back(back).code == "config_missing"


def test_our_own_mistake_is_oauth_failed(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends with a sentence, at the PSA, and leaves no company behind."""
    admin.saves_credentials(TENANT)
    departure = admin.leaves(TENANT)
    back = returned(decide(departure.authorize_url, US), departure.cookie)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(token_store, "put", broken)
    outcome = admin.comes_back(back)
    assert (outcome.code, outcome.return_to) == ("oauth_failed", "https://psa.example/settings")
    with admin.database.transaction(TENANT) as connection:
        assert companies.listed(connection, TENANT) == []


def test_every_failure_of_the_psa_has_a_sentence() -> None:
    """The codes that the PSA's users know are all there."""
    known = {
        "missing_params",
        "invalid_state",
        "session_expired",
        "tenant_mismatch",
        "config_missing",
        "token_exchange_failed",
        "oauth_failed",
    }
    assert known <= FAILURES.keys()


def test_connecting_needs_credentials_and_a_listed_address(admin: Admin) -> None:
    """Without credentials, or to return somewhere unknown: refused before anything starts."""
    with admin.database.transaction(TENANT) as connection:
        with pytest.raises(Refusal) as refused:
            oauth_flow.begin(connection, admin.intuit, TENANT, actor="admin")
        assert refused.value.code == "config_missing"
    admin.saves_credentials(TENANT)
    with admin.database.transaction(TENANT) as connection:
        with pytest.raises(Refusal) as refused:
            oauth_flow.begin(connection, admin.intuit, TENANT, actor="admin", return_to="https://evil.test/")
        assert (refused.value.code, refused.value.field) == ("return_to_not_allowed", "return_to")


def test_connecting_needs_the_edition(admin: Admin) -> None:
    """Whoever asks, also at the command line: without the Enterprise edition nothing starts, and it is said why."""
    admin.saves_credentials(TENANT)
    with admin.database.transaction(TENANT) as connection:
        settings.put(connection, TENANT, settings.TENANT, "entitled", False, actor="operator")
        with pytest.raises(Refusal, match="Enterprise edition") as refused:
            oauth_flow.begin(connection, admin.intuit, TENANT, actor="admin")
    assert (refused.value.kind, refused.value.code) == ("forbidden", "not_entitled")


def test_production_needs_https(admin: Admin, intuit: Intuit) -> None:
    """Intuit's production takes no http address: refused before a browser leaves, with the settings that mend it."""
    admin.saves_credentials(TENANT)
    live = intuit.configuration.model_copy(
        update={"environment": "production", "quickbooks_authorize_url": ""}
    )
    production = replace(intuit, configuration=live)
    with admin.database.transaction(TENANT) as connection:
        card = production.card(connection, TENANT)
        with pytest.raises(Refusal, match="QBO_REDIRECT_URI") as refused:
            oauth_flow.begin(connection, production, TENANT, actor="admin")
        assert (refused.value.code, refused.value.sentence) == ("config_missing", card.reason)
        assert intuit.card(connection, TENANT).can_connect
    assert (card.ready, card.can_connect) == (True, False)


def test_facts_that_cannot_be_read_do_not_undo_the_connection(admin: Admin, sandbox: Sandbox) -> None:
    """QuickBooks fails right after the approval: connected all the same, the name follows later."""
    trouble(sandbox, "server_error", entity="CompanyInfo")
    outcome = admin.connects(TENANT, US)
    assert outcome.code == "success"
    with admin.database.transaction(TENANT) as connection:
        [company] = companies.listed(connection, TENANT)
    assert (company.state, company.name, company.facts_read_at) == ("active", "", None)


def test_realm_of_another_tenant_is_refused_and_not_disturbed(
    admin: Admin, fleet: Database, intuit: Intuit, noted: Noted
) -> None:
    """A company belongs to one tenant; the attempt of another is refused before Intuit ends the first one's tokens."""
    company = admin.connected(TENANT, US)
    outcome = admin.connects("tenant-b", US)
    assert outcome.code == "realm_in_use"
    assert Clients(fleet, intuit, noted).look(company.company_id, calls.read("Preferences"))
    with admin.database.transaction("tenant-b") as connection:
        assert companies.listed(connection, "tenant-b") == []


def test_disconnected_realm_may_move_to_another_tenant(admin: Admin, intuit: Intuit, noted: Noted) -> None:
    """After a disconnect another tenant may connect the company, and the first one may not take it back."""
    company = admin.connected(TENANT, US)
    assert oauth_flow.disconnect(admin.database, intuit, noted, TENANT, company.company_id, "admin")
    assert admin.connects("tenant-b", US).code == "success"
    assert admin.connects(TENANT, US).code == "realm_in_use"


def test_reconnect_expects_the_same_company(admin: Admin) -> None:
    """Reconnecting one company and approving another changes nothing."""
    company = admin.connected(TENANT, US)
    assert admin.connects(TENANT, GB, company.company_id).code == "realm_mismatch"
    with admin.database.transaction(TENANT) as connection:
        assert [found.realm_id for found in companies.listed(connection, TENANT)] == [US]
    assert admin.connects(TENANT, US, company.company_id).code == "success"


def test_sandbox_and_production_never_mix(
    admin: Admin, api: Database, sandbox: Sandbox, key: str, noted: Noted
) -> None:
    """With a sandbox company connected no production company can be, nor can the sandbox one be reconnected there."""
    company = admin.connected(TENANT, US)
    production = Admin(api, intuit_of(sandbox, environment="production", key=key), noted)
    assert production.connects(TENANT, GB).code == "environment_mismatch"
    with api.transaction(TENANT) as connection, pytest.raises(Refusal, match="never mix"):
        oauth_flow.begin(connection, production.intuit, TENANT, actor="admin", company_id=company.company_id)


def test_disconnect_revokes_and_keeps_the_rest(
    admin: Admin, intuit: Intuit, noted: Noted, sandbox: Sandbox
) -> None:
    """Tokens go, here and at Intuit; credentials stay, and one click brings the same company back."""
    company = admin.connected(TENANT, US)
    assert oauth_flow.disconnect(admin.database, intuit, noted, TENANT, company.company_id, "maria")
    with admin.database.transaction(TENANT) as connection:
        [gone] = companies.listed(connection, TENANT)
        assert (gone.state, gone.is_default) == ("disconnected", True)
        assert token_store.read(connection, intuit.vault, company.company_id) is None
        with pytest.raises(Refusal, match="already"):
            companies.disconnect(connection, company.company_id, "maria", noted)
    departure = admin.leaves(TENANT, company.company_id)  # without saving credentials again
    outcome = admin.comes_back(returned(decide(departure.authorize_url, US), departure.cookie))
    assert outcome.company is not None
    assert outcome.company.company_id == company.company_id
    with admin.database.transaction(TENANT) as connection:
        entries = timeline.read(connection, TENANT, "company", str(company.company_id))
    assert [entry.action for entry in entries] == ["connected", "disconnected", "revoked", "reconnected"]


def test_disconnect_succeeds_when_intuit_does_not_answer(
    admin: Admin, intuit: Intuit, noted: Noted, sandbox: Sandbox
) -> None:
    """Revoking is best effort: Intuit is away, and the company is disconnected all the same."""
    company = admin.connected(TENANT, US)
    away = intuit.configuration.model_copy(update={"quickbooks_revoke_url": "http://127.0.0.1:9/revoke"})
    told = oauth_flow.disconnect(
        admin.database, replace(intuit, configuration=away), noted, TENANT, company.company_id, "maria"
    )
    assert told is False
    with admin.database.transaction(TENANT) as connection:
        assert companies.listed(connection, TENANT)[0].state == "disconnected"


def test_disconnect_waits_for_a_refresh_under_way(
    admin: Admin, intuit: Intuit, noted: Noted, fleet: Database, sandbox: Sandbox
) -> None:
    """No token survives that a refresh fetched at the same moment: the disconnect revokes the newest one."""
    company = admin.connected(TENANT, US)
    tokens = Clients(fleet, intuit, noted).tokens
    old = tokens.access_token(str(company.company_id))
    trouble(sandbox, "latency", entity="oauth", times=1, seconds=1)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(tokens.refresh(str(company.company_id), old)))
    thread.start()
    with fleet.transaction("*") as connection:
        marked = text("SELECT refreshing_since FROM company_token")
        eventually(lambda: connection.execute(marked).scalar() is not None)
    assert oauth_flow.disconnect(admin.database, intuit, noted, TENANT, company.company_id, "maria")
    thread.join(10)
    answer = requests.get(
        f"{sandbox.api}/v3/company/{US}/preferences",
        headers={"Authorization": f"Bearer {got[0]}", "Accept": "application/json"},
        timeout=10,
    )
    assert answer.status_code == 401


def test_nothing_secret_is_logged(
    admin: Admin, intuit: Intuit, noted: Noted, fleet: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Through connecting, refreshing, a refused exchange and a disconnect no log line holds a secret or a token."""
    secrets = {APP[1]}
    with structlog.testing.capture_logs() as lines, caplog.at_level("DEBUG"):
        admin.saves_credentials(TENANT)
        departure = admin.leaves(TENANT)
        back = returned(decide(departure.authorize_url, US), departure.cookie)
        secrets |= {departure.cookie, back.state, back.code}
        outcome = admin.comes_back(back)
        assert outcome.company is not None
        tokens = Clients(fleet, intuit, noted).tokens
        token = tokens.access_token(str(outcome.company.company_id))
        secrets |= {token, tokens.refresh(str(outcome.company.company_id), token)}
        with fleet.transaction(TENANT) as connection:
            held = token_store.read(connection, intuit.vault, outcome.company.company_id)
            assert held is not None
            secrets |= {held.access_token, held.refresh_token}
        again = admin.leaves(TENANT)
        refused = returned(decide(again.authorize_url, GB), again.cookie)
        secrets |= {again.cookie, refused.state}
        assert admin.comes_back(replace(refused, code="AB1forged")).code == "token_exchange_failed"
        oauth_flow.disconnect(admin.database, intuit, noted, TENANT, outcome.company.company_id, "maria")
    told = str(lines) + caplog.text
    assert len(lines) > 5
    assert [secret for secret in secrets if secret in told] == []
