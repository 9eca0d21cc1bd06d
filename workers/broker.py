"""Dramatiq's broker, made safe for work that moves money.

What Dramatiq does otherwise, and why it is not done here, is listed in `docs/broker.md`; each point has a test that
fails with Dramatiq's own broker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NoReturn

import dramatiq
import structlog
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import MiddlewareError, TimeLimit

from messages.errors import Problem, UnknownType
from workers.consumer import REST, Consumer
from workers.delivery import Decision, Delivery, Session
from workers.encoder import PlainEncoder
from workers.gate import Gate
from workers.middleware import FailClosed
from workers.rabbitmq import RabbitmqSession
from workers.topology import QueueName

log = structlog.get_logger()

Actor = Callable[[Delivery], None]


class HookFailed(MiddlewareError):
    """A hook before the actor failed, so the actor must not run."""


class NotEnqueued(RuntimeError):
    """Somebody asked Dramatiq to send a message."""


class FleetBroker(dramatiq.Broker):
    """Actors by (queue, type), hooks that fail closed, and no way to send: what every broker of the fleet shares."""

    def __init__(self, gate: Gate, *, time_limit: float, rest: float = REST, **kwargs: Any) -> None:
        """`time_limit` is in seconds; it ends an actor's Python, but no call of the operating system."""
        self.gate = gate
        self.time_limit = time_limit
        self.fail_closed = FailClosed(gate)
        self._rest = rest
        self._routes: dict[tuple[str, str], str] = {}
        self._encoder = PlainEncoder()
        # Fail-closed stands outermost: it is asked first before a message and has the last word after it.
        super().__init__(middleware=[self.fail_closed, TimeLimit(time_limit=time_limit * 1000)], **kwargs)

    def serve(self, queue: QueueName, types: Collection[str], actor: Actor) -> None:
        """Let `actor` have the messages of these types from this queue."""
        name = queue.versioned
        dramatiq.Actor(
            actor, broker=self, actor_name=name, queue_name=name, priority=0, options={"throws": Exception}
        )
        self._routes |= {(name, type_): name for type_ in types}

    def route(self, queue: str, body: bytes) -> str:
        """Name of the actor for a body that was consumed from `queue`; raises `messages.BadMessage`."""
        type_ = self._encoder.decode(body)["type"]
        try:
            return self._routes[queue, type_]
        except KeyError:
            known = sorted(known for where, known in self._routes if where == queue)
            nearest = ", ".join(known[:3]) or "nothing"
            raise UnknownType(
                [Problem("type", f"{type_[:100]!r} is not for {queue}, which takes {nearest}")]
            ) from None

    def enter(self, queue: str, prefetch: int) -> Session:
        """Open a session at `queue`; raises `SessionLost`."""
        raise NotImplementedError

    # --- Dramatiq's side ------------------------------------------------------------------------------

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer that lives until its thread ends; it finds its way back to the broker by itself."""
        enter = partial(self.enter, queue_name, prefetch)
        return Consumer(queue_name, enter, self.route, self.gate, seconds=timeout / 1000, rest=self._rest)

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Consume from a queue. It is declared on the broker by `workers.topology`; nothing is delayed in workers."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> NoReturn:
        """Refuse: what is owed stands in the ledger, and only its own publishers send it, with confirms."""
        raise NotEnqueued(
            f"message {message.message_id} for {message.queue_name} was not sent: work is opened in the ledger, whose "
            "dispatcher sends it (and sends it again); a delay is a due time there"
        )

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the hooks. A failure stops an actor that was about to run, or an ack that was about to be sent.

        Raises `HookFailed` in the first case; in the second the delivery is requeued.
        """
        for middleware in self.middleware:
            try:
                getattr(middleware, f"before_{signal}")(self, *args, **kwargs)
            except MiddlewareError:
                raise
            except Exception as error:
                log.exception("hook_failed", hook=f"before_{signal}", middleware=type(middleware).__name__)
                if signal == "process_message":
                    raise HookFailed(type(middleware).__name__) from error
                for delivery in args:
                    if isinstance(delivery, Delivery) and signal in {"ack", "nack"}:
                        delivery.decide(Decision.REQUEUE, "hook_failed")


class Broker(FleetBroker, RabbitmqBroker):
    """The fleet's broker on RabbitMQ."""

    def __init__(self, url: str, gate: Gate, *, time_limit: float, rest: float = REST) -> None:
        self.url = url
        super().__init__(gate, time_limit=time_limit, rest=rest, url=url, confirm_delivery=True)

    def enter(self, queue: str, prefetch: int) -> RabbitmqSession:
        """Open a session at `queue`; raises `SessionLost`."""
        return RabbitmqSession(self.url, queue, prefetch)
