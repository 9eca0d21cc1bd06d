"""Outgoing calls stay outside of private networks, whatever a name leads to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.psa.addresses import AddressRefused, Outgoing, check, permitted
from services.refusals import Refusal

NOBODY = Outgoing()
INSIDE = Outgoing(networks="10.1.0.0/16, fd00::/8")  # type: ignore[arg-type]  # as the environment gives it

PRIVATE = [
    "127.0.0.1",
    "10.2.3.4",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fd12::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused(address: str) -> None:
    """Loopback, private, link-local, carrier, multicast, and IPv6 wrappings of them."""
    with pytest.raises(AddressRefused, match="private network"):
        permitted("psa.example", 443, "https", NOBODY, resolve=lambda *_: [address])
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(Refusal):
        check(f"https://{literal}/hooks", NOBODY)


def test_of_several_addresses_only_public_ones_are_called() -> None:
    """A name that leads both ways is called where it may be."""
    both = ["127.0.0.1", "93.184.216.34", "::1", "2606:2800:220:1:248:1893:25c8:1946"]
    found = permitted("psa.example", 443, "https", NOBODY, resolve=lambda *_: both)
    assert found == ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]


def test_the_operator_lets_networks_in() -> None:
    """There http is enough; elsewhere it stays refused, and other private networks stay closed."""
    assert permitted("psa", 80, "http", INSIDE, resolve=lambda *_: ["10.1.2.3"]) == ["10.1.2.3"]
    assert permitted("psa", 443, "https", INSIDE, resolve=lambda *_: ["fd00::7"]) == ["fd00::7"]
    with pytest.raises(AddressRefused, match="only https"):
        permitted("psa.example", 80, "http", INSIDE, resolve=lambda *_: ["93.184.216.34"])
    with pytest.raises(AddressRefused, match="private network"):
        permitted("psa", 443, "https", INSIDE, resolve=lambda *_: ["10.2.0.1"])


@given(st.ip_addresses())
def test_nothing_that_is_not_public_is_ever_called(address: object) -> None:
    """Whatever address a name has: either the standard library calls it global, or it is refused."""
    try:
        found = permitted("psa.example", 443, "https", NOBODY, resolve=lambda *_: [str(address)])
    except AddressRefused:
        return
    assert found == [str(address)]
    assert getattr(address, "is_global")  # noqa: B009 - hypothesis does not say which of the two kinds it is


def test_a_name_that_is_unknown_is_refused_in_words() -> None:
    """The sentence says which name."""

    def unknown(*_: object) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(AddressRefused, match=r"psa\.example cannot be looked up"):
        permitted("psa.example", 443, "https", NOBODY, resolve=unknown)


@pytest.mark.parametrize(
    "url",
    [
        "http://psa.example/hooks",
        "ftp://psa.example/",
        "https:///hooks",
        "https://user:secret@psa.example/",
        "https://psa.example/#part",
        "https://psa.example:0/",
        "https://psa.example:99999/",
        "https://psa.example/a b",
        "https://psa.exämple/",
        "https://[::1/",
        "psa.example",
        "https://psa.example/" + "x" * 2000,
    ],
)
def test_addresses_that_can_never_work_are_refused_at_once(url: str) -> None:
    """Before anything is stored, naming the field."""
    with pytest.raises(Refusal) as refused:
        check(url, NOBODY)
    assert refused.value.field == "url"


def test_an_ordinary_address_is_taken_as_it_is() -> None:
    """Path, query and port stay."""
    url = "https://psa.example:8443/hooks/accounting?tenant=a"
    assert check(url, NOBODY) == url
