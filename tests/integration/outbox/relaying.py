"""A relay under test, and both ends of it: a queue on a real broker, and the outcomes that intake would record."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pika
import pika.exceptions

from outbox.lane import Settings
from outbox.relay import Relay
from outbox.republication import Schedule
from tests.integration.outbox.events import VOIDED, Session, billing_system, emit
from tests.support import eventually

QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}


class Delivered(NamedTuple):
    """A message as a consumer gets it."""

    properties: pika.BasicProperties
    exchange: str
    routing_key: str
    body: bytes


class Queue:
    """A queue that gets everything from one exchange, and the connection to look at it."""

    def __init__(
        self, url: str, name: str, exchange: str = "billing", arguments: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self._exchange = exchange
        self._arguments = QUORUM if arguments is None else arguments
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.exchange_declare(exchange, "topic", durable=True)
        self.declare()

    def declare(self) -> None:
        """Make it exist, and bind it."""
        self._channel.queue_declare(self.name, durable=True, arguments=self._arguments)
        self._channel.queue_bind(self.name, self._exchange, "#")

    def delete(self) -> None:
        """Delete it with all it holds."""
        self._channel.queue_delete(self.name)

    def purge(self) -> None:
        """Lose what it holds, as a broker does whose disk was wiped."""
        self._channel.queue_purge(self.name)

    def grows(self, beyond: int, *, timeout: float = 30) -> None:
        """Wait until it holds more messages than that."""
        eventually(lambda: self.depth > beyond, timeout, what=f"{self.name} holds more than {beyond}")

    @property
    def depth(self) -> int:
        """Messages in it."""
        return int(self._channel.queue_declare(self.name, passive=True).method.message_count)

    def take(self) -> list[Delivered]:
        """Take everything there is, acknowledged."""
        taken: list[Delivered] = []
        wanted = self.depth
        if not wanted:
            return taken
        self._channel.basic_qos(prefetch_count=2_000)
        while len(taken) < wanted:
            method, properties, body = next(self._channel.consume(self.name, inactivity_timeout=10))
            assert method is not None, f"{self.name} gives {len(taken)} of its {wanted} messages"
            taken.append(Delivered(properties, method.exchange, method.routing_key, body))
            if len(taken) % 1_000 == 0 or len(taken) == wanted:
                self._channel.basic_ack(method.delivery_tag, multiple=True)
        self._channel.cancel()
        return taken

    def ids(self) -> Counter[str]:
        """Take everything; how often each event came."""
        return Counter(str(delivered.properties.message_id) for delivered in self.take())

    def close(self) -> None:
        """Delete it and hang up."""
        self.delete()
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection, which may have ended already."""
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()


def settings(queue: str = "intake", **changes: Any) -> Settings:
    """A relay's settings with little patience, for tests."""
    values: dict[str, Any] = {"intake_queue": queue, "patience": 5.0} | changes
    return Settings(**values)


def schedule(first: float, longest: float) -> Schedule:
    """When to publish again, in seconds."""
    return Schedule(first, longest)


@contextmanager
def relaying(database_url: str, broker_url: str, wanted: Settings) -> Iterator[threading.Event]:
    """A relay that runs inside the block; it must end without a failure when told to stop."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            Relay(database_url, broker_url, wanted).run(stop)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="relay")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive(), "the relay did not stop"
    assert not failures, failures


def emit_many(database_url: str, count: int, *, tenants: int = 10, prefix: str = "inv") -> None:
    """Emit `count` events in one transaction, spread over tenants, each about a document of its own."""
    with billing_system(database_url) as psa:
        for number in range(count):
            emit(psa, f"t{number % tenants}", f"{prefix}-{number}")


def write_many(owner: Session, count: int, *, tenants: int = 10, prefix: str = "inv") -> None:
    """Put `count` events into the outbox without emit's checks: as fast as PostgreSQL writes."""
    owner.execute(
        """INSERT INTO outbox_event (event_id, tenant_id, exchange, type, document_kind, subject, sequence, body)
           SELECT uuid_v7(), 't' || n %% %s, 'billing', %s, 'invoice', %s || n, 1, '{"data": {}}'
             FROM generate_series(1, %s) AS n""",
        (tenants, VOIDED, f"{prefix}-", count),
    )


def take_over(owner: Session, *, limit: int = 1_000_000) -> int:
    """Record the outcome of published events, as intake does; returns of how many."""
    return owner.execute(
        """INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at, state)
           SELECT event_id, tenant_id, type, document_kind, subject, sequence, '{}', created_at, 'applied'
             FROM outbox_event WHERE published_at IS NOT NULL ORDER BY published_at LIMIT %s
               ON CONFLICT DO NOTHING""",
        (limit,),
    ).rowcount


def count(owner: Session, condition: str = "true") -> int:
    """Rows of the outbox that meet a condition."""
    row = owner.execute(f"SELECT count(*) FROM outbox_event WHERE {condition}").fetchone()
    assert row is not None
    return int(row[0])


def becomes(owner: Session, condition: str, number: int, *, timeout: float = 10) -> None:
    """Wait until that many rows meet a condition."""
    eventually(lambda: count(owner, condition) == number, timeout, what=f"{number} rows where {condition}")


def published(owner: Session, number: int, *, timeout: float = 20) -> None:
    """Wait until that many rows are marked published."""
    becomes(owner, "published_at IS NOT NULL", number, timeout=timeout)


def empty(owner: Session, *, timeout: float = 20) -> None:
    """Wait until the outbox holds nothing."""
    becomes(owner, "true", 0, timeout=timeout)
