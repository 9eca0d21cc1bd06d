"""What consumers rely on holds for RabbitMQ and for the in-process broker alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Protocol
from uuid import UUID, uuid4

import pytest

from messages import commands
from outbox.frames import Message
from outbox.publisher import Publisher, Receipt
from services.exceptions.letters import Letter
from services.ledger.runner import Verdict
from tests.integration.workers.harness import Amqp
from tests.integration.workers.running import DONE, fleet
from tests.support import eventually
from workers import actors, topology
from workers.broker import Broker, FleetBroker
from workers.collector import Collector
from workers.delivery import Arrival, Session
from workers.gate import Gate
from workers.inprocess import InProcessBroker
from workers.pool import Pool
from workers.topology import QueueName


class Publishes(Protocol):
    """What relay and dispatcher need."""

    def publish(self, messages: list[Message]) -> Receipt:
        """Publish a batch."""

    def depth(self, queue: str) -> int | None:
        """Messages ready."""


class Carrier:
    """A broker, and a publisher to it."""

    def __init__(self, broker: FleetBroker, publisher: Publishes) -> None:
        self.broker = broker
        self.publisher = publisher

    def enter(self, queue: str = "export.v1", prefetch: int = 10) -> Session:
        """A session."""
        return self.broker.enter(queue, prefetch)

    def send(self, *bodies: bytes, exchange: str = "work", key: str = "export") -> Receipt:
        """Publish one message a body; the body is its id."""
        return self.publisher.publish(
            [
                Message(exchange, key, body.decode(), "test", "text/plain", body, {"name": "a"})
                for body in bodies
            ]
        )


@pytest.fixture(params=["rabbitmq", "inprocess"])
def carrier(request: pytest.FixtureRequest, broker_url: str) -> Iterator[Carrier]:
    """RabbitMQ, then the in-process broker."""
    gate = Gate(lambda: None)
    if request.param == "inprocess":
        broker = InProcessBroker(gate, time_limit=60, rest=0)
        yield Carrier(broker, broker.publisher())
        return
    amqp = Amqp(broker_url)
    amqp.wipe()
    topology.declare(broker_url)
    with Publisher(broker_url) as publisher:
        yield Carrier(Broker(broker_url, gate, time_limit=60, rest=0), publisher)
    amqp.close()


def _receive(session: Session, count: int = 1) -> list[Arrival]:
    found: list[Arrival] = []

    def enough() -> bool:
        if (arrival := session.receive(0.1)) is not None:
            found.append(arrival)
        return len(found) == count

    eventually(enough, what=f"{count} messages")
    return found


def test_a_message_arrives_with_its_id_type_and_headers(carrier: Carrier) -> None:
    """What was published is what an actor gets."""
    assert carrier.send(b"one").confirmed == [0]
    session = carrier.enter()
    (arrival,) = _receive(session)
    assert (arrival.body, arrival.message_id, arrival.type) == (b"one", "one", "test")
    assert arrival.headers["name"] == "a"
    assert (arrival.deliveries, arrival.routing_key) == (0, "export")
    session.close()


def test_what_no_queue_takes_comes_back(carrier: Carrier) -> None:
    """Nothing is published into the void."""
    receipt = carrier.send(b"one", exchange="work", key="nobody")
    assert list(receipt.returned) == [0]
    assert "NO_ROUTE" in receipt.returned[0]
    assert carrier.publisher.depth("nobody.v1") is None


def test_events_go_to_intake_whatever_their_type(carrier: Carrier) -> None:
    """The exchange `billing` is bound with `#`."""
    carrier.send(b"one", exchange="billing", key="invoice.finalized.v1")
    eventually(lambda: carrier.publisher.depth("intake.v1") == 1)


def test_acked_messages_are_gone(carrier: Carrier) -> None:
    """An ack is for good."""
    carrier.send(b"one")
    session = carrier.enter()
    (arrival,) = _receive(session)
    session.ack(arrival.tag)
    session.close()
    again = carrier.enter()
    assert again.receive(0.1) is None
    again.close()
    assert carrier.publisher.depth("export.v1") == 0


def test_rejected_messages_are_letters(carrier: Carrier) -> None:
    """A rejected message is in the queue of dead letters, byte for byte."""
    carrier.send(b"one")
    session = carrier.enter()
    (arrival,) = _receive(session)
    session.reject(arrival.tag, "bad_json", "line 1")
    dead = carrier.enter("dead.v1")
    (letter,) = _receive(dead)
    assert (letter.body, letter.message_id) == (b"one", "one")
    session.close()
    dead.close()


@pytest.mark.parametrize("counted", [True, False])
def test_requeued_messages_come_back(carrier: Carrier, counted: bool) -> None:
    """Whether it counts or not, it is delivered again."""
    carrier.send(b"one")
    session = carrier.enter()
    (arrival,) = _receive(session)
    session.requeue(arrival.tag, counted=counted)
    (again,) = _receive(session)
    assert again.body == b"one"
    assert again.tag != arrival.tag
    session.close()


def test_unsettled_messages_survive_their_session_in_order(carrier: Carrier) -> None:
    """A worker that crashes gives back what it had."""
    carrier.send(b"one", b"two", b"three")
    crashing = carrier.enter()
    first, *_ = _receive(crashing, 3)
    crashing.ack(first.tag)
    crashing.close()
    assert crashing.closed
    session = carrier.enter()
    assert [(arrival.body, arrival.deliveries) for arrival in _receive(session, 2)] == [
        (b"two", 1),
        (b"three", 1),
    ]
    session.close()


def test_no_more_is_taken_than_was_asked_for(carrier: Carrier) -> None:
    """Prefetch bounds what one worker keeps from the others."""
    carrier.send(b"one", b"two", b"three")
    session = carrier.enter(prefetch=2)
    first, _ = _receive(session, 2)
    assert session.receive(0.1) is None
    session.ack(first.tag)
    assert _receive(session)[0].body == b"three"
    session.close()


def test_a_cancelled_session_receives_nothing_and_still_settles(carrier: Carrier) -> None:
    """A drain finishes what runs and leaves the rest to others."""
    carrier.send(b"one")
    session = carrier.enter()
    (arrival,) = _receive(session)
    session.cancel()
    carrier.send(b"two")
    assert session.receive(0.1) is None
    session.ack(arrival.tag)
    session.close()
    eventually(lambda: carrier.publisher.depth("export.v1") == 1)


def test_another_thread_can_end_a_wait(carrier: Carrier) -> None:
    """A worker that is done does not wait for the next message to say so."""
    session = carrier.enter()
    timer = threading.Timer(0.1, session.wake)
    timer.start()
    began = time.monotonic()
    assert session.receive(20) is None
    assert time.monotonic() - began < 10
    timer.join()
    session.close()


def test_a_fleet_works_and_files_its_letters(carrier: Carrier) -> None:
    """Commands are run and acked, refused ones and malformed ones are filed: end to end on either broker."""
    ran: list[UUID] = []
    filed: list[Letter] = []
    refused = uuid4()

    def run(operation_id: UUID, attempt: int) -> Verdict:
        ran.append(operation_id)
        return Verdict(True, "missing_item_mapping", "no item") if operation_id == refused else DONE

    work = fleet(run=run, file_letter=filed.append)
    actors.serve(carrier.broker, work, [QueueName.EXPORT])
    pool = Pool(carrier.broker, threads=2)
    pool.start()
    stop = threading.Event()
    collector = threading.Thread(target=Collector(lambda: carrier.enter("dead.v1"), work).run, args=(stop,))
    collector.start()
    operations = [refused, *(uuid4() for _ in range(10))]
    bodies = [commands.encode(commands.Command(operation_id=each, attempt=1)) for each in operations]
    carrier.send(*bodies, b"not a command")
    eventually(lambda: set(ran) == set(operations) and len(filed) == 2, what="all done")
    eventually(lambda: pool.obstacles == [])
    assert pool.drain(5)
    stop.set()
    collector.join()
    assert {letter.body for letter in filed} == {bodies[0], b"not a command"}
    assert {letter.queue for letter in filed} == {"export.v1"}
    assert carrier.publisher.depth("export.v1") == carrier.publisher.depth("dead.v1") == 0


def test_the_in_process_broker_says_why_a_letter_died() -> None:
    """It can carry what RabbitMQ cannot."""
    filed: list[Letter] = []
    broker = InProcessBroker(Gate(lambda: None), time_limit=60)
    actors.serve(broker, fleet(), [QueueName.EXPORT])
    pool = Pool(broker, threads=1)
    pool.start()
    broker.publisher().publish([Message("work", "export", "m", "", "", b"{")])
    stop = threading.Event()
    work = fleet(file_letter=filed.append)
    collector = threading.Thread(
        target=Collector(lambda: broker.enter("dead.v1", 10), work).run, args=(stop,)
    )
    collector.start()
    (letter,) = eventually(lambda: filed)
    stop.set()
    collector.join()
    pool.drain(5)
    assert letter.code == "bad_json"
    assert "is not JSON" in str(letter.message)
