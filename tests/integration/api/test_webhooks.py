"""Intuit's webhooks as Intuit sends them: signed, repeated, mixed, in two formats, answered in time.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
import requests
from pydantic import SecretStr
from sqlalchemy import text

from services.connections import webhooks
from services.database import Database, Role
from services.inbound import schedule
from tests.support.api import OTHER, TENANT, Served
from tests.support.deadline import eventually
from tests.support.intuit import APP, GB, US
from tests.support.sandbox import Sandbox

VERIFIER, OLDER = "fake-verifier-token-new", "fake-verifier-token-old"
PATH = "/v1/quickbooks/webhooks"


@pytest.fixture
def told(served: Served) -> Served:
    """An API that knows two verifier tokens; two tenants have a company each, whose next poll is an hour away."""
    served.context.intuit.application.webhook_verifier_tokens = [SecretStr(VERIFIER), SecretStr(OLDER)]
    served.admin.connected(TENANT, US)
    served.admin.connected(OTHER, GB)
    with served.fleet.transaction("*") as connection:
        schedule.open_due(connection)
        connection.execute(text("UPDATE change_feed SET due_at = clock_timestamp() + interval '1 hour'"))
    return served


def signature(raw: bytes, token: str = VERIFIER) -> str:
    """The header that Intuit sends."""
    return base64.b64encode(hmac.new(token.encode(), raw, hashlib.sha256).digest()).decode()


def event(number: int, realm: str = US, kind: str = "payment.created") -> dict[str, Any]:
    """A CloudEvent of a company."""
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "intuit.fake",
        "type": f"qbo.{kind}.v1",
        "time": "2026-03-31T12:00:00.123456789Z",
        "intuitentityid": str(number),
        "intuitaccountid": realm,
        "data": {},
    }


def post(served: Served, body: Any, token: str = VERIFIER, **headers: str) -> requests.Response:
    """Send a body as Intuit would, signed with a token."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {
        "Content-Type": "application/cloudevents+json",
        "intuit-signature": signature(raw, token),
        **headers,
    }
    return served.nobody("POST", PATH, data=raw, headers=sent)


def outcome(answer: requests.Response) -> dict[str, int]:
    """What became of the events that were posted; zeros left out."""
    assert answer.status_code == 200, answer.text
    return {name: count for name, count in answer.json().items() if count}


def woken(served: Served) -> set[str]:
    """Realms whose poll is due now because of a webhook."""
    found = """SELECT c.realm_id FROM change_feed f JOIN company c USING (company_id)
                WHERE f.due_at <= clock_timestamp() AND f.cause = 'webhook'"""
    with served.fleet.transaction("*") as connection:
        return set(connection.execute(text(found)).scalars())


def stored(served: Served) -> int:
    """How many events are remembered."""
    with served.fleet.transaction("*") as connection:
        return connection.execute(text("SELECT count(*) FROM webhook_event")).scalar_one()


@pytest.mark.parametrize("form", ["cloudevents", "legacy"])
def test_a_payment_in_quickbooks_wakes_its_company(told: Served, sandbox: Sandbox, form: str) -> None:
    """The bookkeeper receives a payment; Intuit's own post, in either format, wakes that company and no other."""
    app = {
        "client_id": APP[0],
        "client_secret": APP[1],
        "redirect_uris": [told.context.intuit.redirect_uri],
        "webhook_url": told.url + PATH,
        "webhook_format": form,
        "verifier_token": VERIFIER,
    }
    requests.post(f"{sandbox.control}/apps", json=app, timeout=10).raise_for_status()
    sandbox.enter(US, "Customer", {"DisplayName": "Blue Summit Dental"})
    eventually(lambda: woken(told), 10)
    assert woken(told) == {US}

    def answered() -> list[int]:
        attempts = requests.get(f"{sandbox.control}/webhooks", timeout=10).json()["attempts"]
        return [attempt["status"] for attempt in attempts]

    eventually(lambda: answered() == [200], 10, what="the sandbox has noted our answer")


def test_one_post_may_speak_of_several_tenants(told: Served) -> None:
    """Companies of two tenants and one of nobody in one post: both are woken, the third is counted and left."""
    answer = post(told, [event(1), event(2, GB), event(3, "9999999999")])
    assert outcome(answer) == {"new": 2, "unknown": 1, "companies": 2}
    assert woken(told) == {US, GB}
    assert stored(told) == 2


def test_a_repeated_event_wakes_nobody(told: Served) -> None:
    """In the same post or a later one: it is counted, and costs no look at the change feed."""
    assert outcome(post(told, [event(1), event(1)])) == {"new": 1, "repeated": 1, "companies": 1}
    with told.fleet.transaction("*") as connection:
        connection.execute(text("UPDATE change_feed SET due_at = clock_timestamp() + interval '1 hour'"))
    assert outcome(post(told, [event(1)])) == {"repeated": 1}
    assert woken(told) == set()


@pytest.mark.parametrize(
    ("bad", "counted"),
    [
        ({"specversion": "1.0", "id": "x"}, "unreadable"),
        (event(7) | {"type": "qbo.payment.exploded.v1"}, "unreadable"),
        (event(7) | {"time": "yesterday"}, "unreadable"),
        ("no object", "unreadable"),
        (event(7) | {"intuitaccountid": "1\x00"}, "unknown"),
        (event(7) | {"intuitaccountid": "\ud800"}, "unknown"),
    ],
)
def test_one_bad_event_never_refuses_the_batch(told: Served, bad: Any, counted: str) -> None:
    """Intuit would hold back everything that comes after: the bad one is counted, its neighbours wake."""
    assert outcome(post(told, [event(1), bad, event(2)])) == {"new": 2, counted: 1, "companies": 1}


def test_ids_of_any_kind_are_remembered(told: Served) -> None:
    """Event ids are opaque: very long ones, and characters that PostgreSQL cannot hold, are told apart."""
    odd = [event(1) | {"id": id_} for id_ in ("a\x00", "a", "\ud800", "x" * 100_000)]
    assert outcome(post(told, odd)) == {"new": 4, "companies": 1}
    assert outcome(post(told, odd)) == {"repeated": 4}


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000])
def test_nonsense_that_intuit_signed_is_taken(told: Served, raw: bytes) -> None:
    """Refusing would have it sent again for ever, and hold back all that follows."""
    assert outcome(post(told, raw)) == {"unreadable": 1}


def test_a_wrong_signature_is_refused_and_stores_nothing(told: Served) -> None:
    """A missing, wrong or somebody else's signature, or a changed body: 401, no event, nobody woken."""
    raw = json.dumps([event(1)]).encode()
    for given in ("", "AAAA", signature(raw, "another"), signature(raw + b" ")):
        answer = post(told, raw, **{"intuit-signature": given})
        assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    answer = told.nobody("POST", PATH, data=raw)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    assert VERIFIER not in answer.text
    assert (stored(told), woken(told)) == (0, set())


def test_tokens_are_changed_without_a_gap(told: Served) -> None:
    """While both are set, posts signed with either are taken."""
    assert outcome(post(told, [event(1)], OLDER))["new"] == 1
    assert outcome(post(told, [event(2)], VERIFIER))["new"] == 1


def test_without_a_token_nothing_is_taken(served: Served) -> None:
    """Not even an unsigned post: Intuit is told to come again, the operator which setting is missing."""
    answer = served.nobody("POST", PATH, data=b"[]")
    assert (answer.status_code, answer.json()["code"]) == (401, "no_verifier_token")
    assert "QBO_WEBHOOK_VERIFIER_TOKEN" in answer.json()["detail"]


def test_news_that_nobody_polls_costs_no_read(told: Served) -> None:
    """An item or a vendor changed: remembered, and the company is not woken."""
    assert outcome(post(told, [event(1, kind="item.updated"), event(2, kind="vendor.created")])) == {"new": 2}
    assert woken(told) == set()


def test_changed_preferences_are_read_again(told: Served) -> None:
    """The company's facts are due at once instead of in a day."""
    assert outcome(post(told, [event(1, kind="preferences.updated")])) == {"new": 1}
    with told.fleet.transaction("*") as connection:
        rows = connection.execute(text("SELECT realm_id FROM company WHERE facts_read_at IS NULL")).scalars()
        assert list(rows) == [US]


def test_a_busy_database_makes_intuit_come_again(told: Served) -> None:
    """Answered within three seconds with 503, nothing stored; the repeated post is taken."""
    with told.fleet.transaction("*") as connection:
        connection.execute(text("SELECT 1 FROM change_feed FOR UPDATE"))
        began = time.monotonic()
        answer = post(told, [event(1)])
        assert time.monotonic() - began < 3
    assert answer.status_code == 503
    assert stored(told) == 0
    assert outcome(post(told, [event(1)])) == {"new": 1, "companies": 1}


def test_events_are_forgotten_after_a_week(told: Served, database_url: str) -> None:
    """Younger ones stay."""
    post(told, [event(1), event(2, GB)])
    with Database(database_url, Role.OWNER) as owner, owner.transaction(TENANT) as connection:
        age = "UPDATE webhook_event SET seen_at = seen_at - interval '8 days' WHERE tenant_id = :tenant"
        connection.execute(text(age), {"tenant": TENANT})
    with told.fleet.transaction("*") as connection:
        assert webhooks.forget(connection) == 1
    assert stored(told) == 1
