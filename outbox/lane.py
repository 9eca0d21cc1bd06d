"""A lane of the relay: one database connection, one confirm channel, one batch at a time.

Claim, publish, wait for the confirms, commit. The rows stay locked meanwhile and are marked in the same transaction, so
a lane that dies anywhere leaves no trace but, perhaps, messages that will be published a second time. While one lane
waits for the broker, another reads its next batch.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol, Self

import psycopg
import structlog

from messages import CONTENT_TYPE
from messages.catalog import PREFIX
from outbox import metrics, republication, store
from outbox.backlog import DUE, Backlog
from outbox.frames import Message
from outbox.publisher import BrokerUnavailable, Receipt
from outbox.republication import Schedule
from outbox.store import Claim, Connection, Event, Wanted

log = structlog.get_logger()

_IDLE: Final = 0.5  # seconds between looks at the broker's connection when there is no work
_LONGEST_PAUSE: Final = 2.0  # seconds, when a server does not answer


@dataclass(frozen=True, slots=True)
class Settings:
    """How a relay works; `docs/outbox.md` says when to change what."""

    lanes: int = 2
    batch: int = 1000
    """Events claimed, published and marked in one transaction."""
    window: int = 2000
    """Unconfirmed messages of a lane at most."""
    patience: float = 10.0
    """Seconds without a confirm after which a batch is given up."""
    tenant_limit: int = 200
    """Billing events a tenant may have published and not taken over."""
    gather: float = 0.15
    """Seconds for which accounting events wait for others to leave with; billing events never wait."""
    poll: tuple[float, float] = (0.005, 0.025)
    """Seconds between looks for new events, when something was found and when nothing was for a while."""
    schedule: Schedule = field(default_factory=Schedule)
    longest_backoff: float = 60.0
    """Seconds after which an event that the broker returned or refused is tried again, at most."""
    intake_queue: str = "intake.v1"
    """Where billing events wait to be taken over; overdue ones are published again only if it lost some."""


class Publishes(Protocol):
    """What carries messages: `outbox.publisher.Publisher`, or the in-process broker."""

    blocked: bool
    """The broker takes nothing at present."""

    def publish(self, messages: Sequence[Message]) -> Receipt:
        """Publish and say what became of each. Raises `BrokerUnavailable` when nothing was published."""

    def idle(self, seconds: float = 0.0) -> None:
        """Listen to the broker for up to `seconds`. Raises `BrokerUnavailable`."""

    def depth(self, queue: str) -> int | None:
        """Messages ready in a queue; None when there is none of that name. Raises `BrokerUnavailable`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Lane(threading.Thread):
    """Publishes what the backlog hands out until `stop` is set; then finishes its batch and ends."""

    def __init__(
        self,
        number: int,
        backlog: Backlog,
        connect: Callable[[], Connection],
        publisher: Publishes,
        settings: Settings,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"relay-lane-{number}")
        self._backlog = backlog
        self._connect = connect
        self._publisher = publisher
        self._settings = settings
        self._stop_wanted = stop
        self._connection: Connection | None = None
        self._pause = 0.0
        self.due_floor = "-infinity"
        self.failure: Exception | None = None
        """What ended the lane, other than being told to stop."""

    def run(self) -> None:
        """Work until stopped, through every outage of either server."""
        try:
            with self._publisher:
                while not self._stop_wanted.is_set():
                    self._step()
        except Exception as error:  # a defect: end the process rather than go on with fewer lanes
            log.exception("relay_lane_failed")
            self.failure = error
            self._stop_wanted.set()
        finally:
            self._disconnect()

    def _step(self) -> None:
        try:
            if self._work():
                self._pause = 0.0
            else:
                self._wait("the broker took none of a batch")
        except BrokerUnavailable as error:
            self._wait(str(error))
        except psycopg.Error as error:
            self._disconnect()
            self._wait(f"database: {error}")

    def _work(self) -> bool:
        """Do one batch, or nothing if there is none; returns False when the broker took nothing of it."""
        self._publisher.idle()
        metrics.BLOCKED.set(self._publisher.blocked)
        if self._publisher.blocked:
            self._publisher.idle(_IDLE)
            return True
        work = self._backlog.take(self._settings.batch, _IDLE)
        if work is None:
            return True
        if work == DUE:
            return self._publish_due()
        return self._publish_new(work)

    def _publish_new(self, wanted: list[Wanted]) -> bool:
        claim, receipt, arrived = Claim(), Receipt(0), dict[str, str]()
        committed = False
        try:
            with self._session().transaction():
                claim = store.claim(self._session(), wanted, self._settings.schedule.first)
                receipt = self._publish(claim.events)
                arrived = self._record(claim.events, receipt)
            committed = True
        finally:
            if committed:
                self._backlog.settled(wanted, claim, arrived, put_back=bool(receipt.unknown))
            else:
                self._backlog.given_back(wanted)
        return _progressed(receipt)

    def _publish_due(self) -> bool:
        """See to rows whose time has come: forget, leave in the queue, or publish again."""
        connection, settings = self._session(), self._settings
        with connection.transaction():
            due = republication.lock_due(connection, self.due_floor, settings.batch)
            settled = set(store.sweep(connection, due.published))
            overdue = [event_id for event_id in due.published if event_id not in settled]
            if overdue and not self._lost_by_queue():
                republication.postpone(connection, overdue, settings.schedule)
                overdue = []
            events = republication.claim_due(connection, [*overdue, *due.refused], settings.schedule)
            receipt = self._publish(events)
            arrived = self._record(events, receipt)
        self._backlog.arrived(settled)
        self._backlog.published(arrived)
        if len(due.published) + len(due.refused) == settings.batch:
            self._backlog.found_due()
        metrics.SWEPT.inc(len(settled))
        if overdue:
            metrics.REPUBLISHED.inc(len(overdue))
            log.warning("published_again", events=len(overdue), why="nobody took them over in time")
        return _progressed(receipt)

    def _lost_by_queue(self) -> bool:
        """Whether the intake queue holds less than what is published and not taken over; a missing one holds none."""
        depth = self._publisher.depth(self._settings.intake_queue)
        return republication.more_under_way_than(self._session(), depth or 0)

    def _publish(self, events: Sequence[Event]) -> Receipt:
        metrics.UNCONFIRMED.inc(len(events))
        try:
            return self._publisher.publish([_message(event) for event in events])
        finally:
            metrics.UNCONFIRMED.dec(len(events))

    def _record(self, events: Sequence[Event], receipt: Receipt) -> dict[str, str]:
        """Write down what became of each row; returns the confirmed billing events with their tenants."""
        connection = self._session()
        # Accounting events are facts for whoever listens. With no listener they are facts all the same, and the
        # feed keeps them; a billing event that no queue takes is a fault of the topology.
        for place in [place for place in receipt.returned if events[place].exchange == "accounting"]:
            del receipt.returned[place]
        if receipt.unknown:
            store.put_back(connection, [events[place].event_id for place in receipt.unknown])
            metrics.UNKNOWN.inc(len(receipt.unknown))
        refused = [*receipt.returned, *receipt.nacked]
        if refused:
            store.failed(
                connection, [events[place].event_id for place in refused], self._settings.longest_backoff
            )
            _report(events, receipt)
        confirmed = [events[place] for place in receipt.confirmed] if receipt.troubled else events
        feed = [event.event_id for event in confirmed if event.exchange == "accounting"]
        if feed:
            store.move_to_feed(connection, feed)
            metrics.PUBLISHED.labels("accounting").inc(len(feed))
        metrics.PUBLISHED.labels("billing").inc(len(confirmed) - len(feed))
        return {event.event_id: event.tenant for event in confirmed if event.exchange == "billing"}

    def _session(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _wait(self, why: str) -> None:
        self._pause = min(max(0.05, self._pause * 2), _LONGEST_PAUSE)
        log.warning("relay_waits", seconds=round(self._pause, 2), why=why)
        self._stop_wanted.wait(self._pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing


def _message(event: Event) -> Message:
    event_id, tenant, exchange, _, _, type_, body, traceparent = event
    headers = {"tenant": tenant} if traceparent is None else {"tenant": tenant, "traceparent": traceparent}
    return Message(exchange, type_, event_id, f"{PREFIX}{exchange}.{type_}", CONTENT_TYPE, body, headers)


def _progressed(receipt: Receipt) -> bool:
    return receipt.size == 0 or len(receipt.troubled) < receipt.size


def _report(events: Sequence[Event], receipt: Receipt) -> None:
    for counter, places, what in (
        (metrics.RETURNED, list(receipt.returned), "returned_by_broker"),
        (metrics.NACKED, receipt.nacked, "refused_by_broker"),
    ):
        for exchange in store.EXCHANGES:
            of_exchange = [place for place in places if events[place].exchange == exchange]
            if of_exchange:
                counter.labels(exchange).inc(len(of_exchange))
                first = of_exchange[0]
                log.error(
                    what,
                    exchange=exchange,
                    events=len(of_exchange),
                    first=events[first].event_id,
                    type=events[first].type,
                    why=receipt.returned.get(first, "the queue refused it; it may be full"),
                )
