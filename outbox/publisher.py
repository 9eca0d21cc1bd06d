# mypy: untyped-calls-exclude=kombu
# (kombu ships annotations for half of its functions)
"""Publishing with pipelined confirms: many messages under way, and a definite word about each of them.

One connection and one confirm channel, used by one thread. kombu and py-amqp connect, authenticate and read; what is
published is written by `outbox.frames`.
https://www.rabbitmq.com/docs/confirms, https://www.rabbitmq.com/docs/connection-blocked
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import amqp
import structlog
from kombu.connection import Connection
from kombu.entity import Exchange

from outbox.frames import Message, encode

log = structlog.get_logger()

LOST: Final = (OSError, amqp.AMQPError)
"""What a broken connection or channel raises."""

_CHUNK: Final = (
    1 << 17
)  # bytes of bodies encoded before they are written, so that confirms are read in between
_HEARTBEAT: Final = 30  # seconds
_PENDING, _CONFIRMED, _NACKED = 0, 1, 2


class BrokerUnavailable(Exception):
    """No connection, and nothing was published; the text says why."""


@dataclass(slots=True)
class Receipt:
    """What became of each message, by its place in the batch. Whatever is in none of the three was confirmed.

    `returned`: no queue took it (why). `nacked`: a queue refused it, such as a full one. `unknown`: the broker did not
    say; it may or may not have it.
    """

    size: int
    returned: dict[int, str] = field(default_factory=dict)
    nacked: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)

    @property
    def troubled(self) -> set[int]:
        """Places of all messages that were not confirmed."""
        return {*self.returned, *self.nacked, *self.unknown}

    @property
    def confirmed(self) -> list[int]:
        """Places of the messages that a queue took."""
        troubled = self.troubled
        return [place for place in range(self.size) if place not in troubled]


class Publisher:
    """Publishes batches to one broker. Connects when needed; `exchanges` are declared whenever it does.

    At most `window` messages are unconfirmed at any time. `patience` is how many seconds without a single confirm are
    borne before the rest of a batch is given up as unknown.
    """

    def __init__(
        self,
        url: str,
        *,
        exchanges: Sequence[Exchange] = (),
        window: int = 2000,
        patience: float = 10.0,
        name: str = "algasync publisher",
    ) -> None:
        self._url = url
        self._exchanges = exchanges
        self._window = window
        self._patience = patience
        self._name = name
        self._connection: Connection | None = None
        self.blocked = False
        """The broker takes nothing at present (memory or disk alarm); publishing again before it ends is in vain."""

    def connect(self) -> None:
        """Connect unless connected; raises `BrokerUnavailable`."""
        if self._connection is not None:
            return
        connection = Connection(
            self._url,
            heartbeat=_HEARTBEAT,
            connect_timeout=5,
            transport_options={
                "client_properties": {"connection_name": self._name},
                "on_blocked": self._on_blocked,
                "on_unblocked": self._on_unblocked,
                # py-amqp's own second would cut a connection that a memory alarm merely holds up
                "socket_settings": {socket.TCP_USER_TIMEOUT: int(2000 * self._patience)},
            },
        )
        connected: Any = None
        try:
            # whoever calls knows better when to try again: `connect` would wait two seconds and try once more
            connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
            connected = connection.connection
            self._amqp: Any = connected
            self._amqp.transport.sock.settimeout(self._patience)
            self._channel = self._amqp.channel()
            for exchange in self._exchanges:
                exchange(self._channel).declare()
            self._channel.confirm_select()
        except LOST as error:
            if connected is not None:  # lost or not, its socket is ours to close
                connected.collect()
            raise BrokerUnavailable(f"cannot publish: {error}") from error
        self._channel.events["basic_ack"].add(self._on_ack)
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)
        self._connection = connection
        self.blocked = False
        self._tag = 0  # of the last message published on this channel
        self._begin(())

    def publish(self, messages: Sequence[Message]) -> Receipt:
        """Publish all and wait until the broker has answered for each, or until it stays silent too long.

        Never raises for what happens on the way: a lost connection leaves `unknown` messages in the receipt. Raises
        `BrokerUnavailable` when there is no connection to begin with.
        """
        self.connect()
        self._begin(messages)
        try:
            self._write_all()
            while self._unconfirmed:
                self._read(self._time_left())
        except TimeoutError:
            log.warning(
                "no_confirms", seconds=self._patience, unconfirmed=self._unconfirmed, blocked=self.blocked
            )
            if not self.blocked or self._half_written:
                self._drop()
        except LOST as error:
            log.warning("broker_connection_lost", error=str(error), unconfirmed=self._unconfirmed)
            self._drop()
        return self._receipt()

    def idle(self, seconds: float = 0.0) -> None:
        """Read what the broker says by itself (alarms, heartbeats) for up to `seconds`; call it while there is no work.

        Raises `BrokerUnavailable` when the connection is gone; the next call connects again.
        """
        self.connect()
        deadline = time.monotonic() + seconds
        try:
            self._amqp.heartbeat_tick()
            while self._readable(max(0.0, deadline - time.monotonic())):
                self._drain()
        except LOST as error:
            self._drop()
            raise BrokerUnavailable(f"connection to the broker lost: {error}") from error

    def depth(self, queue: str) -> int | None:
        """Messages ready in `queue`; None when there is no such queue. Raises `BrokerUnavailable`."""
        self.connect()
        try:
            channel = self._amqp.channel()  # its own: a refusal closes the channel it is asked on
            try:
                return int(channel.queue_declare(queue, passive=True).message_count)
            except amqp.NotFound:
                return None
            finally:
                if channel.is_open:
                    channel.close()
        except LOST as error:
            self._drop()
            raise BrokerUnavailable(f"connection to the broker lost: {error}") from error

    def close(self) -> None:
        """Say goodbye and hang up; what is unconfirmed stays unknown."""
        if self._connection is not None:
            with contextlib.suppress(*LOST):
                self._amqp.transport.sock.settimeout(1)
                self._amqp.close()
            self._drop()

    def _drop(self) -> None:
        """Hang up without a word, as one must on a broker that does not listen."""
        if self._connection is not None:
            self._amqp.collect()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def unconfirmed(self) -> int:
        """Messages published and not answered for."""
        return self._unconfirmed if self._connection is not None else 0

    # --- one batch ---

    def _begin(self, messages: Sequence[Message]) -> None:
        self._messages = messages
        self._first = self._tag + 1  # tag of the message in place 0
        self._states = bytearray(len(messages))
        self._lowest = 0  # all places before it are answered for
        self._unconfirmed = 0
        self._returned: dict[int, str] = {}
        self._places: dict[str, int] = {}
        self._half_written = False
        self._progress = time.monotonic()

    def _write_all(self) -> None:
        place, count = 0, len(self._messages)
        while place < count:
            while self._unconfirmed >= self._window:
                self._read(self._time_left())
            pieces: list[bytes] = []
            size, start = 0, place
            last = min(count, place + self._window - self._unconfirmed)
            while place < last and size < _CHUNK:
                message = self._messages[place]
                pieces += encode(message, self._channel.channel_id, self._amqp.frame_max)
                size += len(message.body)
                place += 1
            self._tag += place - start
            self._unconfirmed += place - start
            self._write(memoryview(b"".join(pieces)))

    def _write(self, data: memoryview) -> None:
        """Write without ever waiting for the socket alone: a blocked broker speaks while it does not listen."""
        sock = self._amqp.transport.sock
        self._half_written = True
        while data:
            readable, writable, _ = select.select([sock], [sock], [], self._time_left())
            if readable:
                self._drain()
            if writable:
                data = data[sock.send(data) :]
        self._half_written = False
        self._amqp.bytes_sent += 1  # for heartbeats, whatever is written counts

    def _read(self, timeout: float) -> None:
        if self._readable(timeout):
            self._drain()
        self._amqp.heartbeat_tick()

    def _readable(self, timeout: float) -> bool:
        return bool(select.select([self._amqp.transport.sock], [], [], timeout)[0])

    def _drain(self) -> None:
        """Handle every frame that has arrived."""
        try:
            while True:
                self._amqp.drain_events(timeout=0)
        except TimeoutError:
            return

    def _time_left(self) -> float:
        """Seconds until patience ends; raises TimeoutError when it has."""
        left = self._progress + self._patience - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, 1.0)  # a second at most, so that heartbeats are sent

    def _receipt(self) -> Receipt:
        receipt = Receipt(len(self._messages), self._returned)
        for place, state in enumerate(self._states) if self._unconfirmed or b"\2" in self._states else ():
            if state == _NACKED:
                receipt.nacked.append(place)
            elif state == _PENDING and place not in self._returned:
                receipt.unknown.append(place)
        return receipt

    # --- what the broker says ---

    def _on_ack(self, tag: int, multiple: bool) -> None:
        self._answered(tag, multiple, _CONFIRMED)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._answered(tag, multiple, _NACKED)

    def _answered(self, tag: int, multiple: bool, state: int) -> None:
        place = tag - self._first
        self._progress = time.monotonic()
        for answered in range(self._lowest if multiple else place, place + 1):
            if answered >= 0 and not self._states[answered]:
                self._states[answered] = state
                self._unconfirmed -= 1
        if multiple:
            self._lowest = max(self._lowest, place + 1)

    def _on_return(self, error: amqp.ChannelError, exchange: str, key: str, message: amqp.Message) -> None:
        """Note a message that no queue took; its confirm follows."""
        if not self._places:
            self._places = {sent.message_id: place for place, sent in enumerate(self._messages)}
        place = self._places.get(message.properties.get("message_id"))
        if place is not None:  # else of a batch given up before
            self._returned[place] = f"{error.reply_text} on exchange {exchange!r} with key {key!r}"

    def _on_blocked(self, reason: str) -> None:
        log.warning("broker_blocked", reason=reason)
        self.blocked = True

    def _on_unblocked(self) -> None:
        log.info("broker_unblocked")
        self.blocked = False
