"""The exception list through the API: finding, acting, many at once, and who is told to have done it."""

from __future__ import annotations

import csv
import io
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.api.keys import Scope
from services.exceptions import types
from services.ledger import timeline
from tests.support.api import TENANT, Served
from tests.support.desk import World
from tests.support.ledger import company


@pytest.fixture
def world(served: Served) -> World:
    """The tenant of the API's key, with a company and operations that can fail."""
    with served.fleet.transaction(TENANT) as connection:
        return World(served.fleet, company(connection, tenant=TENANT), tenant=TENANT)


def opened(world: World, *names: str, **changes: Any) -> list[str]:
    """Failed operations of these documents; their exceptions' ids."""
    for name in names:
        world.failed(name, **changes)
    found = {one.entity_id: str(one.exception_id) for one in world.exceptions()}
    return [found[name] for name in names]


def test_the_life_of_one(served: Served, world: World) -> None:
    """Started, assigned, commented, ignored, reopened and retried: each answer shows it as it is then."""
    [one] = opened(world, "inv-1")
    manager = served.manager
    steps: list[tuple[str, dict[str, str] | None, str]] = [
        ("start", None, "in_progress"),
        ("assign", {"assignee": "dana@msp.example"}, "in_progress"),
        ("comments", {"comment": "asked the bookkeeper"}, "in_progress"),
        ("ignore", {"reason": "entered by hand"}, "ignored"),
        ("reopen", {"reason": "it was not"}, "open"),
        ("retry", {"reason": "mapped"}, "open"),
    ]
    for act, body, state in steps:
        answer = manager("POST", f"/v1/exceptions/{one}/{act}", json=body)
        assert (answer.status_code, answer.json()["state"]) == (200, state), answer.text
    shown = manager.get(f"/v1/exceptions/{one}")
    assert (shown["assignee"], shown["operation_state"]) == ("dana@msp.example", "queued")
    assert [entry["action"] for entry in shown["history"]][-6:] == [
        "exception_started",
        "exception_assigned",
        "exception_comment",
        "exception_ignored",
        "exception_reopened",
        "replayed",
    ]
    again = manager("POST", f"/v1/exceptions/{one}/retry", json={"reason": "once more"})
    assert (again.status_code, again.json()["code"]) == (409, "not_failed")


def test_the_timeline_says_who_and_from_where(served: Served, world: World) -> None:
    """Every entry an API call causes names actor, address, key and request."""
    [one] = opened(world, "inv-1")
    answer = served.manager("POST", f"/v1/exceptions/{one}/start", headers={"X-Request-Id": "psa-77"})
    assert answer.headers["X-Request-Id"] == "psa-77"
    with served.fleet.transaction(TENANT) as connection:
        *before, entry = timeline.read(connection, TENANT, "invoice", "inv-1")
    assert entry.actor == "key:test"
    assert entry.details["via"]["address"] == "127.0.0.1"
    assert entry.details["via"]["request"] == "psa-77"
    assert UUID(entry.details["via"]["key"])
    assert entry.intact
    assert all("via" not in one.details for one in before)


def test_many_at_once_have_a_result_each(served: Served, world: World) -> None:
    """What can be done is done, what cannot says why, and neither keeps the other."""
    first, second, third = opened(world, "inv-1", "inv-2", "inv-3")
    served.manager("POST", f"/v1/exceptions/{second}/ignore", json={"reason": "by hand"})
    ids = [first, second, str(uuid4()), third]
    body = {"action": "ignore", "exception_ids": ids, "reason": "all by hand"}
    told = served.manager("POST", "/v1/exceptions/bulk", json=body).json()
    assert (told["done"], told["refused"]) == (2, 2)
    assert [(row["exception_id"], row["code"]) for row in told["data"]] == list(
        zip(ids, ["done", "exception_ignored", "not_found", "done"], strict=True)
    )
    body = {"action": "reopen", "exception_ids": ids[:2], "reason": "after all"}
    assert served.manager("POST", "/v1/exceptions/bulk", json=body).json()["done"] == 2
    body = {"action": "assign", "exception_ids": [first], "assignee": "dana"}
    assert served.manager("POST", "/v1/exceptions/bulk", json=body).json()["done"] == 1
    assert served.manager.get("/v1/exceptions", assignee="dana")["data"][0]["exception_id"] == first
    refused = served.manager(
        "POST", "/v1/exceptions/bulk", json={"action": "retry", "exception_ids": [first]}
    )
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.reason")


def test_a_repeated_bulk_act_does_nothing_twice(served: Served, world: World) -> None:
    """Under the same Idempotency-Key each row is done at most once, also after an interruption half way."""
    ids = opened(world, "inv-1", "inv-2", "inv-3")
    headers = {"Idempotency-Key": "month-end-1"}
    body = {"action": "retry", "exception_ids": ids, "reason": "mapped"}
    first = served.manager("POST", "/v1/exceptions/bulk", json=body, headers=headers).json()
    for one in world.exceptions():
        assert one.operation_attempt == 2
    second = served.manager("POST", "/v1/exceptions/bulk", json=body, headers=headers).json()
    assert first == second
    assert {one.operation_attempt for one in world.exceptions()} == {2}
    other = served.manager("POST", "/v1/exceptions/bulk", json={**body, "reason": "x"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_cause_is_previewed_and_released(served: Served, world: World) -> None:
    """The dry run names what would start and starts nothing; the release starts exactly that."""
    ids = opened(world, "inv-1", "inv-2")
    opened(world, "inv-3", cause="mapping:term:c:net30")
    [widest, _] = served.manager.get("/v1/exceptions/causes")["data"]
    assert (widest["cause"], widest["exceptions"], widest["releasable"]) == ("mapping:item:c:svc", 2, 2)
    body = {"cause": widest["cause"], "reason": "mapped", "dry_run": True}
    preview = served.manager("POST", "/v1/exceptions/causes/release", json=body).json()
    assert {one.operation_attempt for one in world.exceptions()} == {1}
    released = served.manager("POST", "/v1/exceptions/causes/release", json={**body, "dry_run": False}).json()
    for told in (preview, released):
        assert {row["exception_id"] for row in told["data"]} == set(ids)
        assert (told["done"], told["left"]) == (2, 0)
    states = {one.entity_id: one.operation_state for one in world.exceptions()}
    assert states == {"inv-1": "queued", "inv-2": "queued", "inv-3": "failed"}


def test_an_edit_of_what_has_changed_is_refused(served: Served, world: World) -> None:
    """With the ETag of an older version: 412 and nothing happens; with the present one it goes through."""
    [one] = opened(world, "inv-1")
    seen = served.manager("GET", f"/v1/exceptions/{one}")
    etag = seen.headers["ETag"]
    unchanged = served.manager("GET", f"/v1/exceptions/{one}", headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    served.manager("POST", f"/v1/exceptions/{one}/comments", json={"comment": "wait"})
    body = {"reason": "by hand"}
    late = served.manager("POST", f"/v1/exceptions/{one}/ignore", json=body, headers={"If-Match": etag})
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    assert world.exception().state == "open"
    etag = served.manager("GET", f"/v1/exceptions/{one}").headers["ETag"]
    done = served.manager("POST", f"/v1/exceptions/{one}/ignore", json=body, headers={"If-Match": etag})
    assert done.status_code == 200
    assert done.headers["ETag"] == served.manager("GET", f"/v1/exceptions/{one}").headers["ETag"]


def test_the_list_is_found_sorted_and_exported(served: Served, world: World) -> None:
    """Filters, search and order of the list and of its CSV are the same."""
    opened(world, "inv-1", amount=500)
    opened(world, "inv-2", amount=700, client_id="cl-2")
    opened(world, "inv-3", amount=None)
    manager = served.manager
    by_amount = manager.get("/v1/exceptions", sort="amount", limit=2)
    assert [one["entity_id"] for one in by_amount["data"]] == ["inv-2", "inv-1"]
    rest = manager.get("/v1/exceptions", sort="amount", limit=2, cursor=by_amount["next_cursor"])
    assert [one["entity_id"] for one in rest["data"]] == ["inv-3"]
    for question, wanted in (
        ({"amount_from": 600}, {"inv-2"}),
        ({"client_id": "cl-2"}, {"inv-2"}),
        ({"search": "INV-3"}, {"inv-3"}),
        ({"opened_before": "2000-01-01T00:00:00Z"}, set()),
    ):
        page = manager.get("/v1/exceptions", **question)
        assert {one["entity_id"] for one in page["data"]} == wanted
        assert page["counts"]["open"] == len(wanted)
        exported = manager("GET", "/v1/exceptions/export", params=question)
        assert exported.headers["Content-Type"].startswith("text/csv")
        assert {row["id"] for row in csv.DictReader(io.StringIO(exported.text))} == wanted
    other = manager("GET", "/v1/exceptions", params={"sort": "newest", "cursor": by_amount["next_cursor"]})
    assert (other.status_code, other.json()["code"]) == (422, "bad_cursor")


def test_types_are_told_and_reading_needs_no_more_than_reading(served: Served, world: World) -> None:
    """A reader sees everything and changes nothing."""
    [one] = opened(world, "inv-1")
    reader = served.caller(Scope.READ)
    assert [told["name"] for told in reader.get("/v1/exceptions/types")["data"]] == list(types.NAMES)
    assert reader.get(f"/v1/exceptions/{one}")["links"]
    for path in (f"/{one}/start", "/bulk", "/causes/release"):
        assert reader("POST", f"/v1/exceptions{path}", json={}).status_code in {403, 422}
    assert world.exception().state == "open"
