"""Subscriptions and notices over the API: life of a webhook, secrets shown once, the log, one tenant's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.api.keys import Scope
from services.exceptions import notices
from services.mapping import settings
from services.psa import lanes
from services.psa.sending import Sent
from tests.support.api import OTHER, TENANT, Caller, Served
from tests.support.telling import emit, publish, sample, tell

WEBHOOK = {"name": "psa", "url": "https://psa.example/hooks", "event_types": ["document.synced.v1"]}


def created(caller: Caller, **changes: Any) -> dict[str, Any]:
    """Subscribe; the answer with the secret."""
    answer = caller("POST", "/v1/subscriptions", json={**WEBHOOK, **changes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def attempted(served: Served, sent: Sent) -> None:
    """A worker makes the attempt that is due, and it ends like this."""
    with served.fleet.transaction("*") as connection:
        ((subscription_id, _),) = lanes.due(connection)
        lane = lanes.take(connection, subscription_id)
        assert lane is not None
        chosen = lanes.choose(connection, lane)
        assert isinstance(chosen, lanes.Next)
        lanes.record(connection, lane, chosen, sent, 12)
        lanes.release(connection, lane)


def test_a_webhook_lives_over_the_api(served: Served) -> None:
    """Created, listed, changed, paused, resumed, deleted; everything it does is in the timeline."""
    caller = served.manager
    made = created(caller)
    path = f"/v1/subscriptions/{made['subscription_id']}"
    assert [one["name"] for one in caller.get("/v1/subscriptions")["data"]] == ["psa"]
    changed = caller("PATCH", path, json={"url": "https://psa.example/new", "per_minute": 30}).json()
    assert (changed["url"], changed["per_minute"], changed["name"]) == ("https://psa.example/new", 30, "psa")
    assert caller("POST", f"{path}/pause", json={"reason": "upgrade"}).json()["state_reason"] == "upgrade"
    assert caller("POST", f"{path}/resume").json()["state"] == "active"
    assert caller("POST", f"{path}/resume").status_code == 409
    assert caller("DELETE", path).json() == {"deleted": True}
    assert caller("GET", path).status_code == 404
    with served.fleet.transaction(TENANT) as connection:
        noted = text("SELECT action FROM timeline WHERE subject_kind = 'subscription' ORDER BY position")
        actions = connection.execute(noted).scalars().all()
    assert actions == ["created", "changed", "paused", "resumed", "deleted"]


def test_a_secret_is_shown_once_and_kept_in_no_outcome(served: Served) -> None:
    """Also under an Idempotency-Key: the repeated answer is the same webhook without its secret."""
    caller, headers = served.manager, {"Idempotency-Key": "make-it-once"}
    first = caller("POST", "/v1/subscriptions", json=WEBHOOK, headers=headers).json()
    again = caller("POST", "/v1/subscriptions", json=WEBHOOK, headers=headers)
    assert first["secret"].startswith("whsec_")
    assert {**again.json(), "secret": first["secret"]} == first
    assert again.json().get("secret") is None
    assert again.headers["Idempotent-Replayed"] == "true"
    path = f"/v1/subscriptions/{first['subscription_id']}"
    rotated = caller("POST", f"{path}/rotate").json()["secret"]
    assert rotated.startswith("whsec_")
    assert rotated != first["secret"]
    assert "secret" not in caller.get(path)
    with served.fleet.transaction("*") as connection:
        bodies = connection.execute(text("SELECT string_agg(body, '') FROM api_outcome")).scalar_one()
    assert first["secret"] not in bodies


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://psa.example/hooks"}, "url"),
        ({"url": "https://127.0.0.1/hooks"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://user:secret@psa.example/"}, "url"),
        ({"url": "ftp://psa.example/"}, "url"),
        ({"url": "https://psa.example:99999/"}, "url"),
        ({"event_types": ["invoice.finalized.v1"]}, "event_types"),
        ({"name": "  "}, "name"),
    ],
)
def test_bad_webhooks_are_refused_by_field(served: Served, change: dict[str, Any], field: str) -> None:
    """Each refusal names the field and makes nothing."""
    answer = served.manager("POST", "/v1/subscriptions", json={**WEBHOOK, **change})
    assert answer.status_code == 422, answer.text
    assert any(error["field"].endswith(field) for error in answer.json()["errors"])
    assert served.manager.get("/v1/subscriptions")["data"] == []


def test_the_log_and_a_replay(served: Served) -> None:
    """What was sent, how it was answered, and again under the same id."""
    caller = served.manager
    path = f"/v1/subscriptions/{created(caller)['subscription_id']}"
    tell(served.fleet, TENANT, "inv-1")
    attempted(served, Sent("again", 503, "it answered 503", "busy"))
    (delivery,) = caller.get(f"{path}/deliveries", state="pending")["data"]
    shown = caller.get(f"{path}/deliveries/{delivery['delivery_id']}")
    assert (shown["attempts"], shown["status"], shown["error"]) == (1, 503, "it answered 503")
    assert [(one["outcome"], one["reply"], one["milliseconds"]) for one in shown["log"]] == [
        ("again", "busy", 12)
    ]
    assert caller("POST", f"{path}/deliveries/{delivery['delivery_id']}/replay").status_code == 409
    with served.fleet.transaction("*") as connection:
        connection.execute(text("UPDATE delivery SET due_at = clock_timestamp()"))
    attempted(served, Sent("delivered", 200))
    replayed = caller("POST", f"{path}/deliveries/{delivery['delivery_id']}/replay").json()
    assert (replayed["delivery_id"], replayed["state"], replayed["replays"]) == (
        delivery["delivery_id"],
        "pending",
        1,
    )
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    counted = caller("POST", f"{path}/replay", json={"since": since, "dry_run": True}).json()
    assert counted == {"events": 0}  # the only one is on its way
    sent = caller("POST", f"{path}/test").json()
    assert (sent["type"], sent["state"]) == ("webhook.test.v1", "pending")


def test_recording_in_algapsa_is_off_until_asked_for(served: Served) -> None:
    """One a tenant, of payments only; its API key is encrypted and never shown."""
    caller = served.manager
    given = {"url": "https://alga.example/", "api_key": "fake-alga-key"}
    made = caller("POST", "/v1/subscriptions/algapsa", json=given)
    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["url"]) == ("algapsa", "https://alga.example")
    assert all(type_.startswith("payment.") for type_ in made.json()["event_types"])
    assert caller("POST", "/v1/subscriptions/algapsa", json=given).status_code == 409
    path = f"/v1/subscriptions/{made.json()['subscription_id']}"
    assert caller("POST", f"{path}/rotate").status_code == 422
    assert caller("PATCH", path, json={"api_key": "fake-alga-key-2"}).status_code == 200
    assert "fake-alga-key" not in caller("GET", path).text
    with served.fleet.transaction("*") as connection:
        stored = bytes(connection.execute(text("SELECT secret FROM subscription")).scalar_one())
    assert served.context.intuit.vault.open(stored) == "fake-alga-key-2"


def test_another_tenant_sees_and_reaches_nothing(served: Served) -> None:
    """With the right ids and a full key of its own."""
    made = created(served.manager)
    tell(served.fleet, TENANT, "inv-1")
    path = f"/v1/subscriptions/{made['subscription_id']}"
    (delivery,) = served.manager.get(f"{path}/deliveries")["data"]
    stranger = served.caller(Scope.MANAGE, tenant=OTHER)
    assert stranger.get("/v1/subscriptions")["data"] == []
    assert stranger.get("/v1/notices")["data"] == []
    for method, where, body in (
        ("GET", path, None),
        ("PATCH", path, {"url": "https://evil.example/"}),
        ("DELETE", path, None),
        ("POST", f"{path}/rotate", None),
        ("POST", f"{path}/pause", {"reason": "mischief"}),
        ("POST", f"{path}/resume", None),
        ("POST", f"{path}/test", None),
        ("POST", f"{path}/replay", {"since": datetime.now(UTC).isoformat()}),
        ("GET", f"{path}/deliveries", None),
        ("GET", f"{path}/deliveries/{delivery['delivery_id']}", None),
        ("POST", f"{path}/deliveries/{delivery['delivery_id']}/replay", None),
    ):
        assert stranger(method, where, json=body).status_code == 404, (method, where)
    assert served.manager.get(path)["url"] == WEBHOOK["url"]


def test_reading_needs_no_more_than_reading(served: Served) -> None:
    """A key that reads may look and may not change."""
    made = created(served.manager)
    reader = served.caller(Scope.READ)
    path = f"/v1/subscriptions/{made['subscription_id']}"
    assert reader.get(path)["name"] == "psa"
    assert reader("POST", f"{path}/pause", json={"reason": "x"}).status_code == 403
    assert reader("POST", f"/v1/subscriptions/{uuid4()}/test").status_code == 403


def test_notices_are_listed_with_where_they_went(served: Served) -> None:
    """By kind and by page, each with its recipients; none when nobody was set."""
    with served.fleet.transaction(TENANT) as connection:
        notices.write(connection, TENANT, "backlog", "k1", "First", "Nobody was set")
        settings.put(
            connection, TENANT, settings.TENANT, "notice_recipients", ["a@psa.example"], actor="admin"
        )
        notices.write(connection, TENANT, "token", "k2", "Second", "Somebody is")
    first = served.manager.get("/v1/notices", limit=1)
    rest = served.manager.get("/v1/notices", cursor=first["next_cursor"])
    assert [one["title"] for one in first["data"] + rest["data"]] == ["Second", "First"]
    (told,) = first["data"][0]["told"]
    assert (told["channel"], told["recipient"], told["state"]) == ("mail", "a@psa.example", "pending")
    assert rest["data"][0]["told"] == []
    assert [one["title"] for one in served.manager.get("/v1/notices", kind="backlog")["data"]] == ["First"]
    assert served.manager.get("/v1/subscriptions")["data"] == []  # mail is no subscription of the tenant's


def test_the_feed_is_filtered_by_type(served: Served) -> None:
    """Only what was asked for, with a cursor that moves on; an unknown type is refused by name."""
    tell(served.fleet, TENANT, "inv-1", "inv-2")
    data = sample("payment.received.v1")
    publish(served.fleet, emit(served.fleet, TENANT, "payment.received.v1", data["payment_id"], data))
    page = served.manager.get("/v1/events", type=["payment.received.v1"])
    assert [one["type"] for one in page["data"]] == ["com.algapsa.accounting.payment.received.v1"]
    assert served.manager.get("/v1/events", after=page["next"])["data"] == []
    assert len(served.manager.get("/v1/events")["data"]) == 3
    refused = served.manager("GET", "/v1/events", params={"type": "payment.recorded.v1"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "query.type")
