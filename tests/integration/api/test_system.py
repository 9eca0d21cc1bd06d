"""Alive, ready, figures, and documentation that needs nothing from elsewhere."""

from __future__ import annotations

import re

import requests
from sqlalchemy import text

from services.database import Database, Role
from tests.support.api import Served


def test_alive_and_ready(served: Served, database_url: str) -> None:
    """Ready says which migration the database is at; one that is behind makes the API not ready, but alive."""
    assert served.nobody("GET", "/healthz").json() == {"status": "alive"}
    assert served.nobody("GET", "/readyz").json()["status"] == "ready"
    with Database(database_url, Role.OWNER) as owner, owner.engine.begin() as connection:
        connection.execute(text("RESET ROLE"))
        connection.execute(text("SET ROLE NONE"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001_roles'"))
    answer = served.nobody("GET", "/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_migrated")
    assert "algasync migrate" in answer.json()["detail"]
    assert served.nobody("GET", "/healthz").status_code == 200


def test_metrics_name_routes_not_ids(served: Served) -> None:
    """A series per route template; no tenant, realm or id appears."""
    served.manager("GET", "/v1/quickbooks/companies/9341450000000001")
    figures = served.nobody("GET", "/metrics").text
    assert 'route="/v1/quickbooks/companies/{realm}"' in figures
    assert "9341450000000001" not in figures


def test_documentation_loads_nothing_from_elsewhere(served: Served) -> None:
    """The page and what it refers to come from our own server."""
    page = requests.get(f"{served.url}/docs", timeout=10)
    assert page.status_code == 200
    places = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert places
    for place in places:
        assert place.startswith("/"), place
        assert requests.get(served.url + place, timeout=10).status_code == 200
    assert "openapi.json" in page.text


def test_openapi_describes_every_endpoint(served: Served) -> None:
    """Each has a summary, a description and what refusals look like; bodies refuse unknown fields."""
    document = requests.get(f"{served.url}/openapi.json", timeout=10).json()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            if path.startswith("/v1"):
                assert "4XX" in operation["responses"], (method, path)
                assert operation["security"], (method, path)
    given = [name for name in document["components"]["schemas"] if name.endswith("Given")]
    assert given
    for name in given:
        assert document["components"]["schemas"][name]["additionalProperties"] is False, name


def test_head_shows_what_get_shows_without_its_body(served: Served) -> None:
    """HEAD is answered wherever GET is: load balancers ask `/healthz` with it."""
    for caller, path in ((served.nobody, "/healthz"), (served.manager, "/v1/exceptions")):
        shown, head = caller("GET", path), caller("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(shown.content))


def test_a_wrong_method_is_told_all_that_the_address_takes(served: Served) -> None:
    """`Allow` names the methods of every endpoint at the address, not those of the first one found."""
    for path, allowed in {
        "/v1/events": "GET, HEAD, POST",
        "/v1/mappings": "DELETE, GET, HEAD, PUT",
        "/v1/exceptions/causes/release": "POST",
        "/v1/settings/poll_interval": "DELETE, PUT",
    }.items():
        answer = served.manager("PATCH", path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["Allow"] == allowed
