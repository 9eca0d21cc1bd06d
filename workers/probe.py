"""Messages that do no work: they show that a queue is bound, and that what dies in it reaches `dead`.

A probe is not a message that any queue accepts, so a running fleet rejects it like every malformed message;
without a fleet it expires at once (TTL 0). Either way it must become a dead letter. The collector knows a
probe by its type and files no letter for it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import pika
import pika.exceptions

from workers import rabbitmq, topology
from workers.topology import Binding, QueueName

TYPE: Final = "algasync.probe"
_BODY: Final = b'{"probe": "sent by algasync doctor; it does no work"}'


def unbound(url: str, bindings: Sequence[Binding]) -> list[Binding]:
    """Command queues that messages for them do not reach, because their binding is gone.

    `billing` is left out: its messages are read by others too, who should not have to know what a probe is.
    There the relay notices at once, because its messages come back as unroutable.
    """
    with _Channel(url) as channel:
        return [
            binding
            for binding in bindings
            if binding.exchange.name == topology.WORK.name
            and not channel.publish(topology.WORK.name, binding.routing_key, secrets.token_hex(8))
        ]


def undelivered(url: str, bindings: Sequence[Binding], seconds: float) -> list[Binding]:
    """Queues whose dead letters did not come out at the exchange `dead` within `seconds`."""
    with _Channel(url) as channel:
        channel.watch(topology.DEAD.name)
        sent = {secrets.token_hex(8): binding for binding in bindings if binding.queue is not QueueName.DEAD}
        for name, binding in sent.items():
            channel.publish("", binding.name, name)
        deadline = time.monotonic() + seconds
        while sent and (left := deadline - time.monotonic()) > 0:
            sent.pop(channel.next_dead(left), None)
        return list(sent.values())


class _Channel:
    """A confirming channel with a queue of its own to watch an exchange with."""

    def __init__(self, url: str) -> None:
        self._connection = rabbitmq.connect(url, "doctor")
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._seen: list[str] = []

    def __enter__(self) -> _Channel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.is_open:
            self._connection.close()

    def publish(self, exchange: str, routing_key: str, name: str) -> bool:
        """Whether the probe called `name` reached a queue."""
        properties = pika.BasicProperties(message_id=name, type=TYPE, delivery_mode=2, expiration="0")
        try:
            self._channel.basic_publish(exchange, routing_key, _BODY, properties, mandatory=True)
        except pika.exceptions.UnroutableError:
            return False
        except pika.exceptions.NackError:
            return True  # it is full, which is another finding, but it is bound
        return True

    def watch(self, exchange: str) -> None:
        """Receive copies of what `exchange` routes from now on, in a queue that ends with the connection."""
        queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(queue, exchange)
        self._channel.basic_consume(queue, self._on_letter, auto_ack=True)

    def next_dead(self, seconds: float) -> str:
        """Name of the next probe that died, or "" when none came in time."""
        if not self._seen:
            self._connection.process_data_events(time_limit=seconds)
        return self._seen.pop(0) if self._seen else ""

    def _on_letter(self, _channel: Any, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        if properties.type == TYPE:
            self._seen.append(properties.message_id or "")
