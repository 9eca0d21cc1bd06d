"""What an answer means: the judgement that the ledger builds on."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks import batch, body, calls
from services.quickbooks.call import Call
from services.quickbooks.entities import Customer, Invoice
from services.quickbooks.errors import AuthFailed, QuickBooksError, Refused, Throttled, UnknownOutcome
from services.quickbooks.query import select
from services.quickbooks.reply import Answer, Reply, judge

CREATE = calls.create("Invoice", {"CustomerRef": {"value": "7"}}, requestid="r-1")
QUERY = calls.query(select("Invoice"))
FEED = calls.changes(["Invoice"], datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC))
COUNT = calls.count(select("Invoice"))


def answer(status: int, text: str, **headers: str) -> Answer:
    """Make an answer with Intuit's id of it."""
    named = {
        name.replace("_", "-") if name != "intuit_tid" else name: value for name, value in headers.items()
    }
    return Answer(status, {"intuit_tid": "1-5f", **named}, text.encode())


def fault(code: str, type_: str = "ValidationFault") -> str:
    """Write a fault in the business shape."""
    return f'{{"Fault":{{"Error":[{{"Message":"m","Detail":"about Ms Secret","code":"{code}"}}],"type":"{type_}"}}}}'


def test_a_created_object_is_read_from_its_envelope() -> None:
    """The reply gives the typed object, the raw text, Intuit's id and the server's time."""
    text = '{"Invoice":{"Id":"71","SyncToken":"0","TotalAmt":10.50},"time":"2026-05-05T03:11:46.100-07:00"}'
    reply = judge(CREATE, answer(200, text))
    assert reply.one(Invoice).id == "71"
    assert str(reply.one(Invoice).total_amt) == "10.50"
    assert (reply.text, reply.intuit_tid, reply.status) == (text, "1-5f", 200)
    assert reply.time == datetime.datetime.fromisoformat("2026-05-05T03:11:46.100-07:00")
    with pytest.raises(TypeError, match="Customer"):
        reply.one(Customer)


def test_an_empty_query_is_an_answer() -> None:
    """No rows come as an empty object, not as an empty list."""
    reply = judge(QUERY, answer(200, '{"QueryResponse":{},"time":"2026-05-05T03:11:46.100-07:00"}'))
    assert reply.all(Invoice) == []


def test_rows_and_counts_are_read() -> None:
    """Rows are typed; a count is a number."""
    rows = judge(
        QUERY, answer(200, '{"QueryResponse":{"Invoice":[{"Id":"1"},{"Id":"2"}],"startPosition":1}}')
    )
    assert [invoice.id for invoice in rows.all(Invoice)] == ["1", "2"]
    assert judge(COUNT, answer(200, '{"QueryResponse":{"totalCount":18000}}')).count == 18000


def test_an_absent_envelope_time_falls_back_to_the_header() -> None:
    """Optional reply fields may be absent; the server's clock is in the Date header too."""
    reply = judge(QUERY, answer(200, '{"QueryResponse":{}}', date="Tue, 05 May 2026 10:11:50 GMT"))
    assert reply.time == datetime.datetime(2026, 5, 5, 10, 11, 50, tzinfo=datetime.UTC)
    assert judge(QUERY, answer(200, '{"QueryResponse":{}}')).time is None
    assert judge(QUERY, answer(200, '{"QueryResponse":{},"time":"2026-05-05T03:11:46"}')).time is None


def test_http_200_with_a_fault_is_a_refusal() -> None:
    """The status proves nothing; the body decides."""
    with pytest.raises(Refused) as caught:
        judge(CREATE, answer(200, fault("6140")))
    assert (caught.value.fault.code, caught.value.intuit_tid) == ("6140", "1-5f")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"BatchItemResponse":[]}',
        '{"Invoice":null}',
        "<html>ok</html>",
        "\ufeff",
        "{",
    ],
)
def test_http_200_without_what_was_asked_for_is_no_success(text: str) -> None:
    """An empty or odd body after a write leaves open whether the write happened."""
    with pytest.raises(UnknownOutcome) as caught:
        judge(CREATE, answer(200, text))
    assert caught.value.replayable


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, fault("6240"), Refused),
        (400, fault("5010"), Refused),
        (400, fault("10000", "SystemFault"), UnknownOutcome),
        (500, "", UnknownOutcome),
        (500, fault("500", "SystemFault"), Refused),
        (502, "<html>Bad Gateway</html>", UnknownOutcome),
        (503, fault("150", "SystemFault"), Refused),
        (504, "upstream timed out", UnknownOutcome),
        (401, "", AuthFailed),
        (401, fault("3200", "AuthenticationFault"), AuthFailed),
        (403, fault("003100", "SERVICE"), AuthFailed),
        (403, fault("003001", "SERVICE"), Throttled),
        (429, "", Throttled),
        (429, fault("7777"), Throttled),
        (429, fault("6000"), Throttled),
        (404, "", Refused),
        (302, "", UnknownOutcome),
    ],
)
def test_status_and_fault_make_the_error(status: int, text: str, error: type[QuickBooksError]) -> None:
    """Each kind of answer raises the error that says what is known, with status and Intuit's id."""
    with pytest.raises(error) as caught:
        judge(CREATE, answer(status, text))
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.intuit_tid) == (status, "1-5f")
    assert "1-5f" in str(caught.value)


def test_a_duplicate_request_id_cannot_be_replayed() -> None:
    """600 says that the id was used, not what for: only reading back tells."""
    with pytest.raises(UnknownOutcome) as caught:
        judge(CREATE, answer(400, fault("600")))
    assert not caught.value.replayable


def test_a_fault_inside_a_part_of_the_answer_is_found() -> None:
    """The change feed and queries may carry the fault within; it is no empty success."""
    inner = fault("10100")
    for call, text in (
        (FEED, f'{{"CDCResponse":[{{"QueryResponse":[{inner}]}}]}}'),
        (FEED, f'{{"CDCResponse":[{inner}]}}'),
        (QUERY, f'{{"QueryResponse":{inner}}}'),
    ):
        with pytest.raises(Refused) as caught:
            judge(call, answer(200, text))
        assert caught.value.fault.code == "10100"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({}, 60),
        ({"retry_after": "7"}, 7),
        ({"retry_after": "0"}, 1),
        ({"retry_after": "999999"}, 3600),
        ({"retry_after": "soon"}, 60),
        ({"retry_after": "Tue, 05 May 2026 10:12:20 GMT", "date": "Tue, 05 May 2026 10:11:50 GMT"}, 30),
    ],
)
def test_a_throttle_says_how_long_to_wait(header: dict[str, str], seconds: float) -> None:
    """Retry-After when there is a sane one, else the minute Intuit advises."""
    with pytest.raises(Throttled) as caught:
        judge(CREATE, answer(429, "", **header))
    assert caught.value.retry_after == seconds


def test_an_errors_text_never_tells_a_clients_name() -> None:
    """Intuit's detail may name people; it is on the fault, not in the text that gets logged."""
    with pytest.raises(Refused) as caught:
        judge(CREATE, answer(400, fault("6240")))
    assert "Secret" not in str(caught.value)
    assert "Secret" in caught.value.fault.detail


@given(
    st.integers(100, 599),
    st.binary(max_size=40),
    st.sampled_from(["", "text/xml; charset=none", "x;charset=utf-16"]),
)
def test_every_answer_is_judged(status: int, content: bytes, type_: str) -> None:
    """Whatever comes back, there is a reply or an error of ours, never another exception."""
    try:
        judge(CREATE, Answer(status, {"content-type": type_}, content))
    except QuickBooksError:
        return
    raise AssertionError("random bytes were taken for an invoice")


@given(
    st.sampled_from([CREATE, QUERY, FEED]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["Invoice", "QueryResponse", "CDCResponse", "Fault", "Error", "time"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ),
)
def test_every_json_answer_is_judged(call: Call, data: object) -> None:
    """Lists where objects are due, numbers where lists are: a reply or an error of ours all the same."""
    try:
        reply = judge(call, answer(200, body.dump(data)))
    except QuickBooksError:
        return
    assert reply.data == data


def test_a_pdf_is_bytes() -> None:
    """A document as printed is handed out as it came; a fault instead of it is a fault."""
    call = calls.pdf_link("Invoice", "71")
    pdf = judge(call, Answer(200, {"content-type": "application/pdf"}, b"%PDF-1.4 \xff"))
    assert pdf.content == b"%PDF-1.4 \xff"
    with pytest.raises(Refused):
        judge(call, answer(400, fault("610")))


def test_a_batch_tells_each_items_outcome() -> None:
    """One item's refusal is its own; an item left out has an unknown outcome; order is that of the items."""
    items = {
        "1": CREATE,
        "2": calls.delete("Payment", id="9", sync_token="2", requestid="c"),
        "3": QUERY,
        "4": calls.create("Customer", {"DisplayName": "x"}, requestid="d"),
    }
    text = (
        f'{{"BatchItemResponse":[{{"bId":"3","QueryResponse":{{"Invoice":[{{"Id":"5"}}]}}}},'
        f'{{"bId":"2",{fault("6540")[1:]},'
        f'{{"bId":"1","Invoice":{{"Id":"71","SyncToken":"0"}}}}],"time":"2026-05-05T03:11:46.100-07:00"}}'
    )
    whole = judge(calls.batch(items, requestid="b-1"), answer(200, text))
    created, deleted, rows, missing = batch.outcomes(items, whole).values()
    assert isinstance(created, Reply)
    assert created.one(Invoice).id == "71"
    assert isinstance(deleted, Refused)
    assert (deleted.fault.code, deleted.intuit_tid) == ("6540", "1-5f")
    assert isinstance(rows, Reply)
    assert [row.id for row in rows.all(Invoice)] == ["5"]
    assert isinstance(missing, UnknownOutcome)
