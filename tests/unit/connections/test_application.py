"""The operator's settings: where a browser may be sent back to, and which address is registered with Intuit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.configuration import Configuration
from services.connections.application import Application
from services.connections.intuit import Intuit
from services.connections.vault import Vault, new_key

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


@pytest.mark.parametrize(
    ("environment", "redirect_uri", "authorize", "fits"),
    [
        ("production", "https://sync.example/v1/quickbooks/callback", "", True),
        ("production", "http://sync.example/v1/quickbooks/callback", "", False),
        (
            "production",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:9000/connect",
            True,
        ),  # not Intuit's own
        ("sandbox", "http://localhost:8400/v1/quickbooks/callback", "", True),
    ],
)
def test_production_needs_https(environment: str, redirect_uri: str, authorize: str, fits: bool) -> None:
    """Where Intuit would refuse the redirect URI, the sentence says so and names the setting to mend."""
    settings = Configuration(environment=environment, quickbooks_authorize_url=authorize)
    found = Intuit(settings, Application(redirect_uri=redirect_uri), Vault([new_key()])).hindrance
    assert (found is None) == fits
    assert found is None or "QBO_REDIRECT_URI" in found


def test_verifier_tokens_are_read_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comma separated, blanks forgiven, and never shown."""
    monkeypatch.setenv("QBO_WEBHOOK_VERIFIER_TOKEN", "fake-new , fake-old,")
    application = Application()
    assert [token.get_secret_value() for token in application.webhook_verifier_tokens] == [
        "fake-new",
        "fake-old",
    ]
    assert "fake" not in repr(application)
