"""Intuit's posts: both formats, forged ones, and broken ones."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks import webhooks

OLDER = b"""{"eventNotifications":[
 {"realmId":"310687","dataChangeEvent":{"entities":[
  {"id":"1234","operation":"Create","name":"Account","lastUpdated":"2025-09-08T20:52:31.657Z"},
  {"id":"7","operation":"Merge","name":"Customer","lastUpdated":"2025-09-08T20:52:32Z","deletedId":"9"}]}},
 {"realmId":"310688","dataChangeEvent":{"entities":[
  {"id":"5","operation":"Void","name":"Payment","lastUpdated":"2025-09-08T13:52:31-07:00"}]}}]}"""

CLOUD = b"""[{"specversion":"1.0","id":"88cd52aa-33b6-4351-9aa4-47572edbd068","source":"intuit.dsnBgbseAACsnGnJ=",
 "type":"qbo.creditmemo.created.v1","datacontenttype":"application/json","time":"2025-09-10T21:31:25.179851517Z",
 "intuitentityid":"1234","intuitaccountid":"310687","data":{}},
 {"specversion":"1.0","id":"b","source":"intuit.x","type":"qbo.customer.merged.v1",
 "time":"2025-09-10T21:31:26Z","intuitentityid":"7","intuitaccountid":"310688","data":{"deletedid":"9"}}]"""


def signed(raw: bytes, token: str = "fake-verifier-token") -> str:
    """Sign as Intuit documents it."""
    return base64.b64encode(hmac.new(token.encode(), raw, hashlib.sha256).digest()).decode()


@given(st.binary(), st.binary(min_size=1))
def test_only_the_very_bytes_that_were_signed_are_verified(raw: bytes, more: bytes) -> None:
    """The signature holds for the raw body, and for no other body, token or signature."""
    assert webhooks.verified(raw, signed(raw), "fake-verifier-token")
    assert not webhooks.verified(raw + more, signed(raw), "fake-verifier-token")
    assert not webhooks.verified(raw, signed(raw, "another"), "fake-verifier-token")
    assert not webhooks.verified(raw, base64.b64encode(more).decode(), "fake-verifier-token")


@pytest.mark.parametrize("signature", [None, "", "é", "not base64"])
def test_a_missing_or_strange_signature_is_no_signature(signature: str | None) -> None:
    """An absent or unreadable header is a forgery, not a crash."""
    assert not webhooks.verified(b"{}", signature, "fake-verifier-token")


def test_an_empty_verifier_token_verifies_nothing() -> None:
    """With an empty key anyone could sign; that is a mistake in settings and says so."""
    with pytest.raises(ValueError, match="verifier_token"):
        webhooks.verified(b"{}", signed(b"{}", ""), "")


def test_the_older_format_is_read() -> None:
    """Several companies in one post; operations in the words of the newer format; merges name who vanished."""
    events = webhooks.parse(OLDER).events
    assert [(e.realm, e.entity, e.id, e.operation, e.deleted_id) for e in events] == [
        ("310687", "Account", "1234", "created", None),
        ("310687", "Customer", "7", "merged", "9"),
        ("310688", "Payment", "5", "voided", None),
    ]
    assert events[0].time == datetime.datetime(2025, 9, 8, 20, 52, 31, 657_000, tzinfo=datetime.UTC)
    assert events[2].time == datetime.datetime(2025, 9, 8, 20, 52, 31, tzinfo=datetime.UTC)


def test_cloud_events_are_read_to_the_nanosecond() -> None:
    """The newer format: Intuit's spelling of the entity, Intuit's id, every digit of the time."""
    first, second = webhooks.parse(CLOUD).events
    assert (first.realm, first.entity, first.id, first.operation) == (
        "310687",
        "CreditMemo",
        "1234",
        "created",
    )
    assert first.event_id == "88cd52aa-33b6-4351-9aa4-47572edbd068"
    assert first.time == datetime.datetime(2025, 9, 10, 21, 31, 25, 179_851, tzinfo=datetime.UTC)
    assert first.nanoseconds % 10**9 == 179_851_517
    assert first.nanoseconds // 10**9 == int(first.time.timestamp())
    assert (second.operation, second.deleted_id) == ("merged", "9")


@pytest.mark.parametrize(
    ("fraction", "nanoseconds"),
    [("", 0), (".6", 600_000_000), (".657", 657_000_000), (".123456789012", 123_456_789)],
)
def test_a_time_of_any_precision_is_read(fraction: str, nanoseconds: int) -> None:
    """No fraction, tenths, or more digits than a nanosecond: the instant is the same."""
    event = {**json.loads(CLOUD)[0], "time": f"2025-09-10T21:31:25{fraction}Z"}
    (read,) = webhooks.parse(json.dumps([event]).encode()).events
    assert read.nanoseconds == 1_757_539_885 * 10**9 + nanoseconds
    assert read.time.microsecond == nanoseconds // 1000


def test_the_same_older_event_has_the_same_id_each_time() -> None:
    """Intuit repeats posts; the older format has no ids, so they come from the content."""
    once, again = webhooks.parse(OLDER).events, webhooks.parse(OLDER).events
    assert [e.event_id for e in once] == [e.event_id for e in again]
    assert len({e.event_id for e in once}) == 3


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        {},
        {"type": "qbo.account.created.v1"},
        {"type": "qbo.account.exploded.v1", "id": "x", "time": "2025-09-10T21:31:25Z"},
        {
            "type": "qbo.account.created.v1",
            "id": "x",
            "time": "yesterday",
            "intuitentityid": "1",
            "intuitaccountid": "2",
        },
        {
            "type": "qbo.account.created.v1",
            "id": "x",
            "time": "2025-09-10T21:31:25",
            "intuitentityid": "1",
            "intuitaccountid": "2",
        },
        {
            "type": "qbo.account.created.v1",
            "id": "x",
            "time": "2025-09-10T21:31:25Z",
            "intuitentityid": None,
            "intuitaccountid": "2",
        },
    ],
)
def test_one_bad_event_never_refuses_the_batch(bad: object) -> None:
    """A post refused for one event would come back whole for hours; the others are taken."""
    parsed = webhooks.parse(json.dumps([*json.loads(CLOUD), bad]).encode())
    assert len(parsed.events) == 2
    assert len(parsed.rejected) == 1
    assert parsed.rejected[0].startswith("event 2:")


@pytest.mark.parametrize(
    "bad", [None, {}, {"realmId": "1"}, {"realmId": "1", "dataChangeEvent": {"entities": [{}]}}]
)
def test_one_bad_notification_never_refuses_the_others(bad: object) -> None:
    """The same for the older format, for a bad company part and for a bad entity in it."""
    notices = json.loads(OLDER)["eventNotifications"]
    parsed = webhooks.parse(json.dumps({"eventNotifications": [bad, *notices]}).encode())
    assert len(parsed.events) == 3
    assert len(parsed.rejected) == 1


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["eventNotifications", "realmId", "dataChangeEvent", "entities", "specversion"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(lambda data: json.dumps(data).encode())
)
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    """Whatever is posted, the reader answers, and says something about it."""
    parsed = webhooks.parse(raw)
    assert parsed.events or parsed.rejected
