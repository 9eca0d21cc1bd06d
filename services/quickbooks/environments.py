"""Where Intuit answers: production and sandbox, every address a setting.

https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Environment:
    """The addresses of one Intuit environment. Links and tokens of one are never used with the other.

    Every address is https; http is taken for this machine only, or anywhere when `plain_http` says that the
    network between is trusted. Raises ValueError naming the field.
    """

    name: str
    api: str
    authorize: str = "https://appcenter.intuit.com/connect/oauth2"
    token: str = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105 - an address
    revoke: str = "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"
    discovery: str = "https://developer.intuit.com/.well-known/openid_configuration/"
    userinfo: str = "https://accounts.platform.intuit.com/v1/openid_connect/userinfo"
    plain_http: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in {"name", "plain_http"}:
                continue
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"{field.name}: {value!r} is no address; write it as https://host/path")
            if parts.scheme == "http" and not (self.plain_http or is_loopback(parts.hostname)):
                raise ValueError(
                    f"{field.name}: {value!r} would send tokens in the clear; use https, or set plain_http"
                    " for a sandbox in a network you trust"
                )


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this very machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


PRODUCTION = Environment(name="production", api="https://quickbooks.api.intuit.com")

SANDBOX = Environment(
    name="sandbox",
    api="https://sandbox-quickbooks.api.intuit.com",
    discovery="https://developer.intuit.com/.well-known/openid_sandbox_configuration/",
    userinfo="https://sandbox-accounts.platform.intuit.com/v1/openid_connect/userinfo",
)
