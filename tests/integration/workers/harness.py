"""What the tests of the fleet do to a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pika
import pika.exceptions
import pytest

from tests.support import eventually
from workers import topology
from workers.topology import bindings


class Received(NamedTuple):
    """A message taken from a queue."""

    body: bytes
    headers: dict[str, Any]
    properties: pika.BasicProperties


class Amqp:
    """One connection for arranging and looking; a refusal costs a channel, never the connection."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel: Any = None

    @property
    def channel(self) -> Any:
        """An open, confirming channel."""
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def publish(self, exchange: str, key: str, body: bytes, **properties: Any) -> None:
        """Publish, confirmed and routable or an error."""
        ours = pika.BasicProperties(delivery_mode=2, **properties)
        self.channel.basic_publish(exchange, key, body, ours, mandatory=True)

    def declare_queue(self, name: str, arguments: dict[str, Any], *, durable: bool = True) -> None:
        """Declare a queue as somebody else would."""
        self.channel.queue_declare(name, durable=durable, arguments=arguments)

    def declare_exchange(self, name: str, kind: str) -> None:
        """Declare an exchange as somebody else would."""
        self.channel.exchange_declare(name, kind, durable=True)

    def wipe(self) -> None:
        """Delete everything of ours from the vhost."""
        for binding in bindings((3, 10)):
            self.channel.queue_delete(binding.name)
        for exchange in topology.EXCHANGES:
            self.channel.exchange_delete(exchange.name)

    def exists(self, queue: str) -> bool:
        """Whether a queue exists."""
        try:
            self.channel.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True

    def depth(self, queue: str) -> int:
        """Messages ready in a queue: neither taken nor under way."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def consumers(self, queue: str) -> int:
        """Consumers of a queue."""
        return int(self.channel.queue_declare(queue, passive=True).method.consumer_count)

    def purge(self, queue: str) -> None:
        """Empty a queue."""
        self.channel.queue_purge(queue)

    def reject(self, queue: str) -> None:
        """Take the next message and reject it."""
        self.channel.basic_reject(self._get(queue)[0].delivery_tag, requeue=False)

    def requeue(self, queue: str) -> None:
        """Take the next message and put it back."""
        self.channel.basic_reject(self._get(queue)[0].delivery_tag, requeue=True)

    def hold(self, queue: str) -> bytes:
        """Take the next message and keep it until this connection ends."""
        body: bytes = self._get(queue)[2]
        return body

    def take(self, queue: str, timeout: float = 10) -> Received:
        """Take the next message for good."""
        method, properties, body = self._get(queue, timeout)
        self.channel.basic_ack(method.delivery_tag)
        return Received(body, properties.headers or {}, properties)

    def _get(self, queue: str, timeout: float = 10) -> Any:
        def got() -> Any:
            found = self.channel.basic_get(queue)
            return found if found[0] is not None else None

        return eventually(got, timeout, what=f"a message in {queue}")

    def close(self) -> None:
        """End the connection."""
        if self._connection.is_open:
            self._connection.close()


@pytest.fixture
def amqp(broker_url: str) -> Iterator[Amqp]:
    """A channel to the declared queues, all of them empty."""
    channel = Amqp(broker_url)
    channel.wipe()
    topology.declare(broker_url)
    yield channel
    channel.close()
