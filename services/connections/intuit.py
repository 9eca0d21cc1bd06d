"""Intuit as this installation sees it: which environment, at which addresses, with which app for which tenant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from services.configuration import Configuration
from services.connections import credentials
from services.connections.application import CONNECT_PATH, Application, public_url
from services.connections.credentials import Source
from services.connections.vault import Vault
from services.quickbooks.environments import PRODUCTION, SANDBOX, Environment
from services.quickbooks.oauth import SCOPE, App, OAuth
from services.quickbooks.transport import Timeouts

OAUTH_TIMEOUTS = Timeouts(connect=5, read=20, total=25)
"""Seconds; within the database's statement timeout, which bounds how long others wait for a refresh."""


@dataclass(frozen=True, slots=True)
class Card:
    """The credentials card: what to register with Intuit, and whether a company can be connected.

    `ready` is *Credentials Ready*; `reason` says why `can_connect` is not, and what to do. Secrets are masked.
    """

    ready: bool
    can_connect: bool
    reason: str | None
    source: Source | None
    client_id: str
    client_secret: str
    updated_at: datetime | None
    updated_by: str | None
    redirect_uri: str
    scope: str
    environment: str


@dataclass(frozen=True, slots=True)
class Intuit:
    """Settings, app credentials and addresses, put together."""

    configuration: Configuration
    application: Application
    vault: Vault

    @property
    def environment(self) -> Environment:
        """Sandbox or production, with the addresses that the settings replace."""
        chosen = {"sandbox": SANDBOX, "production": PRODUCTION}[self.configuration.environment]
        return replace(
            chosen,
            api=self.configuration.quickbooks_api_url or chosen.api,
            authorize=self.configuration.quickbooks_authorize_url or chosen.authorize,
            token=self.configuration.quickbooks_token_url or chosen.token,
            revoke=self.configuration.quickbooks_revoke_url or chosen.revoke,
        )

    @property
    def redirect_uri(self) -> str:
        """The callback to register with Intuit, exactly."""
        return self.application.callback(self.configuration)

    def connect_url(self, ticket: str) -> str:
        """Where a browser begins that carries a ticket of `oauth_flow.begin`."""
        return f"{public_url(self.configuration)}{CONNECT_PATH}?ticket={ticket}"

    @property
    def hindrance(self) -> str | None:
        """Why nobody can connect, whatever the credentials: a sentence, or None."""
        at_intuit = (
            self.configuration.environment == "production" and not self.configuration.quickbooks_authorize_url
        )
        if at_intuit and not self.redirect_uri.startswith("https://"):
            return (
                f"Intuit's production sends browsers to https addresses only, and ours is {self.redirect_uri};"
                " the operator sets QBO_REDIRECT_URI, or ALGASYNC_PUBLIC_URL, to where browsers reach us by https"
            )
        return None

    def card(self, connection: Connection, tenant: str) -> Card:
        """What a tenant's credentials card shows."""
        found = credentials.status(connection, self.vault, self.application, tenant)
        return Card(
            ready=found.ready,
            can_connect=found.ready and self.hindrance is None,
            reason=found.reason or self.hindrance,
            source=found.source,
            client_id=found.client_id,
            client_secret=found.client_secret,
            updated_at=found.updated_at,
            updated_by=found.updated_by,
            redirect_uri=self.redirect_uri,
            scope=SCOPE,
            environment=self.environment.name,
        )

    @property
    def timeouts(self) -> Timeouts:
        """How long a call to QuickBooks may take, from the settings."""
        seconds = self.configuration.call_seconds
        return Timeouts(min(self.configuration.connect_seconds, seconds), seconds, seconds)

    def oauth(self, connection: Connection, tenant: str) -> OAuth:
        """Intuit's authorization server for a tenant's app. Raises `Refusal` `config_missing` without one."""
        found = credentials.resolve(connection, self.vault, self.application, tenant)
        app = App(found.client_id, found.client_secret, self.redirect_uri)
        return OAuth(app, self.environment, OAUTH_TIMEOUTS)
