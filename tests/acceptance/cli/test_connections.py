"""`algasync connections` as an operator uses it: from the Intuit app's keys to a disconnected company."""

from __future__ import annotations

import pytest
import requests

from services.connections.vault import new_key
from tests.support.installation import Installation
from tests.support.intuit import APP, GB, US, browse
from tests.support.sandbox import Sandbox

TENANT = ("--tenant", "acme")
OF_US, OF_GB = ("--company", US), ("--company", GB)


def connects(installation: Installation, realm: str, *options: str) -> None:
    """Ask for the address and open it in a browser, which approves the company at Intuit."""
    address = installation.json("connections", "connect", *TENANT, *options)["connect_url"]
    page = browse(address, realm)
    assert (page.status_code, "is connected" in page.text) == (200, True), page.text


def saves(installation: Installation) -> None:
    """Save the Intuit app's keys; the secret comes by standard input."""
    installation("connections", "credentials", "set", APP[0], *TENANT, stdin=f"{APP[1]}\n")


def test_from_keys_to_disconnect(installation: Installation) -> None:
    """Keys, the address to open, two companies, the default, health, history, and one of them disconnected."""
    installation.start()
    empty = installation("connections", "credentials", "show", *TENANT, exit_code=1)
    assert "not ready" in empty
    assert f"{installation.url}/v1/quickbooks/callback" in empty
    saves(installation)
    shown = installation("connections", "credentials", "show", *TENANT)
    assert shown.startswith("Credentials Ready")
    assert "••••0001" in shown
    assert APP[1] not in shown
    connects(installation, US)
    connects(installation, GB)
    made = installation.json("connections", "make-default", *TENANT, *OF_GB)
    assert made["company"]["is_default"]
    listed = installation.json("connections", "list", *TENANT)["connections"]
    assert [(one["realm_id"], one["state"], one["is_default"]) for one in listed] == [
        (US, "active", False),
        (GB, "active", True),
    ]
    card = installation.json("connections", "health", *TENANT, *OF_US)
    assert (card["company"]["name"], card["last_cycle"]) == ("Sandbox Company_US_1", None)
    assert card["token"]["days_left"] in (99, 100, 101)
    assert card["reads_this_month"]["total"] == 2
    told = installation("connections", "health", *TENANT)  # of the default company
    assert "Sandbox Company_GB_1" in told
    assert "Account and settings" in told
    gone = installation.json("connections", "disconnect", *TENANT, *OF_GB)
    assert (gone["company"]["state"], gone["revoked"]) == ("disconnected", True)
    assert installation.json("connections", "health", *TENANT, *OF_GB, exit_code=1)["token"] is None
    history = installation.json("connections", "timeline", *TENANT, *OF_GB)["timeline"]
    assert [(one["actor"], one["action"]) for one in history] == [
        ("dana", "connected"),
        ("dana", "made_default"),
        ("dana", "disconnected"),
        ("dana", "revoked"),
    ]
    connects(installation, GB, *OF_GB)  # one click, no keys again
    assert "reconnected" in installation("connections", "timeline", *TENANT, *OF_GB)


def test_first_cursor(installation: Installation) -> None:
    """Set before the first cycle; a moment to come is refused and changes nothing."""
    installation.start()
    saves(installation)
    connects(installation, US)
    refused = installation.json("connections", "set-cursor", "2100-01-01", *TENANT, exit_code=2)
    assert (refused["error"]["field"], "not come yet" in refused["error"]["message"]) == ("cursor", True)
    assert installation.json("connections", "health", *TENANT)["cursor"] is None
    said = installation("connections", "set-cursor", "2026-01-31", *TENANT)
    assert "Sandbox Company_US_1" in said
    card = installation.json("connections", "health", *TENANT)
    assert card["cursor"].startswith("2026-01-31T00:00:00")
    last = installation.json("connections", "timeline", *TENANT)["timeline"][-1]
    assert (last["actor"], last["action"]) == ("dana", "cursor_set")


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (("connect",), "config_missing", ""),
        (("health",), "no_company", "--company"),
        (("timeline", "--company", "77"), "unknown_company", "--company"),
        (("make-default", "--company", "77"), "unknown_company", "--company"),
        (("disconnect", "--company", "77"), "unknown_company", "--company"),
        (("set-cursor", "7d", "--company", "77"), "unknown_company", "--company"),
    ],
)
def test_what_is_not_there_is_named(
    installation: Installation, words: tuple[str, ...], code: str, field: str
) -> None:
    """An error is one JSON object with code, field and a sentence, and an exit code that is not 0."""
    exit_code = 1 if code == "config_missing" else 2
    error = installation.json("connections", *words, *TENANT, exit_code=exit_code)["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert len(error["message"].split()) > 5


def test_half_an_app_is_refused(installation: Installation) -> None:
    """An empty secret stores nothing, and the answer names it; clearing what is not there is said."""
    error = installation.json("connections", "credentials", "set", APP[0], *TENANT, stdin="\n", exit_code=2)
    assert error["error"]["field"] == "client_secret"
    assert not installation.json("connections", "credentials", "show", *TENANT, exit_code=1)["credentials"][
        "ready"
    ]
    assert not installation.json("connections", "credentials", "clear", *TENANT, exit_code=1)["cleared"]


def test_credentials_in_use_are_not_cleared(installation: Installation) -> None:
    """Refused by name while a company is connected with them; gone after the disconnect."""
    installation.start()
    saves(installation)
    connects(installation, US)
    error = installation.json("connections", "credentials", "clear", *TENANT, exit_code=1)["error"]
    assert (error["code"], US in error["message"]) == ("company_connected", True)
    installation("connections", "disconnect", *TENANT, *OF_US)
    assert installation.json("connections", "credentials", "clear", *TENANT)["cleared"]


def test_disconnect_when_intuit_is_away(installation: Installation, sandbox: Sandbox) -> None:
    """Disconnected all the same; exit code 1 and a sentence say that Intuit did not confirm."""
    installation.start()
    saves(installation)
    connects(installation, US)
    installation.settings["ALGASYNC_QUICKBOOKS_REVOKE_URL"] = "http://127.0.0.1:9/revoke"
    said = installation("connections", "disconnect", *TENANT, *OF_US, exit_code=1)
    assert "did not confirm" in said
    assert installation.json("connections", "list", *TENANT)["connections"][0]["state"] == "disconnected"


def test_a_lost_key_is_explained(installation: Installation) -> None:
    """Secrets encrypted with a key that is not set any more: a sentence, no traceback."""
    saves(installation)
    installation.settings["ALGASYNC_SECRET_KEYS"] = new_key()
    error = installation.json("connections", "credentials", "show", *TENANT, exit_code=2)["error"]
    assert (error["code"], error["field"]) == ("vault", "ALGASYNC_SECRET_KEYS")


def test_an_address_is_good_once(installation: Installation) -> None:
    """What `connect` prints is used up by the browser that opened it."""
    installation.start()
    saves(installation)
    address = installation("connections", "connect", *TENANT).splitlines()[0]
    browse(address, US)
    assert requests.get(address, timeout=10).status_code == 400
