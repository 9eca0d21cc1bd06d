"""A broker inside one process, for machines without RabbitMQ: put, ack, reject, and redelivery after a crash.

It keeps nothing on disk. That is enough because nothing depends on what a broker holds: on a restart outbox and
ledger send again whatever was not taken. Everything else that RabbitMQ does (delivery limits, confirms that survive
a power cut, several processes, several machines) is not imitated here; `docs/broker.md` lists it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from kombu.entity import Exchange

from outbox.frames import Message
from outbox.publisher import Receipt
from workers.broker import FleetBroker
from workers.consumer import REST
from workers.delivery import Arrival, SessionLost
from workers.gate import Gate
from workers.headers import CODE_HEADER, QUEUE_HEADER, REASON_HEADER
from workers.topology import DEAD, Binding, bindings

_BINDINGS: Final = bindings((3, 10))  # the version changes arguments only


@dataclass(slots=True)
class _Stored:
    """A message, and how often it was taken without an outcome."""

    message: Message
    deliveries: int = 0


class Store:
    """All queues of the process. Every method is safe to call from several threads."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queues: dict[str, deque[_Stored]] = {binding.name: deque() for binding in _BINDINGS}

    def put(self, message: Message) -> bool:
        """Put a message into every queue that is bound to its exchange and key; whether there was one."""
        bound = [binding.name for binding in _BINDINGS if _matches(binding, message)]
        with self.changed:
            for queue in bound:
                self.queues[queue].append(_Stored(message))
            self.changed.notify_all()
        return bool(bound)

    def depth(self, queue: str) -> int | None:
        """Messages ready in a queue; None when there is none of that name."""
        with self.changed:
            return len(self.queues[queue]) if queue in self.queues else None


def _matches(binding: Binding, message: Message) -> bool:
    exchange: Exchange = binding.exchange
    return exchange.name == message.exchange and (
        exchange.type == "fanout" or binding.routing_key in {"#", message.routing_key}
    )


class InProcessSession:
    """A stay at one queue (`workers.delivery.Session`)."""

    def __init__(self, store: Store, queue: str, prefetch: int) -> None:
        self.closed = False
        self._store = store
        self._queue = queue
        self._prefetch = prefetch
        self._taken: dict[int, _Stored] = {}
        self._tag = 0
        self._cancelled = False
        self._woken = False

    def receive(self, seconds: float) -> Arrival | None:
        """Wait for the next message, at most so long or until `wake`."""
        deadline = time.monotonic() + seconds
        with self._store.changed:
            while not self._ready() and not self._woken and (left := deadline - time.monotonic()) > 0:
                self._store.changed.wait(left)
            self._woken = False
            if not self._ready():
                return None
            stored = self._store.queues[self._queue].popleft()
            self._tag += 1
            self._taken[self._tag] = stored
        message = stored.message
        return Arrival(
            tag=self._tag,
            body=message.body,
            headers=dict(message.headers),
            message_id=message.message_id,
            type=message.type,
            routing_key=message.routing_key,
            deliveries=stored.deliveries,
        )

    def ack(self, tag: int) -> None:
        """It is done."""
        self._settle(tag)

    def reject(self, tag: int, code: str, reason: str) -> None:
        """It goes to the dead letters, with code and reason."""
        message = self._settle(tag).message
        why = {QUEUE_HEADER: self._queue, CODE_HEADER: code, REASON_HEADER: reason}
        self._store.put(message._replace(exchange=DEAD.name, headers={**message.headers, **why}))

    def requeue(self, tag: int, *, counted: bool) -> None:
        """It goes back to the front of its queue."""
        stored = self._settle(tag)
        stored.deliveries += counted
        with self._store.changed:
            self._store.queues[self._queue].appendleft(stored)
            self._store.changed.notify_all()

    def cancel(self) -> None:
        """Receive nothing more; what is under way may still be settled."""
        self._cancelled = True

    def wake(self) -> None:
        """End a `receive` of another thread."""
        with self._store.changed:
            self._woken = True
            self._store.changed.notify_all()

    def close(self) -> None:
        """Leave; what was not settled goes back to its queue, in order, as after a crash."""
        self.closed = True
        for tag in sorted(self._taken, reverse=True):
            self.requeue(tag, counted=True)

    def _ready(self) -> bool:
        return (
            not self._cancelled
            and len(self._taken) < self._prefetch
            and bool(self._store.queues[self._queue])
        )

    def _settle(self, tag: int) -> _Stored:
        try:
            stored = self._taken.pop(tag)
        except KeyError:
            raise SessionLost(f"tag {tag} of {self._queue} is not under way") from None
        with self._store.changed:
            self._store.changed.notify_all()  # there is room for one more
        return stored


class InProcessBroker(FleetBroker):
    """The fleet's broker when there is no RabbitMQ; `publisher` is what relay and dispatcher publish with."""

    def __init__(self, gate: Gate, *, time_limit: float, rest: float = REST) -> None:
        self.store = Store()
        super().__init__(gate, time_limit=time_limit, rest=rest)
        self.queues: set[str] = set()

    def get_declared_queues(self) -> set[str]:
        """The queues that are consumed from."""
        return set(self.queues)

    def enter(self, queue: str, prefetch: int) -> InProcessSession:
        """Open a session at `queue`."""
        return InProcessSession(self.store, queue, prefetch)

    def publisher(self) -> InProcessPublisher:
        """Something that publishes here, as `outbox.publisher.Publisher` does there."""
        return InProcessPublisher(self.store)


class InProcessPublisher:
    """Publishes into the store; what is bound to a queue is confirmed, the rest comes back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.blocked = False

    def publish(self, messages: Sequence[Message]) -> Receipt:
        """Publish all, and say which of them no queue took."""
        receipt = Receipt(len(messages))
        for place, message in enumerate(messages):
            if not self._store.put(message):
                receipt.returned[place] = (
                    f"NO_ROUTE on exchange {message.exchange!r} with key {message.routing_key!r}"
                )
        return receipt

    def idle(self, seconds: float = 0.0) -> None:
        """There is nobody to listen to."""
        time.sleep(seconds)

    def depth(self, queue: str) -> int | None:
        """Messages ready in a queue; None when there is none of that name."""
        return self._store.depth(queue)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return
