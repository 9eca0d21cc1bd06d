"""The dispatcher: one leader that sends a command for every operation that is due.

Polling of a partial index, 5 ms after work was found up to 25 ms when idle: cheaper than NOTIFY in every
producer's transaction, and it never misses a late commit. A round that took long is followed by a longer rest, so that
under load more goes into each round and most of the machine is left to the work itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError

from messages import commands
from outbox.frames import Message
from outbox.publisher import BrokerUnavailable, Receipt
from services.database import Database
from services.database.leadership import Leadership, lead
from services.ledger import dispatch
from services.ledger.dispatch import Command
from services.outbound import batch_backlog
from services.psa import lanes
from workers.encoder import COMMAND
from workers.topology import WORK, QueueName

log = structlog.get_logger()

BATCH: Final = 500  # commands a round
SHORTEST, LONGEST = 0.005, 0.025  # seconds between two looks
# While there is much to send, more of it goes into each round; a company has some under way meanwhile.
BUSIEST: Final = 0.08  # seconds at most
REST: Final = 1.0  # seconds while broker or database cannot be reached
LANES: Final = 0.5  # seconds between two looks for destinations that are owed something, and for backlogs

SENT = Counter("algasync_commands_sent_total", "Commands the broker confirmed", ["queue"])
TROUBLED = Counter(
    "algasync_commands_troubled_total", "Commands the broker returned, refused or kept silent about"
)
LEADING = Gauge("algasync_dispatcher_leading", "1 while this process dispatches")


class Publishes(Protocol):
    """What carries commands: `outbox.publisher.Publisher`, or the in-process broker."""

    def publish(self, messages: Sequence[Message]) -> Receipt:
        """Publish and say what became of each. Raises `BrokerUnavailable` when nothing was published."""

    def idle(self, seconds: float = 0.0) -> None:
        """Wait, listening to what the broker says by itself."""


@dataclass(slots=True)
class Dispatcher:
    """Sends what is due, while leading.

    `in_flight` is how many operations of a company may be under way; a command that was not taken within `resend`
    is sent again.
    """

    database: Database
    publisher: Publishes
    in_flight: int
    resend: timedelta

    def run(self, stop: threading.Event) -> None:
        """Dispatch until `stop`; stand by while another process leads."""
        while not stop.is_set():
            try:
                with lead(self.database, "dispatcher", stop) as leadership:
                    if leadership is not None:
                        LEADING.set(1)
                        self._work(leadership, stop)
            except DBAPIError as error:
                log.warning("dispatcher_rests", because="database", error=type(error).__name__, seconds=REST)
                stop.wait(REST)
            finally:
                LEADING.set(0)

    def _work(self, leadership: Leadership, stop: threading.Event) -> None:
        pause, looked = SHORTEST, 0.0
        while not stop.is_set():
            try:
                if time.monotonic() - looked > LANES:
                    self.wake_lanes(leadership)
                    self.batch_backlog(leadership)
                    looked = time.monotonic()
                began = time.monotonic()
                busy = self.round(leadership) > 0
                rest = 4 * (time.monotonic() - began)
                pause = min(max(SHORTEST, rest), BUSIEST) if busy else min(pause * 1.5, LONGEST)
                self.publisher.idle(0)
                stop.wait(pause)
            except BrokerUnavailable as error:
                log.warning("dispatcher_rests", because="broker", error=str(error), seconds=REST)
                stop.wait(REST)

    def round(self, leadership: Leadership) -> int:
        """Send one batch of what is due; returns how many the broker confirmed.

        Raises `BrokerUnavailable` when it took none of them, as from a full queue: asking again at once is in vain.
        """
        with leadership.transaction(plan_once=True) as connection:
            due = dispatch.due(connection, in_flight=self.in_flight, limit=BATCH)
        if not due:
            return 0
        receipt = self.publisher.publish([_message(command) for command in due])
        confirmed = [due[place] for place in receipt.confirmed]
        if receipt.troubled:
            TROUBLED.inc(len(receipt.troubled))
            log.warning("commands_not_confirmed", count=len(receipt.troubled), returned=len(receipt.returned))
        if confirmed:
            with leadership.transaction(plan_once=True) as connection:
                dispatch.sent(connection, confirmed, resend=self.resend)
            for command in confirmed:
                SENT.labels(command.queue).inc()
        if not confirmed:
            raise BrokerUnavailable("none of the commands that are due were taken; their queues may be full")
        return len(confirmed)

    def batch_backlog(self, leadership: Leadership) -> int:
        """Put what waits to be exported into batches, where a company wants that; returns how many."""
        with leadership.transaction() as connection:
            return batch_backlog.gather(connection)

    def wake_lanes(self, leadership: Leadership) -> int:
        """Send a command for every destination that is owed something; returns how many the broker confirmed."""
        with leadership.transaction() as connection:
            due = lanes.due(connection, limit=BATCH)
        if not due:
            return 0
        receipt = self.publisher.publish([_wake(*lane) for lane in due])
        with leadership.transaction() as connection:
            lanes.sent(connection, [due[place][0] for place in receipt.confirmed])
        SENT.labels(QueueName.NOTIFY).inc(len(receipt.confirmed))
        return len(receipt.confirmed)


def _message(command: Command) -> Message:
    return _command(command.queue, command.operation_id, command.attempt, command.tenant_id)


def _wake(subscription_id: UUID, tenant: str) -> Message:
    return _command(QueueName.NOTIFY, subscription_id, 1, tenant)


def _command(queue: str, subject: UUID, attempt: int, tenant: str) -> Message:
    return Message(
        exchange=WORK.name,
        routing_key=str(queue),
        message_id=str(subject),
        type=COMMAND,
        content_type=commands.CONTENT_TYPE,
        body=commands.encode(commands.Command(operation_id=subject, attempt=attempt)),
        headers={"tenant": tenant, "attempt": str(attempt)},
    )
