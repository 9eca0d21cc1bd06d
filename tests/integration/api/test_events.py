"""Billing events in over HTTP, accounting events out by cursor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import messages
import outbox
from services.api.keys import Scope
from tests.support.api import OTHER, TENANT, Caller, Served

SAMPLES = Path(messages.__file__).parent / "samples"


@pytest.fixture
def emitter(served: Served) -> Caller:
    """A PSA without a common database."""
    return served.caller(Scope.EVENTS)


@pytest.fixture(scope="module")
def sender(shared: Served) -> Caller:
    """A PSA whose events are refused."""
    return shared.caller(Scope.EVENTS)


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """A sample event as a PSA would send it: not numbered yet."""
    event: dict[str, Any] = json.loads((SAMPLES / f"com.algapsa.{name}.json").read_text())
    event.pop("sequence")
    return {**event, "tenantid": TENANT, **changes}


def stored(served: Served) -> list[tuple[str, int]]:
    """The outbox: type and sequence of each event, oldest first."""
    with served.fleet.transaction("*") as connection:
        rows = connection.execute(text("SELECT type, sequence FROM outbox_event ORDER BY event_id, sequence"))
        return [(row.type, row.sequence) for row in rows]


def test_one_event_is_taken(served: Served, emitter: Caller) -> None:
    """202 once it is stored, with its number; the same id again changes nothing and answers the same."""
    event = sample("billing.invoice.finalized.v1")
    for _ in range(2):
        answer = emitter("POST", "/v1/events", json=event)
        assert answer.status_code == 202, answer.text
        assert answer.json() == {"data": [{"id": event["id"], "sequence": 1}]}
    assert stored(served) == [("invoice.finalized.v1", 1)]


def test_a_batch_is_taken_whole(served: Served, emitter: Caller) -> None:
    """Several events in one request, answered in their order."""
    events = [sample("billing.invoice.finalized.v1"), sample("billing.payment.recorded.v1")]
    answer = emitter("POST", "/v1/events", json=events)
    assert answer.status_code == 202, answer.text
    assert [one["id"] for one in answer.json()["data"]] == [event["id"] for event in events]
    assert len(stored(served)) == 2


def test_a_batch_with_one_bad_event_is_refused_whole(shared: Served, sender: Caller) -> None:
    """Nothing is stored, and the place of the bad event stands before the field's name."""
    bad = sample("billing.invoice.finalized.v1")
    bad["data"]["total"] += 1
    answer = sender("POST", "/v1/events", json=[sample("billing.payment.recorded.v1"), bad])
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_data")
    assert all(error["field"].startswith("[1].") for error in answer.json()["errors"])
    assert stored(shared) == []


@pytest.mark.parametrize(
    ("spoil", "code", "field"),
    [
        (lambda event: event.update(type="com.algapsa.billing.invoice.imagined.v1"), "unknown_type", "type"),
        (
            lambda event: event.update(type="com.algapsa.billing.invoice.finalized.v9"),
            "unknown_version",
            "type",
        ),
        (lambda event: event.update(specversion="0.3"), "not_cloudevents", "specversion"),
        (lambda event: event.update(sequence=4), "invalid_envelope", "sequence"),
        (lambda event: event["data"].pop("currency"), "invalid_data", "data.currency"),
    ],
)
def test_bad_events_name_the_field(spoil: Any, code: str, field: str, shared: Served, sender: Caller) -> None:
    """Each kind of mistake has its code and names its field; nothing is stored."""
    event = sample("billing.invoice.finalized.v1")
    spoil(event)
    answer = sender("POST", "/v1/events", json=event)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert stored(shared) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[1]", b'"x"', b"null", b'{"a":1,"a":2}', b"\xff\xfe"])
def test_bodies_that_are_no_events(body: bytes, shared: Served, sender: Caller) -> None:
    """Whatever the bytes: a refusal in words, and nothing is stored."""
    answer = sender("POST", "/v1/events", data=body)
    assert answer.status_code in {400, 422}
    assert answer.json()["errors"]
    assert stored(shared) == []


def test_events_of_another_tenant_are_refused(shared: Served, sender: Caller) -> None:
    """A key hands in events of its own tenant only."""
    answer = sender("POST", "/v1/events", json=sample("billing.invoice.finalized.v1", tenantid=OTHER))
    assert (answer.status_code, answer.json()["code"]) == (403, "wrong_tenant")
    assert stored(shared) == []


def test_our_own_events_are_not_handed_in(shared: Served, sender: Caller) -> None:
    """Accounting events are ours to emit."""
    event = sample("accounting.connection.restored.v1")
    answer = sender("POST", "/v1/events", json=event)
    assert (answer.status_code, answer.json()["code"]) == (422, "not_a_billing_event")


def test_id_reused_for_another_event_is_a_conflict(served: Served, emitter: Caller) -> None:
    """The same event id with other content is refused."""
    event = sample("billing.invoice.finalized.v1")
    assert emitter("POST", "/v1/events", json=event).status_code == 202
    event["data"]["customer_memo"] = "something else"
    answer = emitter("POST", "/v1/events", json=event)
    assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")
    assert [one["field"] for one in answer.json()["errors"]] == ["id"]


def test_feed_is_read_by_cursor(served: Served) -> None:
    """Each page goes on where the one before ended, and an empty one says where to ask next."""
    told = {
        "company": {"company_id": "6f1d2c3b-4a59-4e68-8776-95a4b3c2d1e0", "realm_id": "1"},
        "cause": {"check": "test"},
        "reason": "authorization_gone",
        "since": "2026-04-20T00:00:00Z",
        "restored_at": "2026-04-21T00:00:00Z",
    }
    reader = served.caller(Scope.READ)
    first = reader.get("/v1/events")
    assert first["data"] == []
    with served.fleet.transaction(TENANT) as connection:
        ids = [
            outbox.emit(
                connection, TENANT, "connection.restored.v1", told["company"]["company_id"], told
            ).event_id
            for _ in range(3)
        ]
    with served.fleet.transaction("*") as connection:
        connection.execute(text("SELECT accounting_event_append(:ids)"), {"ids": ids})
    page = reader.get("/v1/events", after=first["next"], limit=2)
    assert [event["id"] for event in page["data"]] == [str(one) for one in ids[:2]]
    assert page["complete"]
    rest = reader.get("/v1/events", after=page["next"])
    assert [event["id"] for event in rest["data"]] == [str(ids[2])]
    assert reader.get("/v1/events", after=rest["next"]) == {
        "data": [],
        "next": rest["next"],
        "complete": True,
    }
    assert served.caller(Scope.READ, tenant=OTHER).get("/v1/events")["data"] == []
    assert reader("GET", "/v1/events", params={"after": "x"}).status_code == 422
