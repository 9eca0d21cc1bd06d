"""One queue's consumer, through every loss of its broker: what Dramatiq's worker iterates over.

A delivery belongs to the session it came with. Tags are small numbers that start again with every channel, so one
that outlives its session would name somebody else's message: such a delivery is dropped here, and its message,
which the broker has given to somebody by then, is left alone.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import dramatiq
import structlog
from dramatiq.broker import MessageProxy

from messages.errors import BadMessage, Problem
from workers.delivery import Arrival, Decision, Delivery, Session, SessionLost
from workers.gate import Gate
from workers.metrics import HANDLED

log = structlog.get_logger()

REST: Final = 0.1  # seconds before the first requeue of a message that failed unexpectedly; doubles each time
LONGEST_REST: Final = 1.0  # so that 20 deliveries take long enough for a short trouble to pass
HOLDS: Final = 5  # times one message may find the database down before it is suspected itself
GATHER: Final = 0.03  # seconds between two rounds of acks: being woken for each would cost more than the acks
_RECONNECT: Final = (0.1, 2.0)  # seconds: first and longest rest between two tries to reach the broker
_SHUT_POLL: Final = 0.2  # seconds between two looks at a gate that is shut


class BadHeaders(BadMessage):
    """The message's headers would harm whoever handles them next."""

    reason = "bad_headers"


class Consumer(dramatiq.Consumer):
    """Yields deliveries of one queue, and carries out what was decided about them, in the thread that iterates."""

    def __init__(
        self,
        queue: str,
        enter: Callable[[], Session],
        route: Callable[[str, bytes], str],
        gate: Gate,
        *,
        seconds: float,
        rest: float = REST,
    ) -> None:
        """`enter` opens a session and raises `SessionLost` when it cannot.

        `route` names the actor for a body consumed from this queue and raises `BadMessage` when there is none.
        `seconds` is how long one iteration may wait.
        """
        self.queue = queue
        self._enter = enter
        self._route = route
        self._gate = gate
        self._seconds = seconds
        self._rest = rest
        self._session: Session | None = None
        self._done: deque[Delivery] = deque()
        self._held: deque[Delivery] = deque()
        self._resting: list[tuple[float, int, Delivery]] = []
        self._failures = 0
        self._settled_at = 0.0
        self._woken = False
        self._draining = threading.Event()
        self._drained = False

    @property
    def consuming(self) -> bool:
        """Whether messages can arrive here now."""
        return self._session is not None and not self._draining.is_set()

    def drain(self) -> None:
        """Take nothing more and give back what was not begun; what runs may still end. Any thread may call this."""
        self._draining.set()
        if (session := self._session) is not None:
            session.wake()

    # --- Dramatiq's side ------------------------------------------------------------------------------

    def __next__(self) -> Delivery | None:
        """The next delivery, or None when there was nothing to yield within `seconds`."""
        try:
            return self._next()
        except SessionLost as lost:
            self._leave(lost)
            return None

    def ack(self, message: MessageProxy) -> None:
        """Carry out what was decided about the message. Any thread may call this."""
        assert isinstance(message, Delivery)
        self._done.append(message)
        # Who finds it woken already has put the delivery there in time: `_settle` looks after it takes this back.
        if not self._woken and (session := self._session) is not None:
            self._woken = True
            session.wake()

    nack = ack  # Dramatiq's own idea of the outcome does not count, ours is on the delivery

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back messages that were never begun."""
        for message in messages:
            assert isinstance(message, Delivery)
            message.decide(Decision.RETURN)
            self.ack(message)

    def close(self) -> None:
        """Carry out the last decisions and leave. Belongs to the iterating thread, or comes after it ended."""
        if self._session is None:
            return
        self._draining.set()
        try:
            self._settle(self._session)
            self._give_back(self._session)
        except SessionLost as lost:
            self._leave(lost)
        else:
            self._leave()

    # --- the iterating thread -------------------------------------------------------------------------

    def _next(self) -> Delivery | None:
        session = self._session or self._arrive()
        if session is None:
            return None
        gathered = self._settled_at + GATHER - time.monotonic()
        if gathered <= 0 or self._draining.is_set():
            self._settle(session)
        if self._draining.is_set():
            self._stop(session)
            session.receive(self._seconds)
            return None
        if not self._gate.is_open:
            self._wait_at_gate(session)
            return None
        if self._held:
            held = self._held.popleft()
            held.decision = None
            return held
        wait = self._until_rested()
        arrival = session.receive(min(wait, max(0.0, gathered)) if self._done else wait)
        return self._admit(session, arrival) if arrival is not None else None

    def _arrive(self) -> Session | None:
        """Open a session, unless there is no point in one; None when there is none yet."""
        if self._draining.is_set():
            time.sleep(self._seconds)
            return None
        if not self._gate.wait(self._seconds):
            return None
        try:
            self._session = self._enter()
        except SessionLost as lost:
            if self._failures == 0:
                log.warning("broker_unreachable", queue=self.queue, reason=str(lost))
            first, longest = _RECONNECT
            self._draining.wait(min(longest, first * 2 ** min(self._failures, 10)))
            self._failures += 1
            return None
        log.info("consuming", queue=self.queue)
        self._failures = 0
        return self._session

    def _leave(self, lost: SessionLost | None = None) -> None:
        session, self._session = self._session, None
        self._held.clear()
        self._resting.clear()
        if session is not None:
            session.close()
        if lost is not None:
            log.warning("session_lost", queue=self.queue, reason=str(lost))
            # A queue that is declared again within milliseconds of its deletion keeps the consumers of channels that
            # have not noticed yet: they take its messages and nobody gets them. So nobody comes back at once.
            self._draining.wait(_RECONNECT[0])

    def _admit(self, session: Session, arrival: Arrival) -> Delivery | None:
        """Make a delivery of an arrival, or send it where bad messages go: nothing malformed reaches a worker."""
        try:
            if arrival.defect:
                raise BadHeaders([Problem("headers", arrival.defect)])
            actor = self._route(self.queue, arrival.body)
        except BadMessage as bad:
            code, reason = bad.reason, str(bad)
        except Exception as error:
            # A check that fails has not said that the message is good.
            log.exception("check_failed", queue=self.queue, message_id=arrival.message_id)
            code, reason = "unreadable", type(error).__name__
        else:
            return Delivery(arrival, session, self.queue, actor)
        log.warning(
            "message_rejected", queue=self.queue, message_id=arrival.message_id, code=code, reason=reason
        )
        HANDLED.labels(self.queue, "malformed").inc()
        session.reject(arrival.tag, code, reason)
        return None

    def _settle(self, session: Session) -> None:
        """Carry out decisions, and send back what has rested long enough."""
        self._woken = False
        if self._done:
            self._settled_at = time.monotonic()
        while self._done:
            delivery = self._done.popleft()
            if delivery.session is not session:
                log.info("stale_delivery_dropped", queue=self.queue, message_id=delivery.message_id)
                continue
            self._carry_out(session, delivery)
        while self._resting and self._resting[0][0] <= time.monotonic():
            session.requeue(heapq.heappop(self._resting)[2].arrival.tag, counted=True)

    def _carry_out(self, session: Session, delivery: Delivery) -> None:
        tag = delivery.arrival.tag
        match delivery.settled:
            case Decision.ACK:
                session.ack(tag)
            case Decision.REJECT:
                session.reject(tag, delivery.code, delivery.reason)
            case Decision.RETURN:
                session.requeue(tag, counted=False)
            case Decision.HOLD if delivery.holds < HOLDS:
                delivery.holds += 1
                self._held.append(delivery)
            case _:
                rest = min(LONGEST_REST, self._rest * 2 ** min(delivery.arrival.deliveries, 10))
                heapq.heappush(self._resting, (time.monotonic() + rest, tag, delivery))

    def _until_rested(self) -> float:
        if not self._resting:
            return self._seconds
        return max(0.0, min(self._seconds, self._resting[0][0] - time.monotonic()))

    def _wait_at_gate(self, session: Session) -> None:
        """Keep the connection alive while the database is down; leave when it takes long."""
        if self._gate.exhausted:
            log.warning("consumer_closed", queue=self.queue, advice="reopens when PostgreSQL answers")
            session.cancel()
            self._give_back(session)
            self._leave()
            return
        arrival = session.receive(_SHUT_POLL)
        if arrival is not None and (delivery := self._admit(session, arrival)) is not None:
            self._held.append(delivery)

    def _stop(self, session: Session) -> None:
        """Once: no more arrivals, and back with what was not begun."""
        if not self._drained:
            self._drained = True
            session.cancel()
        self._give_back(session)

    def _give_back(self, session: Session) -> None:
        for delivery in self._held:
            session.requeue(delivery.arrival.tag, counted=False)
        for _, _, delivery in self._resting:
            session.requeue(delivery.arrival.tag, counted=True)
        self._held.clear()
        self._resting.clear()
