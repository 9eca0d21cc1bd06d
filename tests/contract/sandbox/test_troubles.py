"""The bad day: each trouble does to a request what it says, and only to the requests it names.

Source: https://developer.intuit.com/app/developer/qbo/docs/develop/troubleshooting/error-codes and answers seen live;
what cuts and hangs is ours.
"""

from __future__ import annotations

import time

import pytest
import requests

from tests.contract.sandbox.books import Books, invoice_body


def count(us: Books) -> int:
    """How many invoices there are."""
    return len(us.control("GET", f"/companies/{us.realm}/objects/Invoice"))


def test_cut_before_and_after_the_commit(us: Books) -> None:
    """Cut before: connection closed, nothing done. Cut after: done, no answer; the replay finds the reply.

    [D-field, ours]
    """
    us.trouble("cut_before", entity="Invoice", times=1)
    with pytest.raises(requests.ConnectionError):
        us.send("/invoice", invoice_body(), requestid="t1")
    assert count(us) == 0
    us.trouble("cut_after", entity="Invoice", times=1)
    with pytest.raises(requests.ConnectionError):
        us.send("/invoice", invoice_body(), requestid="t1")
    assert count(us) == 1
    us.post("/invoice", invoice_body(), requestid="t1")
    assert count(us) == 1


def test_cut_within_the_answer(us: Books) -> None:
    """Half of an answer arrives: the client must not take it for a whole one [ours]."""
    us.trouble("cut_within", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        us.send("/invoice", invoice_body())
    assert count(us) == 1


@pytest.mark.parametrize(("kind", "done"), [("hang_before", 0), ("hang_after", 1)])
def test_hang(us: Books, kind: str, done: int) -> None:
    """No answer until the client gives up; with `seconds` the connection is cut by itself [ours]."""
    us.trouble(kind, times=1)
    with pytest.raises(requests.ReadTimeout):
        us.session.post(
            f"{us.sandbox.addresses.api}/v3/company/{us.realm}/invoice",
            json=invoice_body_floats(),
            timeout=0.2,
        )
    assert count(us) == done
    us.trouble(kind, times=1, seconds=0.05)
    with pytest.raises(requests.ConnectionError):
        us.send("/invoice", invoice_body())


def invoice_body_floats() -> dict[str, object]:
    """An invoice for a client that knows no decimals."""
    detail = {"ItemRef": {"value": "1"}, "TaxCodeRef": {"value": "NON"}}
    line = {"Amount": 1.5, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
    return {"CustomerRef": {"value": "1"}, "Line": [line]}


@pytest.mark.parametrize(
    ("rule", "status", "text"),
    [
        ({"kind": "throttle"}, 429, '<Error code="3001">'),
        ({"kind": "throttle", "format": "json"}, 429, '"code":"3001"'),
        ({"kind": "unauthorized"}, 401, '"code":"3200"'),
        ({"kind": "unauthorized", "format": "xml"}, 401, '<Error code="3200">'),
        ({"kind": "forbidden"}, 403, '"code":"3100"'),
        ({"kind": "company_status"}, 403, '"code":"6190"'),
        ({"kind": "server_error"}, 503, "<html>"),
        ({"kind": "server_error", "status": 502}, 502, "<html>"),
        ({"kind": "fault", "status": 200}, 200, '"code":"10000"'),
        ({"kind": "fault", "code": "140", "status": 500}, 500, '"code":"140"'),
    ],
)
def test_refusing_troubles(us: Books, rule: dict[str, object], status: int, text: str) -> None:
    """Each refusing trouble answers its status and body, and nothing is done [D-err, seen]."""
    us.control("POST", "/troubles", {"realm": us.realm, **rule})
    answer = us.send("/invoice", invoice_body())
    assert answer.status_code == status
    assert text in answer.text
    assert count(us) == 0


def test_retry_after_on_a_throttle(us: Books) -> None:
    """A throttle may carry Retry-After (no public transcript shows one) [D-lim, switch]."""
    us.trouble("throttle", retry_after=3)
    assert us.raw("GET", "/term/4").headers["retry-after"] == "3"


def test_rules_hit_what_they_name(us: Books, open_company: object) -> None:
    """Realm, method, entity, operation, path, skip and times narrow a rule [ours]."""
    rule = us.trouble("server_error", entity="invoice", operation="update", method="POST", skip=1, times=1)
    invoice = us.invoice()
    body = {"Id": invoice["Id"], "sparse": True, "PrivateNote": "x"}
    statuses = [us.send("/invoice", {**body, "SyncToken": token}).status_code for token in ("0", "1", "1")]
    assert statuses == [200, 503, 200]
    seen = next(row for row in us.control("GET", "/troubles") if row["id"] == rule["id"])
    assert (seen["seen"], seen["hits"]) == (2, 1)
    us.trouble("server_error", path="/query")
    assert us.raw("GET", "/query", params={"query": "SELECT * FROM Term"}).status_code == 503
    us.get("/term/4")


def test_probability_is_repeatable(us: Books) -> None:
    """Chance comes from the sandbox's seed; never means never, always means always [ours]."""
    us.trouble("server_error", probability=0.0)
    assert us.raw("GET", "/term/4").status_code == 200
    us.trouble("server_error", probability=1.0)
    assert us.raw("GET", "/term/4").status_code == 503


def test_latency(us: Books) -> None:
    """A latency rule delays the answer by at least its seconds [ours]."""
    us.trouble("latency", seconds=0.2, jitter_seconds=0.01)
    begin = time.monotonic()
    us.get("/term/4")
    assert time.monotonic() - begin >= 0.2


def test_a_rule_can_be_lifted(us: Books) -> None:
    """Deleting a rule ends it; an unknown id answers 404 [ours]."""
    rule = us.trouble("server_error")
    us.control("DELETE", f"/troubles/{rule['id']}")
    us.get("/term/4")
    us.control("DELETE", f"/troubles/{rule['id']}", expect=404)


def test_token_endpoint_has_bad_days_too(us: Books) -> None:
    """Troubles named `oauth` hit the token endpoint: an answer lost after the tokens were made [ours]."""
    us.trouble("cut_after", entity="oauth", operation="refresh_token", times=1)
    address = f"{us.sandbox.addresses.api}/oauth2/v1/tokens/bearer"
    form = {"grant_type": "refresh_token", "refresh_token": us.tokens["refresh_token"]}
    credentials = (us.app.client_id, us.app.client_secret)
    with pytest.raises(requests.ConnectionError):
        requests.post(address, data=form, auth=credentials, timeout=10)
    assert requests.post(address, data=form, auth=credentials, timeout=10).status_code == 200
