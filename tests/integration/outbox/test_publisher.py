# mypy: untyped-calls-exclude=kombu
"""Pipelined confirms: a definite word about every message, whatever the broker does meanwhile."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
import pytest
from kombu.entity import Exchange

from deploy.local import RabbitmqNode
from outbox.frames import Message
from outbox.publisher import BrokerUnavailable, Publisher
from services.cli.chaos.proxy import Proxy
from tests.integration.outbox.relaying import Queue
from tests.support import eventually

WORK = Exchange("work", "topic")


def messages(count: int, *, exchange: str = "work", body: bytes = b"{}") -> list[Message]:
    """Messages that differ by their id."""
    return [
        Message(exchange, "export", str(uuid4()), "command", "application/json", body) for _ in range(count)
    ]


@pytest.fixture
def queue(broker_url: str) -> Iterator[Queue]:
    """A quorum queue that takes everything from the exchange `work`."""
    queue = Queue(broker_url, "work", "work")
    yield queue
    queue.close()


@pytest.fixture
def publisher(broker_url: str) -> Iterator[Publisher]:
    """A publisher with some patience."""
    with Publisher(broker_url, exchanges=[WORK], patience=5) as publisher:
        yield publisher


def test_everything_published_is_confirmed_and_there(queue: Queue, publisher: Publisher) -> None:
    """A batch larger than the window arrives whole and once, and the next one on the same channel too."""
    for batch in (messages(5_000), messages(3), messages(1), []):
        receipt = publisher.publish(batch)
        assert not receipt.troubled
        assert receipt.confirmed == list(range(len(batch)))
        assert queue.ids() == {message.message_id: 1 for message in batch}


def test_a_body_of_many_frames_arrives_whole(queue: Queue, publisher: Publisher) -> None:
    """The largest body that emit lets through is cut into frames and put together again."""
    body = os.urandom(1_048_576)
    assert not publisher.publish([*messages(1, body=body), *messages(1, body=b"")]).troubled
    assert [delivered.body for delivered in queue.take()] == [body, b""]


def test_the_window_is_never_exceeded(queue: Queue, broker_url: str) -> None:
    """However large the batch, the broker never has more to answer for than was agreed."""
    seen: list[int] = []

    class Watched(Publisher):
        def _write(self, data: memoryview) -> None:
            seen.append(self.unconfirmed)
            super()._write(data)

    with Watched(broker_url, window=50) as publisher:
        assert not publisher.publish(messages(1_000)).troubled
    assert max(seen) == 50
    assert queue.depth == 1_000


def test_what_no_queue_takes_comes_back_by_name(queue: Queue, publisher: Publisher) -> None:
    """Among a thousand routable messages, the ones without a queue are told apart, and only they."""
    batch = messages(1_000)
    for place in (0, 500, 999):
        batch[place] = batch[place]._replace(exchange="amq.topic")
    receipt = publisher.publish(batch)
    assert receipt.returned == dict.fromkeys(
        (0, 500, 999), "NO_ROUTE on exchange 'amq.topic' with key 'export'"
    )
    assert not receipt.nacked
    assert not receipt.unknown
    assert len(receipt.confirmed) == 997
    assert queue.depth == 997


def test_what_a_full_queue_refuses_is_told_apart(broker_url: str, publisher: Publisher) -> None:
    """`reject-publish` nacks what does not fit; exactly the confirmed messages are in the queue."""
    arguments = {"x-max-length": 100, "x-overflow": "reject-publish"}
    full = Queue(broker_url, "full", "work", {"x-queue-type": "classic", **arguments})
    batch = messages(1_000)
    receipt = publisher.publish(batch)
    assert receipt.nacked
    assert len(receipt.nacked) + len(receipt.confirmed) == 1_000
    assert full.ids() == {batch[place].message_id: 1 for place in receipt.confirmed}
    full.close()


def test_a_missing_exchange_costs_the_batch_and_not_the_publisher(queue: Queue, publisher: Publisher) -> None:
    """The broker closes the channel on an unknown exchange: the batch is unknown, the next one goes through."""
    receipt = publisher.publish([*messages(1), *messages(1, exchange="nowhere"), *messages(1)])
    assert {1, 2} <= set(receipt.unknown)
    assert not publisher.publish(messages(10)).troubled


def test_a_connection_cut_in_the_middle_leaves_unknown_messages(queue: Queue, broker_url: str) -> None:
    """Nobody says goodbye on a cut wire: what was confirmed is there, and the rest is called unknown."""
    proxy = Proxy(broker_url)
    with Publisher(proxy.url, exchanges=[WORK], window=200) as publisher:
        publisher.connect()

        def cut() -> None:
            queue.grows(500)
            proxy.cut()

        timer = threading.Thread(target=cut)
        timer.start()
        batch = messages(200_000, body=b"x" * 512)  # more than a busy machine publishes before it looks
        receipt = publisher.publish(batch)
        timer.join()
        assert receipt.unknown
        assert receipt.confirmed
        arrived = queue.ids()
        assert all(batch[place].message_id in arrived for place in receipt.confirmed)
        assert not publisher.publish(messages(10)).troubled
    proxy.close()


def test_a_broker_that_is_not_there_is_said_at_once() -> None:
    """Nothing was published, and the caller knows; no hidden retries eat its time."""
    started = time.monotonic()
    with Publisher("amqp://algasync:fake-password@127.0.0.1:1/") as publisher:
        with pytest.raises(BrokerUnavailable, match="cannot publish"):
            publisher.publish(messages(1))
        with pytest.raises(BrokerUnavailable):
            publisher.idle()
        with pytest.raises(BrokerUnavailable):
            publisher.depth("work")
    assert time.monotonic() - started < 2


def test_depth_is_asked_without_harm(queue: Queue, publisher: Publisher) -> None:
    """A queue that is missing is an answer, and publishing goes on on the same connection."""
    assert publisher.depth("work") == 0
    publisher.publish(messages(3))
    assert publisher.depth("work") == 3
    assert publisher.depth("nowhere") is None
    assert not publisher.publish(messages(2)).troubled
    assert publisher.depth("work") == 5


def test_a_broker_that_falls_silent_is_given_up(broker_node: RabbitmqNode) -> None:
    """A stopped broker confirms nothing: after the patience the batch is unknown. Revived, it works."""
    queue = Queue(broker_node.url, "silent", "work")
    with Publisher(broker_node.url, exchanges=[WORK], patience=0.7) as publisher:
        assert not publisher.publish(messages(10)).troubled
        assert broker_node.pid is not None
        os.kill(broker_node.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            receipt = publisher.publish(messages(10))
            assert 0.7 <= time.monotonic() - started < 3
            assert receipt.unknown == list(range(10))
        finally:
            os.kill(broker_node.pid, signal.SIGCONT)
        assert not publisher.publish(messages(10)).troubled
    queue.close()


def test_a_blocked_broker_is_noticed_and_waited_for(broker_node: RabbitmqNode) -> None:
    """Under a memory alarm a publish ends as unknown, the connection stays, and its end is heard without publishing."""
    queue = Queue(broker_node.url, "blocked", "work")
    with Publisher(broker_node.url, exchanges=[WORK], patience=1) as publisher:
        publisher.connect()
        broker_node.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            receipt = publisher.publish(messages(10))
            assert receipt.unknown
            assert publisher.blocked
            publisher.idle(0.1)
            assert publisher.blocked
        finally:
            broker_node.control("set_vm_memory_high_watermark", "0.4")

        def unblocked() -> bool:
            publisher.idle(0.1)
            return not publisher.blocked

        eventually(unblocked)
        assert not publisher.publish(messages(10)).troubled
    queue.close()


def test_an_idle_publisher_hears_that_its_connection_ended(queue: Queue, broker_url: str) -> None:
    """The loss is noticed before rows are claimed for it, and the next call connects again."""
    proxy = Proxy(broker_url)
    with Publisher(proxy.url, exchanges=[WORK]) as publisher:
        publisher.publish(messages(1))
        proxy.cut()
        with pytest.raises(BrokerUnavailable, match="lost"):
            publisher.idle(1)
        assert not publisher.publish(messages(1)).troubled
    proxy.close()


def test_a_connection_cut_while_it_opens_leaves_no_socket_behind(broker_url: str) -> None:
    """However far connecting came when the network went, it costs an attempt and not a file descriptor."""
    proxy, over = Proxy(broker_url), threading.Event()
    port = urlsplit(proxy.url).port

    def cutting() -> None:
        for pause in itertools.cycle(number / 2000 for number in range(1, 40)):
            if over.wait(pause):
                return
            proxy.cut()

    def ours() -> list[object]:
        return [one for one in psutil.Process().net_connections() if one.raddr and one.raddr.port == port]

    knife = threading.Thread(target=cutting)
    knife.start()
    refusals = 0
    for _ in range(100):
        publisher = Publisher(proxy.url, exchanges=[WORK])
        try:
            publisher.connect()
        except BrokerUnavailable:
            refusals += 1
        finally:
            publisher.close()
    over.set()
    knife.join()
    proxy.close()
    assert refusals > 0
    gc.collect()  # a socket that was forgotten open warns here, and warnings are errors
    eventually(lambda: not ours())
