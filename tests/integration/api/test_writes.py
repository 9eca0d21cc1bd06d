"""Writes that are repeated, refusals that change nothing, and what every answer has in common."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from services.api import outcomes
from services.api.keys import Scope
from services.api.requests import MAX_BODY
from services.connections import companies
from services.database import Database
from tests.support.api import OTHER, TENANT, Served
from tests.support.intuit import US, Noted


@pytest.fixture
def connected(served: Served) -> Served:
    """An API whose tenant has a company."""
    with served.fleet.transaction(TENANT) as connection:
        companies.activate(
            connection, TENANT, environment="sandbox", realm_id=US, actor="test", attention=Noted()
        )
    return served


@pytest.fixture(scope="module")
def furnished(shared: Served) -> Served:
    """The shared API, its tenant with a company."""
    with shared.fleet.transaction(TENANT) as connection:
        companies.activate(
            connection, TENANT, environment="sandbox", realm_id=US, actor="test", attention=Noted()
        )
    return shared


def history(served: Served) -> int:
    """How many entries all timelines have, those of the test's own keys left out."""
    with served.fleet.transaction("*") as connection:
        entries = text("SELECT count(*) FROM timeline WHERE subject_kind <> 'api_key'")
        return int(connection.execute(entries).scalar_one())


BODY = {"kind": "item", "key": "svc-backup", "external_id": "17"}


def test_repeated_write_happens_once(connected: Served) -> None:
    """With the same key: the same answer, marked as a repetition, and no second effect."""
    headers = {"Idempotency-Key": "a-1"}
    first = connected.manager("PUT", "/v1/mappings", json=BODY, headers=headers)
    before = history(connected)
    second = connected.manager("PUT", "/v1/mappings", json=BODY, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert history(connected) == before


def test_same_key_for_another_request_is_refused(connected: Served) -> None:
    """Another body, address or method under a used key: 422, and nothing happens."""
    headers = {"Idempotency-Key": "a-1"}
    connected.manager("PUT", "/v1/mappings", json=BODY, headers=headers)
    before = history(connected)
    for method, path, body in (
        ("PUT", "/v1/mappings", {**BODY, "external_id": "18"}),
        ("PUT", "/v1/settings/poll_interval", {"value": 20}),
        ("POST", "/v1/pause", {"reason": "x"}),
    ):
        answer = connected.manager(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert history(connected) == before


def test_refused_write_may_be_mended_under_its_key(connected: Served) -> None:
    """A refusal is not kept: after mending the cause the same request goes through."""
    headers = {"Idempotency-Key": "a-1"}
    body = {**BODY, "realm_id": "404"}
    assert connected.manager("PUT", "/v1/mappings", json=body, headers=headers).status_code == 404
    with connected.fleet.transaction(TENANT) as connection:
        companies.activate(
            connection, TENANT, environment="sandbox", realm_id="404", actor="test", attention=Noted()
        )
    assert connected.manager("PUT", "/v1/mappings", json=body, headers=headers).status_code == 200


def test_same_moment_same_key(connected: Served) -> None:
    """Eight requests at once with one key: one effect, eight equal answers."""

    def send(_: int) -> Any:
        return connected.manager("PUT", "/v1/mappings", json=BODY, headers={"Idempotency-Key": "race"})

    before = history(connected)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 7
    assert history(connected) == before + 1


def test_a_repeated_disconnect_is_answered_as_before(connected: Served) -> None:
    """What goes beyond one transaction honours the key too: the same answer, and no 409 for the repetition."""
    path, headers = f"/v1/quickbooks/companies/{US}/disconnect", {"Idempotency-Key": "bye"}
    first = connected.manager("POST", path, headers=headers)
    second = connected.manager("POST", path, headers=headers)
    assert (first.status_code, second.status_code) == (200, 200), second.text
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert connected.manager("POST", path).status_code == 409


def test_keys_of_tenants_do_not_meet(connected: Served) -> None:
    """Another tenant's use of the same key is its own."""
    headers = {"Idempotency-Key": "same"}
    body = {"value": 30}
    for tenant in (TENANT, OTHER):
        caller = connected.caller(Scope.MANAGE, tenant=tenant)
        answer = caller("PUT", "/v1/settings/poll_interval", json=body, headers=headers)
        assert "idempotent-replayed" not in answer.headers
        assert answer.status_code == 200


def test_old_outcomes_are_forgotten(connected: Served, database_url: str) -> None:
    """The fleet's upkeep drops outcomes after a week, not before."""
    connected.manager("PUT", "/v1/mappings", json=BODY, headers={"Idempotency-Key": "a-1"})
    with connected.fleet.transaction("*") as connection:
        assert outcomes.forget(connection) == 0
    with Database(database_url, connected.fleet.role.OWNER) as owner, owner.transaction("*") as connection:
        connection.execute(text("UPDATE api_outcome SET created_at = created_at - interval '8 days'"))
    with connected.fleet.transaction("*") as connection:
        assert outcomes.forget(connection) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("PUT", "/v1/mappings", {**BODY, "externalid": "1"}, ["body.externalid"]),
        ("PUT", "/v1/mappings", {"kind": "item"}, ["body.external_id"]),
        ("PUT", "/v1/mappings", {**BODY, "kind": "thing"}, ["body.kind"]),
        ("PUT", "/v1/mappings", {**BODY, "external_id": ""}, ["external_id"]),
        ("PUT", "/v1/mappings", {**BODY, "external_id": "x" * 51}, ["external_id"]),
        ("PUT", "/v1/mappings", {**BODY, "key": ""}, ["key"]),
        ("PUT", "/v1/mappings", {**BODY, "details": {"x": "y" * 5000}}, ["details"]),
        ("PUT", "/v1/mappings", {**BODY, "kind": "discount_item"}, ["key"]),
        ("PUT", "/v1/quickbooks/credentials", {"client_id": "only-one-half"}, ["body.client_secret"]),
        ("PUT", "/v1/quickbooks/credentials", {"client_id": " ", "client_secret": "x"}, ["client_id"]),
        ("POST", "/v1/pause", {}, ["body.reason"]),
        ("POST", "/v1/pause", {"reason": "a\x00b"}, ["reason"]),
        ("PUT", "/v1/mappings", {**BODY, "details": {"a": ["\ud800"]}}, ["a"]),
        ("PUT", "/v1/settings/default_class", {"value": {"id": "\x00"}}, ["id"]),
        ("PUT", "/v1/settings/poll_interval", {"value": 0}, ["poll_interval"]),
        ("PUT", "/v1/settings/poll_interval", {"value": "soon"}, ["poll_interval"]),
        ("PUT", "/v1/settings/auto_sync", {"value": "yes"}, ["auto_sync"]),
        ("PUT", "/v1/settings/no_such_thing", {"value": 1}, ["no_such_thing"]),
        ("PUT", "/v1/settings/limiter_share", {"value": 0.5}, ["limiter_share"]),
        ("GET", "/v1/operations?stat=failed", None, ["query.stat"]),
        ("GET", "/v1/operations?state=broken", None, ["query.state"]),
        ("GET", "/v1/operations?limit=0", None, ["query.limit"]),
        ("GET", "/v1/operations?document_kind=invoice", None, ["document_id"]),
        ("GET", "/v1/operations/not-a-uuid", None, ["path.operation_id"]),
        ("GET", "/v1/exceptions?state=open&state=odd", None, ["query.state.1"]),
    ],
)
def test_bad_input_names_the_field_and_changes_nothing(
    method: str, path: str, body: Any, fields: list[str], furnished: Served
) -> None:
    """Whatever is wrong: a problem document that names the field, and not a row more than before."""
    before = history(furnished)
    answer = furnished.manager(method, path, json=body)
    problem = answer.json()
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in problem["errors"]] == fields
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert history(furnished) == before


def test_refusal_does_not_repeat_a_secret(shared: Served) -> None:
    """A malformed secret is not echoed."""
    body = {"client_id": "fake-client-id-1", "client_secret": "super secret"}
    answer = shared.manager("PUT", "/v1/quickbooks/credentials", json=body)
    assert answer.status_code == 422
    assert "super secret" not in answer.text


@pytest.mark.parametrize("cursor", ["x", "eyJ9", "WyIxIl0", "W10", "💥", "WyJhIiwgImIiXQ"])
def test_foreign_cursors_are_refused(cursor: str, shared: Served) -> None:
    """A cursor that is not of this list is an error, not an empty page."""
    for path in ("/v1/operations", "/v1/exceptions"):
        answer = shared.manager("GET", path, params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor")


@pytest.mark.parametrize(
    "place", ["/v1/operations?kind=%00", "/v1/operations/%00", "/connect/quickbooks?ticket=a%00"]
)
def test_nul_characters_in_addresses(place: str, shared: Served) -> None:
    """PostgreSQL has no text with NUL; such an address is refused at the door."""
    answer = shared.manager("GET", place)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_address")


@pytest.mark.parametrize(
    "body", ['{"reason": ', '{"reason": "a", "reason": "b"}', '{"reason": NaN}', "[" * 99]
)
def test_broken_json_is_refused(body: str, shared: Served) -> None:
    """A body that is no JSON, or that two readers could understand differently, says where it goes wrong."""
    before = history(shared)
    answer = shared.manager("POST", "/v1/pause", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] in {"bad_json", "too_deep"}
    assert answer.json()["errors"]
    assert history(shared) == before


def test_huge_body_is_cut_off(shared: Served) -> None:
    """More than the limit is refused before it is read in full."""
    answer = shared.manager("POST", "/v1/pause", data=b"x" * (MAX_BODY + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert [one["field"] for one in answer.json()["errors"]] == ["body"]


def test_request_ids_go_through(shared: Served) -> None:
    """The caller's id comes back; a strange one is replaced by ours."""
    answer = shared.manager("GET", "/v1/operations", headers={"X-Request-Id": "psa-42"})
    assert answer.headers["x-request-id"] == "psa-42"
    answer = shared.manager("GET", "/v1/operations", headers={"X-Request-Id": "a b\tc" + "d" * 80})
    assert len(answer.headers["x-request-id"]) == 36
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/v1/nothing", 404), ("PATCH", "/v1/mappings", 405)]
)
def test_unknown_addresses(method: str, path: str, code: int, shared: Served) -> None:
    """A place or method that does not exist answers with a problem that leads to the documentation."""
    answer = shared.manager(method, path)
    assert answer.status_code == code
    assert "/docs" in answer.json()["detail"]
