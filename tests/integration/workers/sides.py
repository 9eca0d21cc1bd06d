"""The same scenario on stock Dramatiq and on our fleet, so that every test of a pitfall proves itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import Middleware
from dramatiq.worker import Worker

from tests.integration.workers.harness import Amqp
from tests.support import eventually
from tests.support.proxy import Door
from workers import topology
from workers.broker import Broker
from workers.delivery import Delivery
from workers.gate import Gate
from workers.pool import Pool
from workers.topology import QueueName

Work = Callable[[str], None]


def within(seconds: float, predicate: Callable[[], bool]) -> bool:
    """Whether it becomes true in time; for what stock Dramatiq never does."""
    try:
        return eventually(predicate, seconds)
    except AssertionError:
        return False


class Side:
    """One of the two, working on a queue with an actor that gets the text of each message."""

    queue: str
    broker: Any
    keeps: bool  # whether it keeps the promise that the test states

    def __init__(self, url: str) -> None:
        self.proxy = Door(url)
        self.amqp = Amqp(url)
        self.ran: list[str] = []
        self.ids: list[str] = []

    def promises(self, kept: bool) -> None:
        """Our fleet must keep what stock Dramatiq is shown to break."""
        assert kept is self.keeps

    def promises_soon(self, kept: Callable[[], bool], seconds: float = 1) -> None:
        """`promises` for what takes a moment: stock is given `seconds`, our fleet all the time a busy machine needs."""
        self.promises(within(10 if self.keeps else seconds, kept))

    def work(self, text: str, do: Work | None) -> None:
        """What the actor does."""
        self.ran.append(text)
        if do is not None:
            do(text)

    def send(self, *texts: str) -> None:
        """Publish messages for the actor."""
        for text in texts:
            self.amqp.publish("", self.queue, self.body(text), message_id=f"id of {text}")

    def body(self, text: str) -> bytes:
        """A message for the actor."""
        raise NotImplementedError

    def start(
        self, do: Work | None = None, *, threads: int = 1, prefetch: int = 10, middleware: Any = ()
    ) -> None:
        """Start working; returns when it consumes."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop in order."""
        raise NotImplementedError

    def handed_over(self) -> int:
        """Messages that wait for a free thread of the worker."""
        raise NotImplementedError

    def left(self) -> int:
        """Messages that the broker still has after everybody stopped."""
        return sum(self.amqp.depth(queue) for queue in self.queues() if self.amqp.exists(queue))

    def queues(self) -> list[str]:
        """The queue and where its messages may go."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing running."""
        self.proxy.close()
        self.amqp.close()


class Stock(Side):
    """Dramatiq's own broker, as its documentation sets it up."""

    queue = "export"
    keeps = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.worker: Worker | None = None
        for queue in self.queues():
            self.amqp.channel.queue_delete(queue)

    def queues(self) -> list[str]:
        """With the queues that Dramatiq adds."""
        return ["export", "export.DQ", "export.XQ"]

    def body(self, text: str) -> bytes:
        """Dramatiq's own envelope."""
        return dramatiq.Message("export", "export", (text,), {}, {}).encode()

    def start(
        self, do: Work | None = None, *, threads: int = 1, prefetch: int = 10, middleware: Any = ()
    ) -> None:
        """As Dramatiq's own command line starts it."""
        self.broker = RabbitmqBroker(url=self.proxy.url, middleware=[Ids(self), *middleware])
        dramatiq.Actor(
            lambda text: self.work(text, do),
            broker=self.broker,
            actor_name="export",
            queue_name="export",
            priority=0,
            options={},
        )
        self.broker.emit_after("process_boot")
        self.worker = Worker(self.broker, worker_threads=threads, worker_timeout=100)
        self.worker.queue_prefetch = prefetch
        self.worker.start()
        eventually(lambda: self.amqp.exists("export") and self.amqp.consumers("export") > 0, what="consuming")

    def handed_over(self) -> int:
        """In Dramatiq's queue between consumers and threads."""
        assert self.worker is not None
        return self.worker.work_queue.qsize()

    def stop(self) -> None:
        """As on SIGTERM."""
        if self.worker is not None:
            self.worker.stop(5000)
            self.worker = None

    def close(self) -> None:
        """Leave nothing running."""
        self.stop()
        self.broker.close()
        super().close()


class Ours(Side):
    """The fleet's broker, on the same kind of queue as in production."""

    queue = QueueName.EXPORT.versioned
    keeps = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.pool: Pool | None = None
        self.amqp.wipe()
        topology.declare(url)

    def queues(self) -> list[str]:
        """With the dead letters."""
        return [self.queue, QueueName.DEAD.versioned]

    def body(self, text: str) -> bytes:
        """A type that only this actor takes."""
        return json.dumps({"type": "test", "text": text}).encode()

    def start(
        self, do: Work | None = None, *, threads: int = 1, prefetch: int = 10, middleware: Any = ()
    ) -> None:
        """As `workers.process` starts it."""
        self.broker = Broker(self.proxy.url, Gate(lambda: None), time_limit=60, rest=0)
        for each in (Ids(self), *middleware):
            self.broker.add_middleware(each)

        def actor(delivery: Delivery) -> None:
            self.work(json.loads(delivery.body)["text"], do)

        self.broker.serve(QueueName.EXPORT, {"test"}, actor)
        self.pool = Pool(self.broker, threads=threads, prefetch=prefetch)
        self.pool.start()
        eventually(lambda: self.amqp.consumers(self.queue) > 0, what="consuming")

    def handed_over(self) -> int:
        """In the same queue of the same worker."""
        assert self.pool is not None
        return self.pool._worker.work_queue.qsize()

    def stop(self) -> None:
        """As on SIGTERM."""
        if self.pool is not None:
            self.pool.drain(5)
            self.pool = None

    def close(self) -> None:
        """Leave nothing running."""
        self.stop()
        super().close()


class Ids(Middleware):
    """Remembers by which id each message was known to the worker."""

    def __init__(self, side: Side) -> None:
        self._side = side

    def before_process_message(self, broker: dramatiq.Broker, message: Any) -> None:
        """Note the id."""
        self._side.ids.append(message.message_id)


class Blocker:
    """Work that begins and waits to be let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._go: dict[str, threading.Event] = {}

    def __call__(self, text: str) -> None:
        """Begin, and wait for `release`."""
        go = self._go.setdefault(text, threading.Event())
        self.begun.append(text)
        go.wait(30)

    def await_begun(self, *texts: str) -> None:
        """Wait until these have begun."""
        eventually(lambda: set(texts) <= set(self.begun), what=f"{texts} begun")

    def release(self, *texts: str) -> None:
        """Let these end."""
        for text in texts:
            self._go.setdefault(text, threading.Event()).set()
