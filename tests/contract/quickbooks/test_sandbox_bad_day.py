"""What is known after things go wrong, in a sandbox company that remembers what it did; each test names its rule.

Sources in brackets: docs/sources.md.
"""

from __future__ import annotations

import threading

import pytest

from services.quickbooks import calls
from services.quickbooks.client import Client
from services.quickbooks.entities import Invoice
from services.quickbooks.errors import AuthFailed, QuickBooksError, Refused, Throttled, UnknownOutcome
from services.quickbooks.query import select
from services.quickbooks.transport import Timeouts

CREATE = calls.create(
    "Invoice",
    {
        "CustomerRef": {"value": "1"},
        "DocNumber": "1042",
        "TxnDate": "2026-05-05",
        "Line": [
            {
                "Amount": 10,
                "DetailType": "SalesItemLineDetail",
                "SalesItemLineDetail": {"ItemRef": {"value": "2"}, "TaxCodeRef": {"value": "NON"}},
            }
        ],
    },
    requestid="inv-1",
)
QUERY = calls.query(select("Customer"))


def impatient(books) -> Client:
    """A client that waits a third of a second for an answer."""
    return Client(
        company="company-1",
        realm=books.realm,
        environment=books.environment,
        tokens=books.ports,
        limiter=books.ports,
        meter=books.ports,
        timeouts=Timeouts(connect=0.3, read=0.3, total=1),
    )


@pytest.mark.parametrize(
    "kind", ["cut_before", "cut_after", "cut_within", "hang_before", "hang_after", "server_error"]
)
def test_an_unknown_outcome_is_settled_by_the_same_bytes(books, kind: str) -> None:
    """Cut, hung or 5xx, before or after the books: the replay makes or finds exactly one document [D-field]."""
    client = impatient(books)
    books.trouble(kind, seconds=2)
    with pytest.raises(UnknownOutcome):
        client.execute(CREATE)
    done = kind in {"cut_after", "cut_within", "hang_after"}
    assert len(books.objects("Invoice")) == done
    books.control("DELETE", "/troubles")
    assert client.execute(CREATE).one(Invoice).doc_number == "1042"
    assert len(books.objects("Invoice")) == 1


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "server_error"])
def test_a_lost_read_is_asked_again(books, kind: str) -> None:
    """A read changes nothing, so one lost answer is no failure [ours]."""
    books.trouble(kind)
    assert books.client.execute(QUERY).entities


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_system_fault_leaves_the_outcome_open(books, status: int) -> None:
    """10000 says nothing about what happened, even under HTTP 200 [D-err, seen]."""
    books.trouble("fault", status=status, code="10000")
    with pytest.raises(UnknownOutcome) as caught:
        books.client.execute(CREATE)
    assert caught.value.replayable
    assert caught.value.intuit_tid


@pytest.mark.parametrize("format_", ["json", "xml"])
def test_a_throttle_in_either_form_rests_the_company(books, format_: str) -> None:
    """429 comes in JSON or XML [seen]; Retry-After is honoured when there is one."""
    books.trouble("throttle", format=format_, retry_after=9)
    with pytest.raises(Throttled) as caught:
        books.client.execute(CREATE)
    assert caught.value.retry_after == 9
    assert books.ports.of("pause") == [[9, "QuickBooks answered 429"]]
    assert books.objects("Invoice") == []


def test_the_old_throttle_is_known_too(books) -> None:
    """In 2016 throttling came as 403 with 003001 [seen]: no broken connection."""
    books.switch(throttle_status=403)
    books.trouble("throttle")
    with pytest.raises(Throttled) as caught:
        books.client.execute(CREATE)
    assert caught.value.retry_after == 60


def test_the_limit_of_a_second_is_met_as_a_throttle(books) -> None:
    """10 requests a second per company and app [D-lim]: what is over is not made, and said so."""
    books.switch(limits=True)
    answers: list[int] = []
    lock = threading.Lock()

    def ask() -> None:
        for _ in range(6):
            try:
                status = books.client.execute(QUERY).status
            except Throttled as throttled:
                status = throttled.status or 0
            with lock:
                answers.append(status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {200, 429}
    assert len(books.ports.of("pause")) == answers.count(429)


@pytest.mark.parametrize("format_", ["json", "xml"])
def test_an_expired_access_token_is_renewed_once(books, format_: str) -> None:
    """401 in either form: refresh, and the same bytes again [D-err]."""
    books.switch(gateway_format=format_)
    books.of_company("POST", "/tokens", action="expire_access")
    books.ports.refreshed = books.mint()["access_token"]
    assert books.client.execute(CREATE).one(Invoice).doc_number == "1042"
    assert len(books.ports.of("refresh")) == 1
    assert len(books.objects("Invoice")) == 1


def test_a_revoked_connection_needs_a_person(books) -> None:
    """The user disconnected: 401, and the refresh cannot help [D-oauth]."""
    books.of_company("POST", "/tokens", action="revoke")
    books.ports.refreshed = AuthFailed("the connection was revoked", reason="invalid_grant")
    with pytest.raises(AuthFailed) as caught:
        books.client.execute(CREATE)
    assert caught.value.reason == "invalid_grant"


def test_another_companys_token_is_not_renewed(books) -> None:
    """403/3100: realm and token do not belong together [seen]; refreshing would not help."""
    other = Client(
        company="company-2",
        realm="9341450000000002",
        environment=books.environment,
        tokens=books.ports,
        limiter=books.ports,
        meter=books.ports,
    )
    with pytest.raises(AuthFailed) as caught:
        other.execute(QUERY)
    assert caught.value.fault is not None
    assert caught.value.fault.code == "3100"
    assert books.ports.of("refresh") == []


def test_an_ended_subscription_blocks_the_company(books) -> None:
    """6190: nothing of this company can go on until its owner acts [D-err]."""
    books.of_company("PATCH", "", active=False)
    with pytest.raises(Refused) as caught:
        books.client.execute(CREATE)
    assert (caught.value.fault.code, caught.value.fault.kind) == ("6190", "blocked")


def test_another_body_under_a_used_request_id(books) -> None:
    """Intuit does not say what happens [D-field]: replay of the first, or 600 that only a read settles."""
    books.client.execute(CREATE)
    other = calls.create("Invoice", {"CustomerRef": {"value": "2"}}, requestid="inv-1")
    books.switch(requestid_other_body="replay")
    assert books.client.execute(other).one(Invoice).doc_number == "1042"
    books.switch(requestid_other_body="600")
    with pytest.raises(UnknownOutcome) as caught:
        books.client.execute(other)
    assert not caught.value.replayable
    assert len(books.objects("Invoice")) == 1


def test_reads_are_metered_as_intuit_counts_them(books) -> None:
    """Reads answered with 2xx count, writes, refusals and throttles do not [B-meter]."""
    books.control("DELETE", "/counters")
    made = books.client.execute(CREATE).one(Invoice)
    books.client.execute(QUERY)
    books.client.execute(calls.count(select("Invoice")))
    books.client.execute(calls.read("Invoice", made.id))
    books.client.execute(calls.pdf_link("Invoice", made.id))
    for call in (calls.read("Invoice", "9999"), calls.query(select("Nonsense"))):
        with pytest.raises(QuickBooksError):
            books.client.execute(call)
    ours = sum(reads for reads, _ in books.ports.of("count"))
    assert ours == 4
    assert books.control("GET", "/counters")["companies"][books.realm]["metered_reads"] == ours


def test_every_call_can_be_found_at_intuit(books) -> None:
    """The intuit_tid of a reply and of an error is the one the other side logged [D-rest]."""
    good = books.client.execute(CREATE)
    with pytest.raises(Refused) as caught:
        books.client.execute(calls.read("Invoice", "9999"))
    logged = {row["tid"] for row in books.control("GET", "/requests")}
    assert {good.intuit_tid, caught.value.intuit_tid} <= logged
