"""Where outgoing calls may go: never into the operator's own network, unless the operator says so.

A name is looked up once a call, its addresses are judged, and the call goes to a judged address: a name that answers
differently the second time (DNS rebinding) is never asked a second time.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.refusals import invalid

MAX_URL: Final = 2000
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]


class Outgoing(BaseSettings):
    """What the operator sets about outgoing calls, from the environment."""

    model_config = SettingsConfigDict(env_prefix="ALGASYNC_WEBHOOK_", extra="ignore")

    networks: Annotated[list[Network], NoDecode] = Field(
        default=[], description="Comma separated private networks that endpoints may be in, like 10.1.0.0/16."
    )
    ca_file: str = Field(
        default="", description="Certificates to trust besides the system's, for private endpoints."
    )
    seconds: float = Field(
        default=10.0, gt=0, le=30, description="From the first byte sent to the last one read."
    )

    @field_validator("networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )


@lru_cache(maxsize=1)
def outgoing() -> Outgoing:
    """The settings of this process, read at first use."""
    return Outgoing()


class AddressRefused(Exception):
    """The name leads nowhere, or only to where nothing may be sent; the message says which and what to do."""


def check(url: str, settings: Outgoing, *, field: str = "url") -> str:
    """The address as it will be called. Raises `Refusal` for one that can never be; names are looked up when called."""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise invalid(field, f"an address has at most {MAX_URL} plain ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise invalid(field, f"{url!r} is not an address like https://psa.example/hooks/accounting") from None
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == 0:
        raise invalid(field, f"{url!r} is not an address like https://psa.example/hooks/accounting")
    if parts.username is not None or parts.password is not None:
        raise invalid(field, "put no name or password into the address; what we send is signed")
    if parts.fragment:
        raise invalid(field, "the part after # never reaches a server; leave it out")
    try:
        literal = ip_address(parts.hostname)
    except ValueError:
        if parts.scheme == "http" and not settings.networks:
            raise invalid(field, "use https: what we send names clients and amounts") from None
        return url
    try:
        _judge([literal], parts.hostname, parts.scheme, settings)
    except AddressRefused as refused:
        raise invalid(field, str(refused), code="address_refused") from None
    return url


def shown(url: str) -> str:
    """An address for words that travel: without what stands behind ?, which may be a secret of the receiver."""
    return url.partition("?")[0]


def permitted(
    host: str, port: int, scheme: str, settings: Outgoing, *, resolve: Resolve | None = None
) -> list[str]:
    """Look a host up and return the addresses that may be called. Raises `AddressRefused` when there is none."""
    try:
        found = (resolve or _resolve)(host, port)
    except OSError as error:
        raise AddressRefused(f"the name {host} cannot be looked up: {error.strerror or error}") from error
    return [str(one) for one in _judge([ip_address(one) for one in found], host, scheme, settings)]


def _judge(addresses: Sequence[Address], host: str, scheme: str, settings: Outgoing) -> list[Address]:
    inside = [one for one in addresses if any(_meant(one) in network for network in settings.networks)]
    outside = [one for one in addresses if one not in inside and _is_public(one)]
    if scheme == "http" and not inside:
        raise AddressRefused(f"{host} is outside of the operator's networks, and there only https is used")
    good = inside + (outside if scheme == "https" else [])
    if not good:
        raise AddressRefused(
            f"{host} leads into a private network, and nothing is sent there;"
            " the operator may allow it with ALGASYNC_WEBHOOK_NETWORKS"
        )
    return good


def _is_public(address: Address) -> bool:
    meant = _meant(address)
    return meant.is_global and not meant.is_multicast and not meant.is_reserved


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address only wraps: mapped, 6to4, Teredo or NAT64."""
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        return wrapped or address
    return address


def _resolve(host: str, port: int) -> list[str]:
    """Every address of a name, in the order the system prefers."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name") from error
    return list(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))
