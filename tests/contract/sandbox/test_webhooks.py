"""Webhooks: both formats, signature, order, retries, merge and void events.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest

from services.sandbox.server import Sandbox
from tests.contract.sandbox.books import APP, Books, open_books
from tests.support.deadline import eventually

VERIFIER = "verifier-of-the-test"


class Endpoint:
    """An app's endpoint: what arrived, and the status it answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.posts.append((dict(self.headers.items()), body))
                self.send_response(endpoint.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def events(self, at_least: int = 1) -> list[dict[str, Any]]:
        """All CloudEvents that arrived, in order; none while there are fewer than `at_least`."""
        events = [event for _, body in self.posts for event in json.loads(body)]
        return events if len(events) >= at_least else []

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def attempts(books: Books) -> list[dict[str, Any]]:
    """Every delivery that was tried."""
    found: list[dict[str, Any]] = books.control("GET", "/webhooks")["attempts"]
    return found


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint on this machine."""
    served = Endpoint()
    yield served
    served.close()


@pytest.fixture
def books(own_sandbox: Sandbox, endpoint: Endpoint) -> Iterator[Books]:
    """A company connected to an app with an endpoint."""
    opened = open_books(own_sandbox)
    register(opened, endpoint)
    yield opened
    opened.session.close()


def register(books: Books, endpoint: Endpoint, form: str = "cloudevents") -> None:
    """The app registers its endpoint."""
    body = {"client_id": APP.client_id, "client_secret": APP.client_secret, "webhook_url": endpoint.url}
    books.control("POST", "/apps", {**body, "webhook_format": form, "verifier_token": VERIFIER})


def test_cloud_events(books: Books, endpoint: Endpoint) -> None:
    """One event for each change, with type, entity, company, nanoseconds and empty data [B-event]."""
    invoice = books.invoice()
    event = eventually(endpoint.events)[0]
    assert event["type"] == "qbo.invoice.created.v1"
    assert (event["specversion"], event["intuitentityid"], event["intuitaccountid"], event["data"]) == (
        "1.0",
        invoice["Id"],
        books.realm,
        {},
    )
    assert len(event["time"].partition(".")[2]) == len("179851517Z")
    assert endpoint.posts[0][0]["content-type"] == "application/cloudevents+json"


def test_signature_is_over_the_raw_body(books: Books, endpoint: Endpoint) -> None:
    """intuit-signature is base64(HMAC-SHA256(verifier token, body)) [D-hook]."""
    books.invoice()
    headers, body = eventually(lambda: endpoint.posts)[0]
    expected = hmac.new(VERIFIER.encode(), body, hashlib.sha256).digest()
    assert base64.b64decode(headers["intuit-signature"]) == expected


def test_legacy_format(books: Books, endpoint: Endpoint) -> None:
    """The older format groups by company and names entity and operation [B-event]."""
    register(books, endpoint, "legacy")
    invoice = books.invoice()
    body = json.loads(eventually(lambda: endpoint.posts)[0][1])
    notice = body["eventNotifications"][0]
    row = notice["dataChangeEvent"]["entities"][0]
    assert notice["realmId"] == books.realm
    assert (row["id"], row["operation"], row["name"]) == (invoice["Id"], "Create", "Invoice")
    assert row["lastUpdated"].endswith("Z")


def test_verbs(books: Books, endpoint: Endpoint) -> None:
    """Create, update, void, delete and merge each say so; a merge names the survivor and the vanished id.

    [D-hook, B-event]
    """
    first, second = books.invoice(), books.invoice()
    books.post("/invoice", {"Id": first["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "x"})
    books.post("/invoice", {"Id": first["Id"], "SyncToken": "1"}, operation="void")
    books.post("/invoice", {"Id": second["Id"], "SyncToken": "0"}, operation="delete")
    books.desk("merge-customers", {"loser": "2", "survivor": "1"})
    events = eventually(lambda: endpoint.events(7))
    kinds = [event["type"].split(".")[1:3] for event in events]
    assert kinds[:5] == [["invoice", verb] for verb in ("created", "created", "updated", "voided", "deleted")]
    merged = next(event for event in events if event["type"] == "qbo.customer.merged.v1")
    assert (merged["intuitentityid"], merged["data"]) == ("1", {"deletedid": "2"})


def test_tax_codes_and_company_info_are_silent(books: Books, endpoint: Endpoint) -> None:
    """There are no webhooks for TaxCode and CompanyInfo, but for Preferences there are [D-hook]."""
    books.desk("edit", {"entity": "TaxCode", "id": "3", "changes": {"Active": False}})
    books.desk("edit", {"entity": "CompanyInfo", "id": "1", "changes": {"CompanyName": "New"}})
    books.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    events = eventually(endpoint.events)
    assert [event["type"] for event in events] == ["qbo.preferences.updated.v1"]


def test_retries_hold_back_later_events(books: Books, endpoint: Endpoint) -> None:
    """Without a 200 the same events come again after 10 s, then 20 s; later ones wait behind them [D-hook]."""
    endpoint.status = 500
    first = books.invoice()
    eventually(lambda: len(endpoint.posts) == 1)
    second = books.invoice()
    books.control("POST", "/clock", {"seconds": 11})
    eventually(lambda: len(endpoint.posts) == 2)
    books.control("POST", "/clock", {"seconds": 11})
    eventually(lambda: [row["status"] for row in books.control("GET", "/webhooks")["attempts"]] == [500, 500])
    endpoint.status = 200
    books.control("POST", "/clock", {"seconds": 10})
    eventually(lambda: len(endpoint.posts) == 4)
    ids = [[event["intuitentityid"] for event in json.loads(body)] for _, body in endpoint.posts]
    assert ids == [[first["Id"]]] * 3 + [[second["Id"]]]
    eventually(lambda: books.control("GET", "/webhooks")["waiting"] == {APP.client_id: []})


def test_the_whole_schedule_of_retries(books: Books, endpoint: Endpoint) -> None:
    """10 s, 20 s, 30 s, 5 min, 20 min, 2 h, 4 h, 6 h, then every 6 h, for ever; never sooner [D-hook]."""
    endpoint.status = 503
    books.invoice()
    hour = 3600
    for number, wait in enumerate((10, 20, 30, 300, 1200, 2 * hour, 4 * hour, 6 * hour, 6 * hour, 6 * hour)):
        eventually(lambda number=number: len(attempts(books)) > number)
        books.control("POST", "/clock", {"seconds": wait})
    eventually(lambda: len(attempts(books)) == 11)
    gaps = [later["at"] - earlier["at"] for earlier, later in pairwise(attempts(books))]
    wanted = (10, 20, 30, 300, 1200, 2 * hour, 4 * hour, 6 * hour, 6 * hour, 6 * hour)
    assert all(wait <= gap < wait + 9 for gap, wait in zip(gaps, wanted, strict=True)), gaps
    assert len({tuple(attempt["events"]) for attempt in attempts(books)}) == 1


def test_a_post_holds_a_hundred_events(books: Books, endpoint: Endpoint) -> None:
    """What waits is sent in posts of at most a hundred, in order [B-event]."""
    endpoint.status = 500
    rows = [{"entity": "Customer", "body": {"DisplayName": f"Client {row}"}} for row in range(120)]
    books.desk("create-many", {"entries": rows})
    eventually(lambda: attempts(books))
    endpoint.status = 200
    books.control("POST", "/clock", {"seconds": 11})
    events = eventually(lambda: endpoint.events(220))
    assert [len(json.loads(body)) for _, body in endpoint.posts] == [100, 100, 20]
    ids = [int(event["intuitentityid"]) for event in events[100:]]
    assert ids == sorted(ids)


def test_only_200_is_an_answer(books: Books, endpoint: Endpoint) -> None:
    """A redirect is not followed, and anything but 200 is repeated [D-hook]."""
    endpoint.status = 302
    books.invoice()
    eventually(lambda: [attempt["status"] for attempt in attempts(books)] == [302])
    assert books.control("GET", "/webhooks")["waiting"][APP.client_id]


def test_sending_by_mail_is_told(books: Books, endpoint: Endpoint) -> None:
    """Emailed is a verb of its own [D-hook]."""
    made = books.invoice()
    headers = {"Content-Type": "application/octet-stream"}
    sent = books.raw("POST", f"/invoice/{made['Id']}/send", params={"sendTo": "a@b.example"}, headers=headers)
    assert sent.status_code == 200, sent.text
    events = eventually(lambda: endpoint.events(2))
    assert [event["type"] for event in events] == ["qbo.invoice.created.v1", "qbo.invoice.emailed.v1"]


def test_a_garbled_notice_says_nothing(books: Books, endpoint: Endpoint) -> None:
    """By trouble an event comes without saying what it is about, among others that do [ours]."""
    books.trouble("garble", entity="webhook", times=1)
    books.invoice()
    kept = books.invoice()
    bad, good = eventually(lambda: endpoint.events(2))
    assert ("type" in bad, "intuitentityid" in bad, good["intuitentityid"]) == (False, False, kept["Id"])


def test_notices_may_be_lost_or_doubled(books: Books, endpoint: Endpoint) -> None:
    """Delivery is not guaranteed: troubles lose a notice or send it twice with the same id [D-hook]."""
    books.trouble("lose", entity="webhook", times=1)
    books.invoice()
    books.trouble("double", entity="webhook", times=1)
    kept = books.invoice()
    events = eventually(lambda: endpoint.events(2))
    assert [event["intuitentityid"] for event in events] == [kept["Id"]] * 2
    assert events[0]["id"] == events[1]["id"]


def test_only_connected_companies_are_told_about(books: Books, endpoint: Endpoint) -> None:
    """After a disconnect an app hears nothing of the company [D-hook]."""
    books.control("POST", f"/companies/{books.realm}/tokens", {"action": "revoke"})
    books.desk("edit", {"entity": "Customer", "id": "1", "changes": {"Notes": "x"}})
    books.authorize()
    books.desk("edit", {"entity": "Customer", "id": "2", "changes": {"Notes": "x"}})
    assert [event["intuitentityid"] for event in eventually(endpoint.events)] == ["2"]
