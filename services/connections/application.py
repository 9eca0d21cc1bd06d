"""What the operator sets about Intuit: the shared app, its addresses, and where browsers may return to."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.configuration import Configuration

CALLBACK_PATH = "/v1/quickbooks/callback"
CONNECT_PATH = "/connect/quickbooks"  # for browsers; the API's own way to begin is below /v1


class Application(BaseSettings):
    """Settings of the connection to Intuit that all tenants share, from the environment."""

    model_config = SettingsConfigDict(populate_by_name=True, extra="ignore")

    client_id: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("QBO_CLIENT_ID", "QBO_OAUTH_CLIENT_ID"),
        description="Intuit app for tenants that have not entered their own.",
    )
    client_secret: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("QBO_CLIENT_SECRET", "QBO_OAUTH_CLIENT_SECRET"),
        description="Secret of that app.",
    )
    redirect_uri: str = Field(
        default="",
        validation_alias="QBO_REDIRECT_URI",
        description="Callback registered with Intuit; default is the public address of the API.",
    )
    return_to: Annotated[list[str], NoDecode] = Field(
        default=[],
        validation_alias="ALGASYNC_RETURN_TO",
        description="Comma separated addresses of the PSA to which a browser may be sent after connecting.",
    )

    webhook_verifier_tokens: Annotated[list[SecretStr], NoDecode] = Field(
        default=[],
        validation_alias="QBO_WEBHOOK_VERIFIER_TOKEN",
        description="Comma separated verifier tokens of Intuit's webhooks, one an app; two while one is changed.",
    )

    @field_validator("return_to", "webhook_verifier_tokens", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("return_to")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        for address in value:
            parts = urlsplit(address)
            if parts.scheme not in {"https", "http"} or not parts.hostname:
                raise ValueError(
                    f"ALGASYNC_RETURN_TO: {address!r} is not an http(s) address like https://psa.example/settings"
                )
        return value

    def callback(self, configuration: Configuration) -> str:
        """The exact redirect URI to register with Intuit; a callback is accepted at no other address."""
        return self.redirect_uri or public_url(configuration) + CALLBACK_PATH

    def may_return_to(self, address: str) -> bool:
        """Whether a browser may be sent there: scheme, host and port of an allowed one, below its path."""
        try:
            asked = urlsplit(address)
            port = asked.port
        except ValueError:
            return False
        if asked.username is not None or any(mark in address for mark in "\\\r\n\t") or ".." in asked.path:
            return False
        for allowed in map(urlsplit, self.return_to):
            same = (asked.scheme, asked.hostname, port) == (allowed.scheme, allowed.hostname, allowed.port)
            base = allowed.path.rstrip("/")
            if same and (asked.path == base or asked.path.startswith(base + "/") or not base):
                return True
        return False


def public_url(configuration: Configuration) -> str:
    """Where browsers reach the API, without a trailing slash."""
    return (configuration.public_url or f"http://{configuration.api_host}:{configuration.api_port}").rstrip(
        "/"
    )


@lru_cache(maxsize=1)
def application() -> Application:
    """The settings of this process, read at first use."""
    return Application()
