"""The connection's life and the webhooks against the sandbox; each test names its rule.

Sources in brackets: docs/sources.md.
"""

from __future__ import annotations

import datetime
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests

from services.quickbooks import calls, webhooks
from services.quickbooks.entities import Customer
from services.quickbooks.errors import AuthFailed
from services.quickbooks.oauth import App, OAuth, TokenSet, discover
from services.quickbooks.query import select
from tests.support.deadline import eventually

APP = App("fake-client-id", "fake-client-secret", "https://psa.example/v1/quickbooks/callback")
DAY = 24 * 3600


@pytest.fixture
def oauth(books) -> OAuth:
    """Our app, registered at the sandbox."""
    books.control(
        "POST",
        "/apps",
        client_id=APP.client_id,
        client_secret=APP.client_secret,
        redirect_uris=[APP.redirect_uri],
        verifier_token="fake-verifier-token",
    )
    return OAuth(APP, books.environment)


def approved_code(books, oauth: OAuth) -> str:
    """Walk the redirects as an admin's browser does, up to the callback's code."""
    url = oauth.authorize_url("fake-state")
    assert requests.get(url, timeout=10).status_code == 200
    asked = dict(parse_qsl(urlsplit(url).query))
    approved = requests.post(
        url.partition("?")[0],
        data={**asked, "realm": books.realm, "decision": "approve"},
        allow_redirects=False,
        timeout=10,
    )
    callback = parse_qs(urlsplit(approved.headers["location"]).query)
    assert (callback["state"], callback["realmId"]) == (["fake-state"], [books.realm])
    return callback["code"][0]


def connected(books, oauth: OAuth) -> TokenSet:
    """Connect the company."""
    return oauth.exchange_code(approved_code(books, oauth))


def reads(books, tokens: TokenSet) -> bool:
    """Make a call with the access token of a set."""
    books.ports.token = tokens.access_token
    return bool(books.client.execute(calls.query(select("Customer"))).entities)


def test_a_company_is_connected_through_the_browser(books, oauth: OAuth) -> None:
    """Authorize, approve, code, tokens, call; ends are instants, the hard one five years away [D-oauth, B-token]."""
    tokens = connected(books, oauth)
    assert reads(books, tokens)
    now = datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=59) < tokens.access_expires_at - now <= datetime.timedelta(hours=1)
    assert 99 <= (tokens.refresh_expires_at - now).days <= 101
    assert tokens.refresh_hard_expires_at is not None
    assert 4.9 < (tokens.refresh_hard_expires_at - now).days / 365 < 5.1


def test_a_code_is_good_once(books, oauth: OAuth) -> None:
    """A second use of a code is invalid_grant [D-oauth]."""
    code = approved_code(books, oauth)
    oauth.exchange_code(code)
    with pytest.raises(AuthFailed) as caught:
        oauth.exchange_code(code)
    assert caught.value.reason == "invalid_grant"


def test_refresh_tokens_rotate_and_the_old_one_dies(books, oauth: OAuth) -> None:
    """The value changes about daily, and what came back must be kept [D-oauth, B-token]."""
    first = connected(books, oauth)
    assert oauth.refresh(first.refresh_token).refresh_token == first.refresh_token
    books.control("POST", "/clock", seconds=DAY + 60)
    second = oauth.refresh(first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert reads(books, second)
    books.control("POST", "/clock", seconds=2 * DAY)
    with pytest.raises(AuthFailed) as caught:
        oauth.refresh(first.refresh_token)
    assert caught.value.reason == "invalid_grant"
    assert oauth.refresh(second.refresh_token).access_token


def test_wrong_keys_are_not_a_lost_connection(books, oauth: OAuth) -> None:
    """invalid_client is about the app, not about the company [D-oauth]."""
    tokens = connected(books, oauth)
    wrong = OAuth(App(APP.client_id, "another-secret", APP.redirect_uri), books.environment)
    with pytest.raises(AuthFailed) as caught:
        wrong.refresh(tokens.refresh_token)
    assert caught.value.reason == "invalid_client"
    assert oauth.refresh(tokens.refresh_token).access_token


def test_a_revoked_connection_is_over(books, oauth: OAuth) -> None:
    """Revoke ends access and refresh; a second revoke is no error [D-oauth]."""
    tokens = connected(books, oauth)
    oauth.revoke(tokens.refresh_token)
    oauth.revoke(tokens.refresh_token)
    books.ports.refreshed = AuthFailed("the connection was revoked", reason="invalid_grant")
    with pytest.raises(AuthFailed):
        reads(books, tokens)
    with pytest.raises(AuthFailed):
        oauth.refresh(tokens.refresh_token)


def test_the_published_addresses_are_the_known_ones(books) -> None:
    """The discovery document names the endpoints in use [SDK]."""
    assert discover(books.environment) == books.environment


@pytest.mark.parametrize("format_", ["legacy", "cloudevents"])
def test_webhooks_of_either_format_are_verified_and_read(books, oauth: OAuth, wire, format_: str) -> None:
    """Signed on the raw body, old format or CloudEvents, same meaning [D-hook, B-event]."""
    books.control(
        "POST",
        "/apps",
        client_id=APP.client_id,
        client_secret=APP.client_secret,
        redirect_uris=[APP.redirect_uri],
        webhook_url=f"{wire.url}/hook",
        webhook_format=format_,
        verifier_token="fake-verifier-token",
    )
    wire.say(200, "", times=10)
    reads(books, connected(books, oauth))
    made = books.client.execute(
        calls.create("Customer", Customer(display_name="Zoë's"), requestid="c-1")
    ).one(Customer)
    books.bookkeeper("edit", entity="Customer", id=made.id, changes={"Notes": "by hand"})

    def heard() -> list[webhooks.Event]:
        posts = list(wire.seen)
        assert all(
            webhooks.verified(p.body, p.headers["intuit-signature"], "fake-verifier-token") for p in posts
        )
        assert not any(
            webhooks.verified(p.body + b" ", p.headers["intuit-signature"], "fake-verifier-token")
            for p in posts
        )
        read = [webhooks.parse(post.body) for post in posts]
        assert not any(notice.rejected for notice in read)
        events = [event for notice in read for event in notice.events]
        return events if {"created", "updated"} <= {event.operation for event in events} else []

    events = eventually(heard, what="webhooks of a created and an edited customer")
    assert {(event.realm, event.entity, event.id) for event in events} == {(books.realm, "Customer", made.id)}
    assert len({event.event_id for event in events}) == len(events)
