"""The client over real HTTP: what is sent, what is known after each way in which a call can end.

Sources in brackets: docs/sources.md.
"""

from __future__ import annotations

import datetime
import gzip
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
import structlog

from services.quickbooks import calls
from services.quickbooks.call import Call
from services.quickbooks.client import Client
from services.quickbooks.entities import CreditMemo, Customer, Invoice, Payment
from services.quickbooks.environments import Environment
from services.quickbooks.errors import AuthFailed, NotSent, Refused, Throttled, UnknownOutcome
from services.quickbooks.query import select
from services.quickbooks.transport import Timeouts, pooled_session

INVOICE = '{"Invoice":{"Id":"71","SyncToken":"0","TotalAmt":10.50},"time":"2026-05-05T03:11:46.100-07:00"}'
ROWS = '{"QueryResponse":{"Invoice":[{"Id":"71"}],"startPosition":1,"maxResults":1}}'
XML_THROTTLE = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<IntuitResponse time="2026-05-05T03:11:46.100-07:00" xmlns="http://schema.intuit.com/finance/v3">'
    '<Fault type="SERVICE"><Error code="3001"><Message>message=ThrottleExceeded; errorCode=003001; '
    "statusCode=429</Message></Error></Fault></IntuitResponse>"
)
XML_EXPIRED = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    '<IntuitResponse xmlns="http://schema.intuit.com/finance/v3"><Fault type="AUTHENTICATION">'
    '<Error code="3200"><Message>message=AuthenticationFailed; errorCode=003200; statusCode=401</Message>'
    "</Error></Fault></IntuitResponse>"
)
QUERY = calls.query(select("Invoice").where("DocNumber", "=", "O'Secret"))


def create(requestid: str = "r-1") -> Call:
    """Make a create with something personal in it."""
    return calls.create(
        "Invoice",
        {"CustomerRef": {"value": "7", "name": "Ms Secret"}, "Deposit": Decimal("1.50")},
        requestid=requestid,
    )


def test_a_create_arrives_as_documented(wire, client) -> None:
    """Address, parameters, headers and the exact body of a write [D-rest]."""
    wire.say(200, INVOICE)
    reply = client.execute(create())
    (seen,) = wire.seen
    assert (seen.method, seen.path) == ("POST", "/v3/company/9341/invoice")
    assert seen.params == {"requestid": "r-1", "minorversion": "75"}
    assert seen.headers["authorization"] == "Bearer fake-access-token-1"
    assert seen.headers["accept"] == "application/json"
    assert seen.headers["content-type"] == "application/json"
    assert seen.body == b'{"CustomerRef":{"value":"7","name":"Ms Secret"},"Deposit":1.50}'
    assert reply.one(Invoice).total_amt == Decimal("10.50")
    assert reply.intuit_tid == "1-1"


def test_a_stored_call_is_replayed_byte_for_byte(wire, client) -> None:
    """After a crash the same bytes go out under the same request id [D-field]."""
    call = create()
    wire.say(200, INVOICE, times=2)
    client.execute(call)
    client.execute(Call.from_json(json.loads(json.dumps(call.to_json()))))
    first, again = wire.seen
    assert (first.target, first.body) == (again.target, again.body)


def test_a_query_arrives_as_documented(wire, client) -> None:
    """The text in the address, decoded as it was written; a long one as application/text in the body [D-query]."""
    wire.say(200, ROWS, times=2)
    assert [row.id for row in client.execute(QUERY).all(Invoice)] == ["71"]
    long = select("Customer").where("DisplayName", "IN", [f"Zoë & client number {i} Ltd" for i in range(100)])
    client.execute(calls.query(long))
    short, posted = wire.seen
    assert (short.method, short.path) == ("GET", "/v3/company/9341/query")
    assert short.params["query"].startswith(r"SELECT * FROM Invoice WHERE DocNumber = 'O\'Secret'")
    assert (posted.method, posted.headers["content-type"]) == ("POST", "application/text")
    assert posted.body.decode() == long.text


def test_a_realm_is_opaque(wire, environment, ports) -> None:
    """A realm id goes into the address as one piece, whatever it looks like [ours]."""
    odd = Client(
        company="c", realm="93/41?x", environment=environment, tokens=ports, limiter=ports, meter=ports
    )
    wire.say(200, INVOICE)
    odd.execute(create())
    assert wire.seen[0].path == "/v3/company/93%2F41%3Fx/invoice"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, XML_EXPIRED),
        (401, ""),
        (400, '{"Fault":{"Error":[{"Message":"m","code":"003200"}],"type":"AuthenticationFault"}}'),
    ],
)
def test_an_expired_token_is_refreshed_once(wire, client, ports, status: int, body: str) -> None:
    """401 or 3200: refresh, then the same bytes with the new token [D-err]."""
    wire.say(status, body)
    wire.say(200, INVOICE)
    assert client.execute(create()).one(Invoice).id == "71"
    first, second = wire.seen
    assert second.headers["authorization"] == "Bearer fake-access-token-2"
    assert (first.target, first.body) == (second.target, second.body)
    assert ports.of("refresh") == [["fake-access-token-1"]]
    assert len(ports.of("acquire")) == 2, "the second try takes a place of its own"


def test_a_second_401_is_the_connections_end(wire, client, ports) -> None:
    """A fresh token that is refused too means reconnect, not another round [D-err]."""
    wire.say(401, XML_EXPIRED, times=2)
    with pytest.raises(AuthFailed) as caught:
        client.execute(create())
    assert len(wire.seen) == 2
    assert len(ports.of("refresh")) == 1
    assert caught.value.intuit_tid == "1-2"


def test_a_refused_app_is_not_refreshed(wire, client, ports) -> None:
    """403/3100 is a wrong realm or a removed app; a new token would not help [D-err, seen]."""
    body = (
        '{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=ApplicationAuthorizationFailed;'
        ' errorCode=003100; statusCode=403","detail":null,"code":"3100","element":null}],"type":"SERVICE"},'
        '"time":1640612353707}'
    )
    wire.say(403, body)
    with pytest.raises(AuthFailed) as caught:
        client.execute(create())
    assert caught.value.fault is not None
    assert caught.value.fault.code == "3100"
    assert ports.of("refresh") == []


def test_an_unclear_refresh_is_a_call_that_was_not_sent(wire, client, ports) -> None:
    """401 proves that nothing happened, so a token endpoint that hangs leaves no doubt about the call [ours]."""
    ports.refreshed = UnknownOutcome("no answer came")
    wire.say(401, "")
    with pytest.raises(NotSent):
        client.execute(create())
    assert len(wire.seen) == 1


@pytest.mark.parametrize(
    ("status", "body", "headers", "seconds"),
    [
        (429, XML_THROTTLE, {"content_type": "application/xml"}, 60),
        (429, "", {"retry_after": "7"}, 7),
        (403, XML_THROTTLE, {}, 60),
    ],
)
def test_a_throttle_rests_the_company(wire, client, ports, status, body, headers, seconds) -> None:
    """429 (once also 403) in XML or empty: nothing happened, the company pauses, nobody insists [D-lim, seen]."""
    wire.say(status, body, **headers)
    with pytest.raises(Throttled) as caught:
        client.execute(QUERY)
    assert caught.value.retry_after == seconds
    assert [pause[0] for pause in ports.of("pause")] == [seconds]
    assert len(wire.seen) == 1


def test_nothing_listening_means_nothing_sent(environment, ports) -> None:
    """A refused connection proves that not a byte left, also for a write [ours]."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = Environment(name="test", api=f"http://127.0.0.1:{unused.getsockname()[1]}")
        client = Client(company="c", realm="1", environment=nowhere, tokens=ports, limiter=ports, meter=ports)
        with pytest.raises(NotSent):
            client.execute(create())
    assert len(ports.of("acquire")) == 2, "it was safe to try again once"
    assert ports.of("count") == []


def test_a_write_that_is_cut_off_is_never_repeated_by_itself(wire, client) -> None:
    """The document may exist: the ledger must look, the client must not guess [ours]."""
    wire.cut()
    with pytest.raises(UnknownOutcome) as caught:
        client.execute(create())
    assert len(wire.seen) == 1
    assert caught.value.replayable


def test_a_read_that_is_cut_off_is_asked_again(wire, client, ports) -> None:
    """A read changes nothing; one lost answer costs nobody a failure. Both are metered: Intuit may have.

    [B-meter, ours]
    """
    wire.cut()
    wire.say(200, ROWS)
    assert len(client.execute(QUERY).entities) == 1
    assert len(wire.seen) == 2
    assert ports.of("count") == [[1, "query"], [1, "query"]]


def test_a_read_is_asked_again_only_once(wire, client) -> None:
    """Intuit: resubmit once. A company that is down is the dispatcher's to wait for [D-err]."""
    wire.say(503, "", times=3)
    with pytest.raises(UnknownOutcome):
        client.execute(QUERY)
    assert len(wire.seen) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_leaves_a_write_open(wire, client, status: int) -> None:
    """5xx says nothing about what was stored; one request, an unknown outcome, Intuit's id [D-err]."""
    wire.say(status, "<html>try later</html>")
    with pytest.raises(UnknownOutcome) as caught:
        client.execute(create())
    assert (len(wire.seen), caught.value.status, caught.value.intuit_tid) == (1, status, "1-1")


def test_half_an_answer_is_no_answer(wire, client) -> None:
    """A body shorter than announced is a cut connection, with Intuit's id from the headers [ours]."""
    wire.cut(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nintuit_tid: 1-half\r\n\r\n" + INVOICE.encode())
    with pytest.raises(UnknownOutcome) as caught:
        client.execute(create())
    assert caught.value.intuit_tid == "1-half"


def test_a_hanging_answer_ends_at_the_read_timeout(wire, client) -> None:
    """Intuit may take 120 s; we wait as long as the lease allows and say that we do not know [D-rest, ours]."""
    wire.hang()
    started = time.monotonic()
    with pytest.raises(UnknownOutcome):
        client.execute(create())
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("pause", "pieces", "keep"), [(0.02, 1000, "keep-alive"), (0.45, 1, "keep-alive"), (0.02, 1000, "close")]
)
def test_an_answer_that_trickles_ends_at_the_total(
    wire, environment, ports, pause: float, pieces: int, keep: str
) -> None:
    """Bytes that come in time for the read timeout, to the end or for a while, must not outlast the lease [ours]."""
    wire.trickle(pause, pieces, keep)
    timeouts = Timeouts(connect=0.6, read=0.6, total=0.6)
    client = Client(
        company="c",
        realm="1",
        environment=environment,
        tokens=ports,
        limiter=ports,
        meter=ports,
        timeouts=timeouts,
    )
    started = time.monotonic()
    with pytest.raises(UnknownOutcome) as caught:
        client.execute(create())
    assert time.monotonic() - started < 0.9
    assert caught.value.intuit_tid == "1-slow"


def test_a_read_is_not_asked_again_without_time_for_it(wire, environment, ports, session) -> None:
    """With less than a second left a second try would only be cut off by our own deadline [ours]."""
    wire.cut()
    client = Client(
        company="c",
        realm="1",
        environment=environment,
        tokens=ports,
        limiter=ports,
        meter=ports,
        timeouts=Timeouts(connect=0.5, read=0.5, total=0.9),
        session=session,
    )
    with pytest.raises(UnknownOutcome):
        client.execute(QUERY)
    assert len(wire.seen) == 1


def test_time_spent_waiting_for_the_limiter_counts(environment, ports, wire) -> None:
    """A call whose time is over before it starts is not made at all [ours]."""

    class Slow(type(ports)):  # type: ignore[misc]  # a limiter that takes longer than the call may
        def acquire(self, company: str, kind: str) -> None:
            threading.Event().wait(0.12)

    slow = Slow()
    client = Client(
        company="c",
        realm="1",
        environment=environment,
        tokens=slow,
        limiter=slow,
        meter=slow,
        timeouts=Timeouts(connect=0.1, read=0.1, total=0.1),
    )
    with pytest.raises(NotSent, match="no time"):
        client.execute(create())
    assert wire.seen == []


def test_timeouts_leave_the_lease_time_to_record() -> None:
    """The whole call ends before the lease, so that a result can still be written under it [ours]."""
    for lease in (1, 30, 120, 600):
        timeouts = Timeouts.within(lease)
        assert timeouts.total < lease
        assert timeouts.connect <= timeouts.total
        assert timeouts.read <= timeouts.total
    with pytest.raises(ValueError, match="timeouts"):
        Timeouts(connect=10, read=10, total=5)


def test_every_try_takes_a_place_and_reads_are_metered(wire, client, ports) -> None:
    """Calls and batches have limits of their own; reads answered with 2xx are counted, writes and faults not.

    [D-lim, B-meter]
    """
    wire.say(200, INVOICE)
    wire.say(200, ROWS)
    wire.say(200, '{"BatchItemResponse":[{"bId":"1","QueryResponse":{}}]}')
    wire.say(400, '{"Fault":{"Error":[{"code":"4000"}],"type":"ValidationFault"}}')
    client.execute(create())
    client.execute(QUERY)
    client.execute(calls.batch({"1": QUERY, "2": create()}, requestid="b-1"))
    with pytest.raises(Refused):
        client.execute(QUERY)
    assert ports.of("acquire") == [["call"], ["call"], ["batch"], ["call"]]
    assert ports.of("count") == [[1, "query"], [2, "batch"]]


def test_a_redirect_is_not_followed(wire, client) -> None:
    """A token is never carried to another address [ours]."""
    wire.say(302, "", location=f"{wire.url}/elsewhere")
    with pytest.raises(UnknownOutcome):
        client.execute(create())
    assert len(wire.seen) == 1


def test_no_cookie_travels_between_companies(wire, client, session) -> None:
    """Sessions are shared by all companies, so nothing a server sets is kept or comes back [ours]."""
    wire.say(200, INVOICE, set_cookie="realm=9341; Path=/")
    wire.say(200, INVOICE)
    client.execute(create())
    client.execute(create("r-2"))
    assert "cookie" not in wire.seen[1].headers
    assert not session.cookies


def test_connections_are_kept_and_shared(wire, client) -> None:
    """One connection serves call after call; eight threads need no more than eight [ours]."""
    wire.say(200, INVOICE, times=100)
    for number in range(20):
        client.execute(create(f"s-{number}"))
    assert len({seen.connection for seen in wire.seen}) == 1
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda n: client.execute(create(f"t-{n}")), range(80)))
    assert {reply.one(Invoice).id for reply in replies} == {"71"}
    assert {seen.params["requestid"] for seen in wire.seen[20:]} == {f"t-{n}" for n in range(80)}
    assert len({seen.connection for seen in wire.seen}) <= 9


def test_a_connection_the_server_has_closed_is_not_used(wire, client) -> None:
    """An idle connection closed meanwhile must not turn the next write into an unknown outcome [ours]."""
    wire.cut(f"HTTP/1.1 200 OK\r\nContent-Length: {len(INVOICE)}\r\n\r\n{INVOICE}".encode())
    wire.say(200, INVOICE)
    client.execute(create())
    assert wire.hung_up.wait(5)
    assert client.execute(create("r-2")).one(Invoice).id == "71"


def test_compressed_and_latin_answers_are_read(wire, client) -> None:
    """Large answers come compressed, and a gateway may answer in ISO-8859-1 [seen]."""
    named = '{"Customer":{"Id":"7","DisplayName":"Zoë"}}'
    wire.say(200, gzip.compress(named.encode()), content_encoding="gzip")
    wire.say(200, named.encode("latin-1"), content_type="application/json;charset=ISO-8859-1")
    for _ in range(2):
        assert client.execute(calls.read("Customer", "7")).one(Customer).display_name == "Zoë"


def test_a_pdf_is_fetched_as_bytes(wire, client) -> None:
    """GET /invoice/71/pdf asks for a PDF and hands it out [D-rest]."""
    wire.say(200, b"%PDF-1.4 fake", content_type="application/pdf")
    assert client.execute(calls.pdf_link("Invoice", "71")).content == b"%PDF-1.4 fake"
    assert wire.seen[0].path == "/v3/company/9341/invoice/71/pdf"
    assert wire.seen[0].headers["accept"] == "application/pdf"


def test_logs_carry_intuits_id_and_no_secret(wire, client, caplog) -> None:
    """Every call, good or bad, is one line with intuit_tid; no token, name, query or detail is in any log.

    [D-rest, ours]
    """
    caplog.set_level(logging.DEBUG)
    wire.say(200, INVOICE)
    wire.say(200, ROWS)
    wire.say(
        400,
        '{"Fault":{"Error":[{"code":"6240","Message":"m","Detail":"Ms Secret"}],"type":"ValidationFault"}}',
    )
    wire.say(401, XML_EXPIRED)
    wire.say(503, "")
    with structlog.testing.capture_logs() as lines:
        client.execute(create())
        client.execute(QUERY)
        with pytest.raises(Refused):
            client.execute(create())
        with pytest.raises(UnknownOutcome):
            client.execute(create())
    assert [line["intuit_tid"] for line in lines] == ["1-1", "1-2", "1-3", "1-4", "1-5"]
    assert lines[2]["fault"] == "6240 Duplicate Name Exists Error"
    everything = json.dumps(lines) + caplog.text
    assert "Secret" not in everything
    assert "fake-access-token" not in everything


def test_recorded_documents_are_read(wire, client) -> None:
    """A credit application, a deposit link and a voided invoice, in the shapes real companies answered [seen]."""
    wire.say(
        200,
        """{"Payment":{"CustomerRef":{"value":"7","name":"A"},"DepositToAccountRef":{"value":"4"},"TotalAmt":0,
        "UnappliedAmt":0,"ProcessPayment":false,"domain":"QBO","sparse":false,"Id":"74","SyncToken":"0",
        "MetaData":{"CreateTime":"2026-05-05T03:11:46-07:00","LastUpdatedTime":"2026-05-05T03:11:51-07:00"},
        "TxnDate":"2026-05-05","CurrencyRef":{"value":"USD","name":"United States Dollar"},
        "LinkedTxn":[{"TxnId":"101","TxnType":"Deposit"}],
        "Line":[{"Amount":100.00,"LinkedTxn":[{"TxnId":"71","TxnType":"Invoice"}],"LineEx":{"any":[{"name":
        "{http://schema.intuit.com/finance/v3}NameValue","declaredType":"com.intuit.schema.finance.v3.NameValue",
        "scope":"javax.xml.bind.JAXBElement$GlobalScope","value":{"Name":"txnId","Value":"71"},"nil":false,
        "globalScope":true,"typeSubstituted":false}]}},
        {"Amount":100.00,"LinkedTxn":[{"TxnId":"73","TxnType":"CreditMemo"}]}]},
        "time":"2026-05-05T03:11:50.809-07:00"}""",
    )
    payment = client.execute(calls.read("Payment", "74")).one(Payment)
    assert payment.total_amt == 0
    assert [line.linked_txn[0].txn_type for line in payment.line] == ["Invoice", "CreditMemo"]
    assert payment.meta_data.last_updated_time > datetime.datetime.fromisoformat(
        "2026-05-05T03:11:50.809-07:00"
    )
    wire.say(
        200,
        """{"CreditMemo":{"RemainingCredit":0,"Balance":0,"TotalAmt":100.00,"Id":"73","SyncToken":"1",
        "Line":[{"Id":"1","LineNum":1,"Amount":100.0,"DetailType":"SalesItemLineDetail","SalesItemLineDetail":
        {"ItemRef":{"value":"3","name":"Hours"},"UnitPrice":50,"Qty":2,"TaxCodeRef":{"value":"NON"}}},
        {"Amount":100.0,"DetailType":"SubTotalLineDetail","SubTotalLineDetail":{}}]}}""",
    )
    memo = client.execute(calls.read("CreditMemo", "73")).one(CreditMemo)
    assert (memo.remaining_credit, len(memo.line)) == (0, 2)


def test_the_session_takes_proxies_from_the_environment(monkeypatch, wire, ports) -> None:
    """Behind a company's proxy the usual variables work, although they are read only once [ours]."""
    monkeypatch.setenv("HTTP_PROXY", wire.url)
    monkeypatch.setenv("NO_PROXY", "")
    far = Environment(name="test", api="http://quickbooks.invalid", plain_http=True)
    wire.say(200, INVOICE)
    with pooled_session(far) as session:
        client = Client(
            company="c", realm="1", environment=far, tokens=ports, limiter=ports, meter=ports, session=session
        )
        client.execute(create())
    assert wire.seen[0].target.startswith("http://quickbooks.invalid/v3/company/1/invoice")
