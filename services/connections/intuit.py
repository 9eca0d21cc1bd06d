"""Intuit as this installation sees it: which environment, at which addresses, with which app for which tenant."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from services.configuration import Configuration
from services.connections import credentials
from services.connections.application import Application
from services.connections.vault import Vault
from services.quickbooks.environments import PRODUCTION, SANDBOX, Environment
from services.quickbooks.oauth import App, OAuth
from services.quickbooks.transport import Timeouts

OAUTH_TIMEOUTS = Timeouts(connect=5, read=20, total=25)
"""Seconds; within the database's statement timeout, which bounds how long others wait for a refresh."""


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
