"""The envelope: read from anywhere, written one way."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import (
    BadMessage,
    Event,
    InvalidData,
    InvalidEnvelope,
    NotCloudEvents,
    Problem,
    UnknownType,
    UnknownVersion,
    encode,
    parse,
    samples,
)
from messages.payments import PaymentReversed

REVERSED = "com.algapsa.billing.payment.reversed.v1"

Sample = Callable[..., dict[str, Any]]


def body(**changes: Any) -> bytes:
    """Return the sample of a reversal as bytes, with attributes changed; None takes one out."""
    event = json.loads(samples.read(REVERSED)) | changes
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def refused(message: bytes, kind: type[BadMessage], **options: Any) -> list[str]:
    """Return the sentences with which a message is refused."""
    with pytest.raises(kind) as caught:
        parse(message, **options)
    assert type(caught.value) is kind
    return [str(problem) for problem in caught.value.problems]


def test_an_event_made_here_is_read_back_equal() -> None:
    """What `Event.of` makes and `encode` writes is what `parse` reads; the id is a UUID of version 7."""
    data = PaymentReversed(id="p-1", date="2026-03-31", reason="bounced")  # type: ignore[arg-type]  # wire form
    made = Event.of(data, tenantid="t", source="//psa.example.com").numbered(3)
    assert parse(encode(made)) == made
    assert made.id.version == 7
    assert made.subject == "p-1"
    assert made.document == ("payment", "p-1")
    assert (made.entry.room, made.entry.routing_key) == ("billing", "payment.reversed.v1")
    assert encode(made) == encode(parse(encode(made)))


def test_everything_can_be_given(sample: Sample) -> None:
    """Id, time and trace context travel when the producer has them."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    made = Event.of(
        PaymentReversed.model_validate(sample("payment.reversed.v1")),
        tenantid="t",
        source="//psa.example.com",
        time=datetime(2026, 3, 31, 12, tzinfo=UTC),
        event_id=UUID(int=7),
        traceparent=trace,
    )
    plain = json.loads(encode(made))
    assert plain["id"] == "00000000-0000-0000-0000-000000000007"
    assert plain["time"] == "2026-03-31T12:00:00Z"
    assert plain["traceparent"] == trace
    assert "sequence" not in plain


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"specversion": None}, "specversion is null; send 1.0"),
        ({"specversion": "0.3"}, "specversion is '0.3'; send 1.0"),
        ({"specversion": 1.0}, "specversion is 1.0; send 1.0"),
        ({"data_base64": "e30="}, "data_base64 is not read here; send the JSON object in data"),
    ],
)
def test_what_is_no_cloudevent(changes: dict[str, Any], sentence: str) -> None:
    """Other versions and binary data are refused by name."""
    assert refused(body(**changes), NotCloudEvents) == [sentence]


@pytest.mark.parametrize("value", ["[]", "null", "7", '"x"'])
def test_what_is_no_object(value: str) -> None:
    """JSON that is no object is no event."""
    assert refused(value.encode(), NotCloudEvents)[0].endswith("; send one CloudEvents object")


@pytest.mark.parametrize(
    ("type_name", "kind", "sentence"),
    [
        (
            "com.algapsa.billing.payment.reversed.v2",
            UnknownVersion,
            "type is 'com.algapsa.billing.payment.reversed.v2'; known here: " + REVERSED,
        ),
        (
            "com.algapsa.billing.payment.reversd.v1",
            UnknownType,
            f"type is 'com.algapsa.billing.payment.reversd.v1', which is no known event; did you mean {REVERSED}?",
        ),
        (
            "com.example.other",
            UnknownType,
            (
                "type is 'com.example.other', which is no known event; types begin with com.algapsa.billing. or "
                "com.algapsa.accounting."
            ),
        ),
        (5, UnknownType, "type is 5; send the name of an event"),
        (None, UnknownType, "type is null; send the name of an event"),
        ({}, UnknownType, "type is an object; send the name of an event"),
    ],
)
def test_unknown_types_and_versions_are_told_apart(
    type_name: Any, kind: type[BadMessage], sentence: str
) -> None:
    """A newer version is another matter than a wrong name; both say what is known."""
    assert refused(body(type=type_name), kind) == [sentence]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "5"}, "id"),
        ({"id": None}, "id"),
        ({"source": None}, "source"),
        ({"source": ""}, "source"),
        ({"subject": None}, "subject"),
        ({"subject": "another"}, "subject"),
        ({"time": None}, "time"),
        ({"time": "2026-03-31"}, "time"),
        ({"time": "2026-03-31T12:00:00"}, "time"),
        ({"tenantid": None}, "tenantid"),
        ({"tenantid": "  "}, "tenantid"),
        ({"sequence": None}, "sequence"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": "1"}, "sequence"),
        ({"sequence": True}, "sequence"),
        ({"sequence": 1.0}, "sequence"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
    ],
)
def test_wrong_attributes_are_named(changes: dict[str, Any], field: str) -> None:
    """Every attribute of the envelope is checked and named when wrong."""
    (sentence,) = refused(body(**changes), InvalidEnvelope)
    assert sentence.startswith(f"{field} ")
    assert ";" in sentence


def test_the_subject_is_the_document() -> None:
    """Order is kept per subject, so a subject that is not the data's document would break it."""
    (sentence,) = refused(body(subject="x"), InvalidEnvelope)
    document = json.loads(samples.read(REVERSED))["data"]["id"]
    assert sentence == (f"subject is 'x', but the data is about payment '{document}'; send the document's id")


def test_wrong_data_is_invalid_data() -> None:
    """Problems of the data carry paths from `data` on, and are there for programs too."""
    with pytest.raises(InvalidData) as caught:
        parse(body(data={"id": "p", "date": "2026-03-31T10:00:00Z", "reason": "bounced"}))
    (problem,) = caught.value.problems
    assert problem == Problem(
        "data.date",
        "is '2026-03-31T10:00:00Z', an instant; send the date alone, such as 2026-03-31, as the document itself "
        "shows it",
    )
    assert caught.value.reason == "invalid_data"


def test_an_event_to_be_emitted_has_no_sequence_yet() -> None:
    """Emit counts; a producer that counts itself is told so."""
    assert parse(body(sequence=None), numbered=False).sequence is None
    assert refused(body(), InvalidEnvelope, numbered=False) == [
        "sequence is given, but emit assigns it; leave it out"
    ]


@pytest.mark.parametrize(
    "trace",
    [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "x",
        "",
        7,
    ],
)
def test_a_broken_trace_context_never_stops_money(trace: Any) -> None:
    """W3C says to start a new trace; the event itself is fine."""
    assert parse(body(traceparent=trace)).traceparent is None


def test_tolerated_variety() -> None:
    """Unknown attributes, other UUID versions, parameters and an absent content type are all fine."""
    event = parse(
        body(
            id="c232ab00-9414-11ec-b3c8-9f6bdeced846",
            partitionkey="x",
            dataschema="https://example.com",
            datacontenttype="Application/JSON; charset=utf-8",
        )
    )
    assert event.id.version == 1
    assert event.datacontenttype == "application/json"
    assert parse(body(datacontenttype=None)).datacontenttype == "application/json"


@pytest.mark.parametrize("sequence", [0, -1, 2**53, True, "1"])
def test_numbering_is_checked(sequence: Any, sample: Sample) -> None:
    """A wrong number is refused where it is assigned, not at the reader."""
    data = PaymentReversed.model_validate(sample("payment.reversed.v1"))
    with pytest.raises(InvalidEnvelope, match="sequence is "):
        Event.of(data, tenantid="t", source="s").numbered(sequence)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(samples.names()),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=6),
    json_values,
)
def test_no_value_anywhere_raises_anything_but_a_bad_message(name: str, path: list[int], value: Any) -> None:
    """Whatever stands in whatever place of whatever event, it is read or refused with a reason and sentences."""
    event = json.loads(samples.read(name))
    node: Any = event
    for step in path:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = keys[step % len(keys)]
        if not isinstance(node[key], (dict, list)) or step == path[-1]:
            node[key] = value
            break
        node = node[key]
    refused = None
    try:
        parse(json.dumps(event).encode())
    except BadMessage as error:
        refused = error
    assert refused is None or (refused.reason != "bad_message" and str(refused).encode())
