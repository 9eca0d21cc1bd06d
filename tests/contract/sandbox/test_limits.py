"""Limits and metering: what is throttled, what is counted.

Source: https://developer.intuit.com/app/developer/qbo/docs/learn/limits-and-throttles
"""

from __future__ import annotations

from collections.abc import Callable

from tests.contract.sandbox.books import OTHER_APP, Books, invoice_body


def test_ten_a_second_for_an_app_in_a_company(us: Books) -> None:
    """The eleventh request of a second answers 429 in XML although JSON was asked for; another app is not hit.

    [D-lim, seen]
    """
    us.switch(limits=True)
    answers = [us.raw("GET", "/term/4") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[-1].headers["content-type"].startswith("application/xml")
    assert "errorCode=003001" in answers[-1].text
    assert "retry-after" not in answers[-1].headers
    other = Books(us.sandbox, us.realm, OTHER_APP)
    other.authorize()
    assert other.raw("GET", "/term/4").status_code == 200
    other.session.close()
    us.switch(requests_per_second=0)
    assert us.raw("GET", "/term/4").status_code == 429


def test_a_minute_counts_for_the_whole_company(us: Books) -> None:
    """The minute's limit is shared by all apps of a company; Retry-After only by switch; 403 as of old by switch.

    [D-lim, seen]
    """
    other = Books(us.sandbox, us.realm, OTHER_APP)
    other.authorize()
    us.switch(limits=True, requests_per_minute=2, retry_after_seconds=7, gateway_format="json")
    assert us.raw("GET", "/term/4").status_code == 200
    assert other.raw("GET", "/term/4").status_code == 200
    refused = us.raw("GET", "/term/4")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json()["fault"]["error"][0]["code"] == "3001"
    us.switch(throttle_status=403)
    assert other.raw("GET", "/term/4").status_code == 403
    other.session.close()


def test_batches_have_their_own_limit(us: Books) -> None:
    """Batches a minute are limited for an app and for a company [D-lim]."""
    us.switch(limits=True, batches_per_minute=1)
    body = {"BatchItemRequest": [{"bId": "1", "Query": "SELECT COUNT(*) FROM Term"}]}
    assert [us.send("/batch", body).status_code for _ in range(2)] == [200, 429]
    us.switch(batches_per_minute=40, batches_per_minute_realm=1)
    assert us.send("/batch", body).status_code == 429
    assert us.raw("GET", "/term/4").status_code == 200


def test_reads_are_metered_writes_are_not(us: Books) -> None:
    """Every answered GET, query, change feed and batch is metered; creates and updates are free [B-meter]."""
    us.invoice()
    us.get("/term/4")
    us.query("SELECT * FROM Term")
    us.get("/cdc", entities="Invoice", changedSince="2099-01-01")
    us.raw("POST", "/query", data="SELECT * FROM Term", headers={"Content-Type": "application/text"})
    us.post("/batch", {"BatchItemRequest": [{"bId": "1", "operation": "create", "Invoice": invoice_body()}]})
    us.raw("GET", "/term/999")
    counted = us.control("GET", "/counters")["companies"][us.realm]
    assert counted["metered_reads"] == 5
    assert counted["creates"] == {"Invoice": 2}
    assert counted["requests"]["POST Invoice create"] == 1
    assert counted["requests"]["GET Term query"] == 1
    log = us.control("GET", f"/requests?realm={us.realm}")
    assert [row["status"] for row in log] == [200] * 6 + [400]


def test_expired_subscription(us: Books) -> None:
    """6190: nothing works until the company is active again [D-err]."""
    us.control("PATCH", f"/companies/{us.realm}", {"active": False})
    answer = us.raw("GET", "/term/4")
    assert answer.json()["Fault"]["Error"][0]["code"] == "6190"
    us.control("PATCH", f"/companies/{us.realm}", {"active": True})
    us.get("/term/4")


def test_limits_can_be_off(open_company: Callable[..., Books]) -> None:
    """With limits off nothing is throttled [ours]."""
    books = open_company()
    assert {books.raw("GET", "/term/4").status_code for _ in range(30)} == {200}
