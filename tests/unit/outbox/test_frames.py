"""Hand-written frames say what pika, an independent implementation, reads from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from outbox.frames import Message, encode

NAMES = st.text(max_size=60)
CHANNELS = st.integers(1, 2047)


def decode(data: bytes) -> list[frame.Frame]:
    """Every frame in `data`; fails unless they fill it exactly."""
    frames = []
    while data:
        size, decoded = frame.decode_frame(data)
        assert decoded is not None
        frames.append(decoded)
        data = data[size:]
    return frames


@given(
    message=st.builds(
        Message,
        exchange=NAMES,
        routing_key=NAMES,
        message_id=NAMES,
        type=NAMES,
        content_type=NAMES,
        body=st.binary(max_size=20_000),
        headers=st.dictionaries(NAMES, st.text(max_size=300), max_size=4),
    ),
    channel=CHANNELS,
    frame_max=st.sampled_from((4096, 8192, 131_072)),
)
def test_a_decoder_reads_back_what_was_written(message: Message, channel: int, frame_max: int) -> None:
    """Every field arrives as given; every message is mandatory and persistent; no frame exceeds the agreed size."""
    written = b"".join(encode(message, channel, frame_max))
    method, header, *bodies = decode(written)

    assert isinstance(method.method, spec.Basic.Publish)
    assert (method.method.exchange, method.method.routing_key) == (message.exchange, message.routing_key)
    assert method.method.mandatory
    assert header.body_size == len(message.body)
    properties = header.properties
    assert properties.delivery_mode == 2
    assert properties.message_id == message.message_id
    assert properties.type == message.type
    assert properties.content_type == message.content_type
    assert properties.headers == dict(message.headers)
    assert b"".join(body.fragment for body in bodies) == message.body
    assert {one.channel_number for one in (method, header, *bodies)} == {channel}
    assert all(len(body.fragment) + 8 <= frame_max for body in bodies)


@pytest.mark.parametrize("field", ["exchange", "routing_key", "message_id", "type", "content_type"])
def test_what_amqp_cannot_carry_is_refused(field: str) -> None:
    """A name beyond 255 bytes is an error before anything is written, never a torn frame."""
    message = Message("exchange", "key", "id", "type", "content", b"")._replace(**{field: "ü" * 128})
    with pytest.raises(ValueError, match="255"):
        encode(message, 1, 131_072)
