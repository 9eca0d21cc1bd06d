"""Edits that race: whoever has seen an older version is refused, and nothing of the other's edit is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from services.api import etags
from services.connections import companies
from services.connections.companies import Company
from tests.support.api import TENANT, Served
from tests.support.intuit import US, Noted


@pytest.fixture
def company(served: Served) -> Company:
    """A company to map and set things for."""
    with served.fleet.transaction(TENANT) as connection:
        return companies.activate(
            connection, TENANT, environment="sandbox", realm_id=US, actor="test", attention=Noted()
        )


def test_settings_that_changed_since_they_were_read(served: Served) -> None:
    """A stale ETag is 412 and sets nothing; without If-Match the write goes through as ever."""
    manager = served.manager
    etag = manager("GET", "/v1/settings").headers["ETag"]
    assert manager("GET", "/v1/settings", headers={"If-None-Match": etag}).status_code == 304
    first = manager("PUT", "/v1/settings/poll_interval", json={"value": 20}, headers={"If-Match": etag})
    assert first.status_code == 200, first.text
    late = manager("PUT", "/v1/settings/poll_interval", json={"value": 30}, headers={"If-Match": etag})
    assert (late.status_code, late.json()["code"]) == (412, "changed_meanwhile")
    late = manager("DELETE", "/v1/settings/poll_interval", headers={"If-Match": etag})
    assert late.status_code == 412
    assert manager.get("/v1/settings")["effective"]["poll_interval"] == 20
    etag = manager("GET", "/v1/settings").headers["ETag"]
    gone = manager("DELETE", "/v1/settings/poll_interval", headers={"If-Match": f'"x", W/{etag}'})
    assert gone.status_code == 200
    assert gone.headers["ETag"] == manager("GET", "/v1/settings").headers["ETag"]


def test_of_two_editors_at_once_one_is_refused(served: Served) -> None:
    """Eight editors have seen the same version: exactly one of them edits it."""
    manager = served.manager
    etag = manager("GET", "/v1/settings").headers["ETag"]

    def edit(number: int) -> int:
        body = {"value": 20 + number}
        return manager("PUT", "/v1/settings/poll_interval", json=body, headers={"If-Match": etag}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(edit, range(8))) == [200] + [412] * 7


def test_a_mapping_that_changed_since_it_was_read(served: Served, company: Company) -> None:
    """Each mapping has an ETag of its own; what is not there matches none, not even *."""
    manager, body = served.manager, {"kind": "item", "key": "svc", "external_id": "17"}
    assert manager("PUT", "/v1/mappings", json=body, headers={"If-Match": "*"}).status_code == 412
    tag = manager("PUT", "/v1/mappings", json=body).json()["mapping"]["etag"]
    assert manager.get("/v1/mappings")["data"][0]["etag"] == tag
    changed = {**body, "external_id": "18"}
    assert manager("PUT", "/v1/mappings", json=changed, headers={"If-Match": tag}).status_code == 200
    assert manager("PUT", "/v1/mappings", json=body, headers={"If-Match": tag}).status_code == 412
    where = {"kind": "item", "key": "svc"}
    assert manager("DELETE", "/v1/mappings", params=where, headers={"If-Match": tag}).status_code == 412
    assert manager("DELETE", "/v1/mappings", params=where, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "matches"),
    [('"a"', True), ('"b", "a"', True), ('W/"a"', True), ("*", True), ('"b"', False), ("", False)],
)
def test_headers_name_versions(header: str, matches: bool) -> None:
    """Lists, weak forms and the star, as RFC 9110 has them."""
    assert etags.matches(header, '"a"') == matches
