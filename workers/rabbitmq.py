"""RabbitMQ through pika: how long anything may take, and one stay at one queue."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import amqp
import pika
import pika.exceptions
from kombu.exceptions import OperationalError
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from workers import headers as message_headers
from workers import topology
from workers.delivery import Arrival, SessionLost
from workers.headers import CODE_HEADER, FOREIGN_HEADER, QUEUE_HEADER, REASON_HEADER
from workers.topology import CONNECT_SECONDS, QueueName, TopologyError

HEARTBEAT: Final = 30  # seconds; a peer that is silent for two of them is dead
BLOCKED_SECONDS: Final = 30.0  # how long a broker short of disk or memory may hold a publisher

# pika logs the bodies of returned messages and a traceback for every refused connection. Bodies are customers' data,
# and what a lost connection means is logged by whoever lost it.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def parameters(url: str, name: str) -> pika.URLParameters:
    """Connection parameters for `url`; `name` is shown by `rabbitmqctl list_connections client_properties`."""
    found = pika.URLParameters(url)
    found.heartbeat = HEARTBEAT
    found.socket_timeout = CONNECT_SECONDS
    found.stack_timeout = CONNECT_SECONDS
    found.blocked_connection_timeout = BLOCKED_SECONDS
    found.connection_attempts = 1
    found.client_properties = {"connection_name": f"algasync {name}"}
    return found


def connect(url: str, name: str) -> pika.BlockingConnection:
    """An open connection; raises `pika.exceptions.AMQPConnectionError` when there is none to be had."""
    try:
        return pika.BlockingConnection(parameters(url, name))
    except AMQPConnectorException as stalled:  # the greeting took too long; to pika that is no AMQPError
        raise pika.exceptions.AMQPConnectionError(f"the broker does not answer: {stalled}") from stalled


class Harmful(NamedTuple):
    """A message that the broker must not dead-letter."""

    properties: pika.BasicProperties
    body: bytes


class RabbitmqSession:
    """A connection with one channel and one consumer (`workers.delivery.Session`)."""

    def __init__(self, url: str, queue: str, prefetch: int) -> None:
        """Enter: everything is declared again first, because the broker may have lost its disk.

        Raises `SessionLost` when the broker does not answer, or when this queue is not as it must be.
        """
        self.closed = False
        self._queue = queue
        self._harmful: dict[int, Harmful] = {}
        self._burial: BlockingChannel | None = None
        self._arrived: deque[Arrival] = deque()
        self._cancelled = False
        _declare(url, queue)
        with _lost():
            self._connection = connect(url, f"worker of {queue}")
        try:
            with _lost():
                self._channel: BlockingChannel = self._connection.channel()
                self._channel.basic_qos(prefetch_count=prefetch)
                self._channel.add_on_cancel_callback(self._on_cancel)
                self._consumer = self._channel.basic_consume(queue, self._on_message)
        except SessionLost:
            self.close()
            raise

    def receive(self, seconds: float) -> Arrival | None:
        """Wait for the next message, at most so long or until `wake`."""
        with _lost():
            if not self._arrived:
                self._connection.process_data_events(time_limit=seconds)
            if not self._channel.is_open:
                raise SessionLost("the broker closed the channel")
        if self._cancelled:
            raise SessionLost("the queue was deleted or is no longer available")
        return self._arrived.popleft() if self._arrived else None

    def ack(self, tag: int) -> None:
        """It is done. It leaves at once, but nobody waits until it has left, which costs more than the rest."""
        with _lost():
            self._channel._impl.basic_ack(tag)  # `BlockingChannel.basic_ack` is this, and the wait

    def reject(self, tag: int, code: str, reason: str) -> None:
        """It goes to the dead letters. The broker carries no reason, so whoever files the letter reads it again."""
        with _lost():
            if (letter := self._harmful.pop(tag, None)) is not None:
                self._bury(letter, code, reason)
                self._channel.basic_ack(tag)
            else:
                self._channel.basic_reject(tag, requeue=False)

    def requeue(self, tag: int, *, counted: bool) -> None:
        """It goes back to its queue. Before 4.3 the broker counts both kinds; from 4.3 a nack is not a failure."""
        with _lost():
            if counted:
                self._channel.basic_reject(tag, requeue=True)
            else:
                self._channel.basic_nack(tag, requeue=True)

    def cancel(self) -> None:
        """Receive nothing more; what arrived and was not handed out goes back at once."""
        with _lost():
            self._channel.basic_cancel(self._consumer)
        while self._arrived:
            self.requeue(self._arrived.popleft().tag, counted=False)

    def wake(self) -> None:
        """End a `receive` of another thread. It costs a write to a socket."""
        with suppress(pika.exceptions.AMQPError, OSError):
            self._connection.add_callback_threadsafe(_nothing)

    def close(self) -> None:
        """Leave; what was not settled goes back to its queue."""
        self.closed = True
        with suppress(pika.exceptions.AMQPError, OSError, AssertionError):
            if self._connection.is_open:
                self._connection.close()

    def _bury(self, letter: Harmful, code: str, reason: str) -> None:
        """Carry to the dead letters by hand what the broker must not dead-letter: a copy with headers of ours."""
        headers = {
            QUEUE_HEADER: self._queue,
            CODE_HEADER: code,
            REASON_HEADER: reason[:1000],
            FOREIGN_HEADER: json.dumps(message_headers.plain(letter.properties.headers))[:4000],
        }
        copy = pika.BasicProperties(
            message_id=message_headers.text(letter.properties.message_id),
            type=message_headers.text(letter.properties.type),
            headers=headers,
            delivery_mode=2,
        )
        if self._burial is None:
            self._burial = self._connection.channel()
            self._burial.confirm_delivery()
        self._burial.basic_publish(topology.DEAD.name, "", letter.body, copy, mandatory=True)

    def _on_message(self, _channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        headers = properties.headers or {}
        if defect := message_headers.defect(headers):
            self._harmful[method.delivery_tag] = Harmful(properties, body)
        count = headers.get("x-delivery-count")
        self._arrived.append(
            Arrival(
                tag=method.delivery_tag,
                body=body,
                headers=headers,
                message_id=message_headers.text(properties.message_id),
                type=message_headers.text(properties.type),
                routing_key=str(message_headers.text(method.routing_key)),
                deliveries=int(count) if isinstance(count, int) else int(method.redelivered),
                defect=defect,
            )
        )

    def _on_cancel(self, _frame: Any) -> None:
        self._cancelled = True


def _nothing() -> None:
    """What a thread is woken for is on its list already."""


def _declare(url: str, queue: str) -> None:
    try:
        topology.declare(url)
    except TopologyError as error:
        # Another queue's trouble stops only those who consume that one; letters and exchanges concern everybody.
        ours = {f"queue {queue}", f"queue {QueueName.DEAD.versioned}"}
        if any(found.subject in ours or found.subject.startswith("exchange") for found in error.differences):
            raise SessionLost(str(error)) from error
    except (OperationalError, amqp.AMQPError, OSError) as error:  # gone, or it takes no more connections
        raise SessionLost(f"RabbitMQ does not answer: {error}") from error


@contextmanager
def _lost() -> Iterator[None]:
    """Say in our own words that the session is over; AssertionError is how pika says that it lost its way."""
    try:
        yield
    except (pika.exceptions.AMQPError, OSError, AssertionError) as error:
        raise SessionLost(f"{type(error).__name__}: {error}") from error
