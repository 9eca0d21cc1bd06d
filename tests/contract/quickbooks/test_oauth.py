"""OAuth over real HTTP: what Intuit is asked, and what each of its answers means.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0; words in
brackets: docs/sources.md.
"""

from __future__ import annotations

import base64
import datetime
import json
import logging
import socket
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import structlog

from services.quickbooks.environments import PRODUCTION, SANDBOX, Environment
from services.quickbooks.errors import AuthFailed, NotSent, Refused, Throttled, UnknownOutcome
from services.quickbooks.oauth import App, OAuth, discover
from services.quickbooks.transport import Timeouts

APP = App("fake-client-id", "fake-client-secret", "https://psa.example/v1/quickbooks/callback")

TOKENS = {
    "token_type": "bearer",
    "access_token": "fake-access-token",
    "refresh_token": "fake-refresh-token-2",
    "expires_in": 3600,
    "x_refresh_token_expires_in": 8726400,
    "x_refresh_token_hard_expires_in": 157680000,
}


@pytest.fixture
def oauth(environment: Environment) -> OAuth:
    """An app at the test's server."""
    return OAuth(APP, environment, Timeouts(connect=1, read=0.4, total=2))


def test_the_admin_is_sent_where_intuit_says() -> None:
    """The authorize address carries client, scope, redirect and state, and no secret [D-oauth]."""
    url = OAuth(APP, PRODUCTION).authorize_url("fake-state")
    assert url.startswith("https://appcenter.intuit.com/connect/oauth2?")
    assert parse_qs(urlsplit(url).query) == {
        "client_id": ["fake-client-id"],
        "redirect_uri": ["https://psa.example/v1/quickbooks/callback"],
        "response_type": ["code"],
        "scope": ["com.intuit.quickbooks.accounting"],
        "state": ["fake-state"],
    }


def test_a_sandbox_on_this_machine_keeps_its_scheme(oauth: OAuth, environment: Environment) -> None:
    """A local sandbox speaks http; its authorize address does too [ours]."""
    assert oauth.authorize_url("s").startswith(f"{environment.authorize}?")


def test_a_code_becomes_a_token_set(wire, oauth: OAuth) -> None:
    """Form body, Basic keys, and instants for every end, the hard one too (opt-in header) [D-oauth, B-token]."""
    wire.say(200, json.dumps(TOKENS), content_type="application/json")
    before = datetime.datetime.now(datetime.UTC)
    tokens = oauth.exchange_code("fake-code")
    (seen,) = wire.seen
    assert (seen.method, seen.path) == ("POST", "/oauth2/v1/tokens/bearer")
    assert dict(parse_qsl(seen.body.decode())) == {
        "grant_type": "authorization_code",
        "code": "fake-code",
        "redirect_uri": "https://psa.example/v1/quickbooks/callback",
    }
    keys = base64.b64encode(b"fake-client-id:fake-client-secret").decode()
    assert seen.headers["authorization"] == f"Basic {keys}"
    assert seen.headers["x-include-refresh-token-hard-expires-in"] == "true"
    assert (tokens.access_token, tokens.refresh_token) == ("fake-access-token", "fake-refresh-token-2")
    assert tokens.refresh_hard_expires_at is not None
    for instant, seconds in (
        (tokens.access_expires_at, 3600),
        (tokens.refresh_expires_at, 8726400),
        (tokens.refresh_hard_expires_at, 157680000),
    ):
        assert abs(instant - before - datetime.timedelta(seconds=seconds)) < datetime.timedelta(seconds=5)


def test_a_refresh_hands_out_whatever_came_back(wire, oauth: OAuth) -> None:
    """The refresh token may be another one; without the hard end there is none [D-oauth]."""
    wire.say(
        200, json.dumps({k: v for k, v in TOKENS.items() if "hard" not in k}), content_type="application/json"
    )
    tokens = oauth.refresh("fake-refresh-token-1")
    sent = dict(parse_qsl(wire.seen[0].body.decode()))
    assert (sent["grant_type"], sent["refresh_token"]) == ("refresh_token", "fake-refresh-token-1")
    assert wire.seen[0].headers["x-include-refresh-token-hard-expires-in"] == "true"
    assert tokens.refresh_token == "fake-refresh-token-2"
    assert tokens.refresh_hard_expires_at is None


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, '{"error":"invalid_grant","error_description":"Token invalid"}', "invalid_grant"),
        (401, '{"error":"invalid_client"}', "invalid_client"),
        (401, "", "invalid_client"),
    ],
)
def test_a_refused_grant_is_the_connections_end(
    wire, oauth: OAuth, status: int, body: str, reason: str
) -> None:
    """invalid_grant means reconnect, invalid_client wrong keys; each in a sentence, asked only once [D-oauth]."""
    wire.say(status, body)
    with pytest.raises(AuthFailed) as caught:
        oauth.refresh("fake-refresh-token-1")
    assert (caught.value.reason, caught.value.status, caught.value.intuit_tid) == (reason, status, "1-1")
    assert len(wire.seen) == 1


def test_other_refusals_do_not_end_a_connection(wire, oauth: OAuth) -> None:
    """A proxy's 403 page or a malformed request is no revocation [ours]."""
    wire.say(403, "<html>forbidden</html>")
    wire.say(400, '{"error":"invalid_request"}')
    for _ in range(2):
        with pytest.raises(Refused):
            oauth.refresh("fake-refresh-token-1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, ""),
        (503, '{"error":"invalid_grant"}'),
        (200, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, '{"access_token":"a","token_type":"bearer","expires_in":3600}'),
        (200, '{"access_token":"a","token_type":"bearer","expires_in":"soon","refresh_token":"r"}'),
    ],
)
def test_no_clear_answer_leaves_the_old_token_in_doubt(wire, oauth: OAuth, status: int, body: str) -> None:
    """Intuit may have changed the token already: that must be known as unknown [ours]."""
    wire.say(status, body, content_type="application/json")
    with pytest.raises(UnknownOutcome) as caught:
        oauth.refresh("fake-refresh-token-1")
    assert caught.value.intuit_tid == "1-1"


def test_a_cut_or_hanging_refresh_is_in_doubt_too(wire, oauth: OAuth) -> None:
    """The question has left; nobody knows what Intuit did with it [ours]."""
    wire.cut()
    wire.hang()
    for _ in range(2):
        with pytest.raises(UnknownOutcome):
            oauth.refresh("fake-refresh-token-1")


def test_a_refresh_that_never_left_is_safe() -> None:
    """No connection: the old token is as good as before [ours]."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        oauth = OAuth(
            APP, Environment(name="test", api=nowhere, token=f"{nowhere}/token", revoke=f"{nowhere}/revoke")
        )
        with pytest.raises(NotSent):
            oauth.refresh("fake-refresh-token-1")
        with pytest.raises(NotSent):
            oauth.revoke("fake-refresh-token-1")


def test_a_throttled_refresh_waits(wire, oauth: OAuth) -> None:
    """429 of the authorization server is neither an end nor a doubt [D-lim]."""
    wire.say(429, "", retry_after="9")
    with pytest.raises(Throttled) as caught:
        oauth.refresh("fake-refresh-token-1")
    assert caught.value.retry_after == 9


def test_revoking_twice_is_revoking(wire, oauth: OAuth) -> None:
    """JSON with the token and Basic keys; a token Intuit no longer knows is revoked already [D-oauth]."""
    wire.say(200, "")
    wire.say(400, '{"error":"invalid_token"}')
    wire.say(503, "")
    oauth.revoke("fake-refresh-token-1")
    oauth.revoke("fake-refresh-token-1")
    with pytest.raises(UnknownOutcome):
        oauth.revoke("fake-refresh-token-1")
    seen = wire.seen[0]
    assert (seen.path, json.loads(seen.body)) == (
        "/v2/oauth2/tokens/revoke",
        {"token": "fake-refresh-token-1"},
    )
    assert seen.headers["authorization"].startswith("Basic ")


def test_published_addresses_replace_the_known_ones(wire, environment: Environment) -> None:
    """The discovery document tells where Intuit answers now; one without an address is no answer [SDK]."""
    published = {
        "issuer": "https://oauth.platform.intuit.com/op/v1",
        "authorization_endpoint": "https://appcenter.example/connect",
        "token_endpoint": "https://oauth.example/bearer",
        "revocation_endpoint": "https://oauth.example/revoke",
        "userinfo_endpoint": "https://accounts.example/userinfo",
    }
    wire.say(200, json.dumps(published))
    wire.say(200, '{"issuer":"x"}')
    found = discover(environment)
    assert (found.authorize, found.token) == (
        "https://appcenter.example/connect",
        "https://oauth.example/bearer",
    )
    assert (found.revoke, found.userinfo) == (
        "https://oauth.example/revoke",
        "https://accounts.example/userinfo",
    )
    assert found.api == environment.api
    with pytest.raises(UnknownOutcome):
        discover(environment)


def test_no_token_is_ever_logged_or_shown(wire, oauth: OAuth, caplog) -> None:
    """The libraries below write tokens at DEBUG; here they do not, and a token set hides them [ours]."""
    caplog.set_level(logging.DEBUG)
    wire.say(200, json.dumps(TOKENS), content_type="application/json")
    wire.say(400, '{"error":"invalid_grant"}')
    wire.say(200, "")
    with structlog.testing.capture_logs() as lines:
        tokens = oauth.exchange_code("fake-code")
        with pytest.raises(AuthFailed) as caught:
            oauth.refresh("fake-refresh-token-2")
        oauth.revoke("fake-refresh-token-2")
    everything = caplog.text + json.dumps(lines) + repr(tokens) + repr(APP) + str(caught.value)
    for secret in ("fake-access-token", "fake-refresh-token", "fake-code", "fake-client-secret"):
        assert secret not in everything
    assert [line["intuit_tid"] for line in lines] == ["1-1", "1-3"]


def test_the_environments_are_intuits() -> None:
    """Every address as Intuit publishes it, each environment its own [SDK]."""
    assert PRODUCTION.api == "https://quickbooks.api.intuit.com"
    assert SANDBOX.api == "https://sandbox-quickbooks.api.intuit.com"
    assert PRODUCTION.token == SANDBOX.token == "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
    assert PRODUCTION.revoke == "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"


@pytest.mark.parametrize("field", ["api", "authorize", "token", "revoke", "discovery", "userinfo"])
def test_tokens_are_never_sent_in_the_clear_by_mistake(field: str) -> None:
    """An http address is refused by its setting's name, but on this machine or where it is allowed on purpose.

    [ours]
    """
    addresses = {"api": "https://a.example", field: "http://intuit.example/x"}
    with pytest.raises(ValueError, match=field):
        Environment(name="x", **addresses)
    Environment(name="x", plain_http=True, **addresses)
    for local in ("http://127.0.0.1:9/x", "http://localhost:9", "http://[::1]:9/"):
        Environment(name="x", **{**addresses, field: local})
    with pytest.raises(ValueError, match=field):
        Environment(name="x", **{**addresses, field: "quickbooks"})
