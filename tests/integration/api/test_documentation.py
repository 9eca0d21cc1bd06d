"""What the API says about itself is true: examples go through, errors are problems, pages load nothing else."""

from __future__ import annotations

import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from structlog.testing import capture_logs

from messages.catalog import CATALOG
from services.api import create_app, documentation
from services.api.keys import Scope
from tests.support.api import TENANT, Served
from tests.support.attack import Routes
from tests.support.deadline import eventually
from tests.support.desk import World
from tests.support.ledger import company


@pytest.fixture
def document(served: Served) -> dict[str, Any]:
    """The OpenAPI document of the API that is served."""
    return dict(create_app(served.context).openapi())


def bodies(document: dict[str, Any]) -> list[tuple[str, str, str, Any]]:
    """Method, path, content type and example of every JSON body."""
    return [
        (method, path, kind, content["example"])
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if "json" in kind
    ]


def test_every_example_goes_through(served: Served, document: dict[str, Any]) -> None:
    """Each body of the document is understood; those that somebody wrote do what they say when the thing exists."""
    with served.fleet.transaction(TENANT) as connection:
        world = World(served.fleet, company(connection, tenant=TENANT), tenant=TENANT)
    world.failed("inv-1042", cause="mapping:item:x:svc-backup")
    exception = world.exception()
    ids = {"exception_id": str(exception.exception_id), "name": "poll_interval", "realm": "nobody"}
    paths = {(one.method.lower(), one.template): one for one in Routes(document, ids)}
    callers = {True: served.caller(Scope.EVENTS), False: served.caller(Scope.OPERATOR)}
    written = 0
    for method, path, kind, example in bodies(document):
        body = json.dumps(example).replace("8d1f0a52-31c7-4e0c-9a55-77b1f0c2a9e4", TENANT)
        body = body.replace("0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11", str(exception.exception_id))
        answer = callers[path == "/v1/events"](
            method.upper(),
            paths[method, path].path,
            params=paths[method, path].params,
            data=body.encode(),
            headers={"Content-Type": kind},
        )
        where = (method, path, body, answer.text)
        assert answer.status_code not in {400, 500, 503}, where
        if (method, path) in documentation.EXAMPLES and "batch" not in kind:
            assert answer.status_code in {200, 201, 202}, where
            written += 1
        elif answer.status_code == 422:
            assert answer.json()["code"] != "invalid_request", where
    assert written == len(documentation.EXAMPLES)


def test_whatever_goes_wrong_is_a_problem(served: Served) -> None:
    """Unknown addresses, methods, bodies and values: problem+json with a code, a sentence and the request's id."""
    for method, path, options, status in (
        ("GET", "/v1/nothing", {}, 404),
        ("GET", "/nothing", {}, 404),
        ("PATCH", "/v1/pause", {}, 405),
        ("POST", "/v1/pause", {"data": b"{"}, 400),
        ("POST", "/v1/pause", {"json": {}}, 422),
        ("GET", "/v1/operations", {"params": {"limit": "x"}}, 422),
        ("GET", "/v1/exceptions/not-an-id", {}, 422),
    ):
        answer = served.manager(method, path, headers={"X-Request-Id": "q-1"}, **options)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
        problem = answer.json()
        assert problem["status"] == status
        assert problem["code"]
        assert problem["detail"]
        assert problem["request_id"] == answer.headers["X-Request-Id"] == "q-1"


def test_an_error_of_ours_is_a_problem_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 says nothing of the inside, and names the request."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr("services.ledger.pauses.active", broken)
    with capture_logs() as logs:
        answer = served.manager("GET", "/v1/pause")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert [one["event"] for one in logs if one["log_level"] == "error"] == ["request_failed"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"]
    assert "secret" not in answer.text


def test_a_caller_who_hangs_up_is_no_error_of_ours(served: Served) -> None:
    """A body that ends in the middle is told in one line, and alarms nobody."""
    address = urlsplit(served.url)
    head = f"POST /v1/events HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
    key = served.caller(Scope.EVENTS).key
    with capture_logs() as logs:
        with socket.create_connection((address.hostname, address.port)) as caller:
            caller.sendall(f"{head}Authorization: Bearer {key}\r\nContent-Length: 1000\r\n\r\n{{".encode())
        eventually(lambda: any(one["event"] == "request" for one in logs), 10)
    assert [(one["event"], one["status"]) for one in logs if "status" in one] == [("request", 400)]
    assert [one for one in logs if one["log_level"] == "error"] == []


def test_the_events_page_has_every_event_and_loads_nothing(served: Served) -> None:
    """All event types with their fields and examples, without a script or an address elsewhere."""
    page = requests.get(f"{served.url}/docs/events", timeout=10)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for name in CATALOG:
        assert f"<code>{name}</code>" in page.text
    assert not re.search(r"<(script|link|img|iframe)|url\(", page.text)
    assert "net_amount" in page.text
    published = requests.get(f"{served.url}/asyncapi.json", timeout=10).json()
    assert published["asyncapi"] == "3.0.0"
    assert len(published["operations"]) == len(CATALOG)


READS = {
    "/v1/documents/sync-state",
    "/v1/readiness",
    "/v1/quickbooks/webhooks",  # Intuit repeats its posts by itself, and each notice is taken once
}
"""Posts that write nothing of their own, or are told apart by what they hold."""


def test_every_write_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    """A caller whose answer was lost may repeat any write; what only asks needs no key."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            names = {one["name"].lower() for one in operation.get("parameters", ())}
            writes = method != "get" and path not in READS
            if path.startswith("/v1"):
                assert ("idempotency-key" in names) == writes, (method, path)
