"""The operator's settings: where a browser may be sent back to, and which address is registered with Intuit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.configuration import Configuration
from services.connections.application import Application

ALLOWED = Application(return_to=["https://psa.example/settings", "http://127.0.0.1:3000"])


@pytest.mark.parametrize(
    "address",
    [
        "https://psa.example/settings",
        "https://psa.example/settings?tab=integrations",
        "https://psa.example/settings/accounting#card",
        "http://127.0.0.1:3000/anything",
        "http://127.0.0.1:3000",
    ],
)
def test_allowed_addresses(address: str) -> None:
    """An allowed place and what lies below it are places to return to."""
    assert ALLOWED.may_return_to(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/settings",
        "//psa.example/settings",
        "http://psa.example/settings",  # another scheme
        "https://psa.example:8443/settings",  # another port
        "https://psa.example/settingsx",  # not below
        "https://psa.example/",
        "https://psa.example.evil.test/settings",
        "https://psa.example@evil.test/settings",
        "https://user@psa.example/settings",
        "https://evil.test/?https://psa.example/settings",
        "https://psa.example/settings/../admin",
        "https://psa.example\\@evil.test/settings",
        "https://psa.example/settings\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "https://psa.example:port/settings",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    """Whatever only looks like an allowed place is not one."""
    assert not ALLOWED.may_return_to(address)


@given(st.text(max_size=60))
def test_nothing_but_listed_hosts(address: str) -> None:
    """No text whatsoever leads to a place when the list is empty."""
    assert not Application(return_to=[]).may_return_to(address)


def test_list_is_read_from_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """ALGASYNC_RETURN_TO holds several addresses separated by commas; a bad one is named."""
    monkeypatch.setenv("ALGASYNC_RETURN_TO", "https://one.example, https://two.example/psa")
    assert Application().return_to == ["https://one.example", "https://two.example/psa"]
    monkeypatch.setenv("ALGASYNC_RETURN_TO", "psa.example")
    with pytest.raises(ValidationError, match=r"ALGASYNC_RETURN_TO: 'psa\.example'"):
        Application()


def test_redirect_uri_is_shown_exactly() -> None:
    """The callback follows the public address, and a setting replaces it."""
    configuration = Configuration(public_url="https://sync.example/")
    assert Application().callback(configuration) == "https://sync.example/v1/quickbooks/callback"
    given = Application(redirect_uri="https://psa.example/api/integrations/qbo/callback")
    assert given.callback(configuration) == "https://psa.example/api/integrations/qbo/callback"
