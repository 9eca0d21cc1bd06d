"""API keys: shown once, stored as a hash, bound to tenant and scopes, rotated and revoked."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.api import keys
from services.api.keys import Scope
from services.ledger import timeline
from services.refusals import Refusal
from tests.support.api import TENANT, Caller, Served


def status(served: Served, secret: str, path: str = "/v1/operations") -> int:
    """What the API answers to this key."""
    return Caller(served.url, secret)("GET", path).status_code


def test_key_is_shown_once_and_stored_as_a_hash(served: Served) -> None:
    """The database holds neither the secret nor anything it follows from; the list shows its beginning."""
    with served.fleet.transaction(TENANT) as connection:
        made = keys.create(connection, TENANT, name="PSA", scopes=["accounting:read"], actor="op")
        stored = str(connection.execute(text("SELECT k::text FROM api_key k")).all())
        [listed] = keys.listed(connection, TENANT)
    assert made.secret.startswith("algasync_")
    assert len(made.secret) >= 50
    assert made.secret not in stored
    assert made.secret not in repr(made)
    assert listed.prefix == made.secret[:15]
    assert status(served, made.secret) == 200


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_both_headers_work(header: str, shared: Served) -> None:
    """As a bearer token, and in the PSA's own header."""
    key = shared.manager.key
    value = f"Bearer {key}" if header == "Authorization" else key
    assert Caller(shared.url)("GET", "/v1/operations", headers={header: value}).status_code == 200


@pytest.mark.parametrize("secret", ["", "algasync_", "algasync_wrong", "Bearer", "' OR 1=1 --", "x" * 5000])
def test_unknown_keys_are_refused(secret: str, shared: Served) -> None:
    """Anything that is no key: 401, with the scheme to use."""
    answer = Caller(shared.url, secret)("GET", "/v1/operations")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] in {"no_key", "bad_key"}


def test_scopes_decide(served: Served) -> None:
    """Each scope opens its own doors: reading, managing (which includes reading), handing in events."""
    doors = {
        "read": ("GET", "/v1/operations", {}),
        "manage": ("POST", "/v1/pause", {"json": {"reason": "test"}}),
        "events": ("POST", "/v1/events", {"json": []}),
    }
    expected = {
        Scope.READ: {"read": 200, "manage": 403, "events": 403},
        Scope.MANAGE: {"read": 200, "manage": 200, "events": 403},
        Scope.EVENTS: {"read": 403, "manage": 403, "events": 422},
        Scope.OPERATOR: {"read": 200, "manage": 200, "events": 403},
    }
    for scope, doors_of_scope in expected.items():
        caller = served.caller(scope)
        for door, code in doors_of_scope.items():
            method, path, options = doors[door]
            answer = caller(method, path, **options)
            assert answer.status_code == code, (scope, door, answer.text)
            if code == 403:
                assert answer.json()["code"] == "scope_missing"


def test_rotation_leaves_time_to_change_over(served: Served) -> None:
    """The successor works at once, the old key until the grace period ends."""
    with served.fleet.transaction(TENANT) as connection:
        old = keys.create(connection, TENANT, name="PSA", scopes=["accounting:read"], actor="op")
        new = keys.rotate(connection, old.key.key_id, actor="op")
    assert (new.key.name, new.key.scopes) == ("PSA", ["accounting:read"])
    assert (status(served, old.secret), status(served, new.secret)) == (200, 200)
    with served.fleet.transaction(TENANT) as connection:
        keys.rotate(connection, old.key.key_id, actor="op", grace=timedelta(0))
    assert (status(served, old.secret), status(served, new.secret)) == (401, 200)


def test_revoked_key_is_refused_at_once(served: Served) -> None:
    """After revoking, the next request is refused; doing it twice, or rotating it, is an error; all is audited."""
    with served.fleet.transaction(TENANT) as connection:
        made = keys.create(connection, TENANT, name="PSA", scopes=["accounting:read"], actor="op")
    assert status(served, made.secret) == 200
    with served.fleet.transaction(TENANT) as connection:
        assert keys.revoke(connection, made.key.key_id, actor="op").revoked_at is not None
    assert status(served, made.secret) == 401
    with served.fleet.transaction(TENANT) as connection:
        for again in (keys.revoke, keys.rotate):
            with pytest.raises(Refusal, match="was revoked"):
                again(connection, made.key.key_id, actor="op")
        entries = timeline.read(connection, TENANT, "api_key", str(made.key.key_id))
        [listed] = keys.listed(connection, TENANT)
    assert [entry.action for entry in entries] == ["created", "revoked"]
    assert listed.last_used_at is not None


@pytest.mark.parametrize(
    ("name", "scopes", "field"),
    [
        ("", ["operator"], "name"),
        ("x" * 101, ["operator"], "name"),
        ("a", [], "scopes"),
        ("a", ["root"], "scopes"),
    ],
)
def test_bad_keys_are_not_made(name: str, scopes: list[str], field: str, shared: Served) -> None:
    """A key needs a name and known scopes; the error names the field."""
    with shared.fleet.transaction(TENANT) as connection, pytest.raises(Refusal) as refused:
        keys.create(connection, TENANT, name=name, scopes=scopes, actor="op")
    assert refused.value.field == field


def test_unknown_key_id(shared: Served) -> None:
    """Revoking what does not exist says so."""
    with shared.fleet.transaction(TENANT) as connection, pytest.raises(Refusal, match="no API key"):
        keys.revoke(connection, uuid4(), actor="op")


def test_the_api_cannot_read_the_keys(shared: Served) -> None:
    """The API's database role may ask for the owner of one hash, and not look at the table."""
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        shared.context.database.transaction(TENANT) as connection,
    ):
        connection.execute(text("SELECT secret_hash FROM api_key"))
