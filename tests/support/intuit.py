"""Intuit for tests: the sandbox's addresses as settings, and an admin who connects companies with plain requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urljoin, urlsplit
from uuid import UUID

import requests
from sqlalchemy import Connection

from services.configuration import Configuration
from services.connections import credentials, facts, oauth_flow
from services.connections.application import Application
from services.connections.clients import Clients
from services.connections.companies import Attention, Company
from services.connections.intuit import Intuit
from services.connections.oauth_flow import Outcome, Returned
from services.connections.vault import Vault, new_key
from services.database import Database
from services.ledger.ports import Problem
from tests.support.sandbox import Sandbox

APP = ("test-client-id-0001", "test-client-secret-0001")
US, GB = "9341450000000001", "9341450000000002"
CALLBACK = "http://127.0.0.1:8400/v1/quickbooks/callback"


def intuit_of(
    sandbox: Sandbox,
    *,
    environment: str = "sandbox",
    key: str = "",
    redirect_uri: str = CALLBACK,
    **settings: Any,
) -> Intuit:
    """The settings of an installation that talks to this sandbox; the app of `APP` is registered there."""
    register(sandbox, redirect_uri)
    configuration = Configuration(
        environment=environment,
        quickbooks_api_url=sandbox.api,
        quickbooks_authorize_url=f"{sandbox.api}/connect/oauth2",
        quickbooks_token_url=f"{sandbox.api}/oauth2/v1/tokens/bearer",
        quickbooks_revoke_url=f"{sandbox.api}/v2/oauth2/tokens/revoke",
        **settings,
    )
    application = Application(redirect_uri=redirect_uri, return_to=["https://psa.example/settings"])
    return Intuit(configuration, application, Vault([key or new_key()]))


def register(sandbox: Sandbox, redirect_uri: str = CALLBACK) -> None:
    """Make the sandbox know our app, as an MSP does on Intuit's developer page."""
    body = {"client_id": APP[0], "client_secret": APP[1], "redirect_uris": [redirect_uri]}
    requests.post(f"{sandbox.control}/apps", json=body, timeout=10).raise_for_status()


def counted(sandbox: Sandbox) -> dict[str, int]:
    """What the sandbox's token endpoint has seen: refreshes, overlapping_refreshes, invalid_grants."""
    found: dict[str, int] = requests.get(f"{sandbox.control}/counters", timeout=10).json()["oauth"]
    return found


def switch(sandbox: Sandbox, **switches: Any) -> None:
    """Change how every company of the sandbox behaves."""
    requests.patch(f"{sandbox.control}/switches", json=switches, timeout=10).raise_for_status()


def trouble(sandbox: Sandbox, kind: str, **rule: Any) -> None:
    """Start a bad day at the sandbox."""
    requests.post(f"{sandbox.control}/troubles", json={"kind": kind, **rule}, timeout=10).raise_for_status()


def decide(authorize_url: str, realm: str, *, approve: bool = True) -> str:
    """What a person does on Intuit's page; returns the address the browser is sent back to."""
    page = requests.get(authorize_url, timeout=10)
    page.raise_for_status()
    hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page.text)
    action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
    form = {unescape(name): unescape(value) for name, value in hidden}
    form |= {"realm": realm, "decision": "approve" if approve else "deny"}
    target = (
        urljoin(authorize_url, unescape(action[1]))
        if action and action[1]
        else authorize_url.partition("?")[0]
    )
    answer = requests.post(target, data=form, timeout=10, allow_redirects=False)
    assert answer.is_redirect, answer.text
    return str(answer.headers["location"])


def browse(connect_url: str, realm: str, *, approve: bool = True) -> requests.Response:
    """A browser that opens our address, continues to Intuit, decides there and follows the way back."""
    with requests.Session() as browser:
        page = browser.get(connect_url, timeout=10)
        assert page.status_code == 200, page.text
        form = {"ticket": parse_qs(urlsplit(connect_url).query)["ticket"][0]}
        away = browser.post(connect_url.partition("?")[0], data=form, timeout=10, allow_redirects=False)
        assert away.status_code == 303, away.text
        back = decide(away.headers["location"], realm, approve=approve)
        return browser.get(back, timeout=20, allow_redirects=False)


def returned(address: str, cookie: str) -> Returned:
    """What our callback finds in the address Intuit sent the browser to."""
    found = dict(parse_qsl(urlsplit(address).query))
    return Returned(
        state=found.get("state", ""),
        code=found.get("code", ""),
        realm_id=found.get("realmId", ""),
        error=found.get("error", ""),
        cookie=cookie,
    )


class Noted:
    """An exception list that remembers what it was told; `open` holds the companies that need attention."""

    def __init__(self) -> None:
        self.open: dict[UUID, Problem] = {}
        self.settled_with: list[str] = []

    def needed(self, connection: Connection, company: Company, problem: Problem) -> None:
        """Remember that a company needs attention."""
        self.open[company.company_id] = problem

    def settled(self, connection: Connection, company: Company, resolution: str) -> None:
        """Remember why it needs none any more."""
        self.open.pop(company.company_id, None)
        self.settled_with.append(resolution)


@dataclass
class Admin:
    """An accounting admin with a browser: connects companies through the real redirects."""

    database: Database
    intuit: Intuit
    attention: Attention

    def saves_credentials(self, tenant: str) -> None:
        """Paste the Intuit app's keys."""
        with self.database.transaction(tenant) as connection:
            credentials.save(
                connection,
                self.intuit.vault,
                tenant,
                client_id=APP[0],
                client_secret=APP[1],
                actor="admin",
            )

    def leaves(self, tenant: str, company_id: UUID | None = None) -> oauth_flow.Departure:
        """Click the button and follow the link."""
        with self.database.transaction(tenant) as connection:
            ticket = oauth_flow.begin(
                connection,
                self.intuit,
                tenant,
                actor="admin",
                return_to="https://psa.example/settings",
                company_id=company_id,
            )
            return oauth_flow.follow(connection, self.intuit, ticket.secret)

    def connects(self, tenant: str, realm: str, company_id: UUID | None = None) -> Outcome:
        """The whole way to Intuit and back."""
        self.saves_credentials(tenant)
        departure = self.leaves(tenant, company_id)
        return self.comes_back(returned(decide(departure.authorize_url, realm), departure.cookie))

    def comes_back(self, back: Returned) -> Outcome:
        """Arrive at the callback."""

        def connected(company: Company) -> Company:
            clients = Clients(self.database, self.intuit, self.attention, company.tenant_id)
            return facts.read(self.database, clients, company.tenant_id, company.company_id)

        return oauth_flow.finish(self.database, self.intuit, self.attention, back, connected=connected)

    def connected(self, tenant: str, realm: str = US) -> Company:
        """A company that is connected now."""
        outcome = self.connects(tenant, realm)
        assert outcome.company is not None, outcome
        return outcome.company
