"""The collector: dead letters leave the broker for the database, where they never expire.

A letter is acknowledged only after it is filed. While the database is down the consumer is closed once and nothing
runs round in circles. A letter that cannot be filed for another reason is kept and tried again; it never ends, and
it holds up nobody else.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.exceptions.letters import Letter
from workers import headers as message_headers
from workers import probe
from workers.delivery import Arrival, Session, SessionLost
from workers.fleet import Fleet
from workers.gate import Gate, database_is_down
from workers.headers import CODE_HEADER, QUEUE_HEADER, REASON_HEADER
from workers.metrics import COLLECTING, FILED, UNFILED
from workers.rabbitmq import RabbitmqSession
from workers.topology import COMMAND_QUEUES, QueueName

log = structlog.get_logger()

PREFETCH: Final = 50
_LOOK: Final = 0.5  # seconds between two looks at `stop`
_REST: Final = 1.0  # seconds between two tries to reach the broker
_RETURN: Final = 0.1  # seconds before it comes back to a broker that it has lost
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0  # seconds before a letter that could not be filed is tried again


def run(url: str, fleet: Fleet, stop: threading.Event) -> None:
    """Collect from the broker at `url` until `stop`; outages of broker and database are waited out."""
    Collector(lambda: RabbitmqSession(url, QueueName.DEAD.versioned, PREFETCH), fleet).run(stop)


@dataclass(order=True, slots=True)
class _Unfiled:
    due: float
    tries: int
    arrival: Arrival = field(compare=False)


class Collector:
    """Files letters one after the other. `enter` begins a stay at the queue of dead letters on any broker."""

    def __init__(self, enter: Callable[[], Session], fleet: Fleet) -> None:
        self._enter = enter
        self._file_letter = fleet.file_letter
        self._gate = Gate(fleet.ask_database)
        self._unfiled: list[_Unfiled] = []
        self._collecting = False

    @property
    def obstacles(self) -> list[str]:
        """What keeps letters from being filed now."""
        obstacles = [] if self._gate.is_open else ["the database does not answer"]
        if not self._collecting:
            obstacles.append(f"not consuming {QueueName.DEAD.versioned}")
        if self._unfiled:
            obstacles.append(f"{len(self._unfiled)} letters could not be filed; the log says why")
        return obstacles

    def run(self, stop: threading.Event) -> None:
        """Collect until `stop`."""
        unreachable = False
        while not stop.is_set():
            if not self._gate.wait(_LOOK):
                continue
            try:
                session = self._enter()
            except SessionLost as lost:
                if not unreachable:
                    log.warning("broker_unreachable", queue=QueueName.DEAD.versioned, reason=str(lost))
                unreachable = True
                stop.wait(_REST)
                continue
            unreachable = False
            self._stay(session, stop)
        self._gate.close()

    def _stay(self, session: Session, stop: threading.Event) -> None:
        """One uninterrupted stay; whatever ends it, what was not filed goes back to the queue."""
        log.info("consuming", queue=QueueName.DEAD.versioned)
        self._collect(True)
        try:
            while not stop.is_set() and self._gate.is_open:
                arrival = session.receive(_LOOK)
                if arrival is not None:
                    self._take(session, _Unfiled(0.0, 0, arrival))
                while self._unfiled and self._unfiled[0].due <= time.monotonic() and self._gate.is_open:
                    self._take(session, heapq.heappop(self._unfiled))
        except SessionLost as lost:
            log.warning("session_lost", queue=QueueName.DEAD.versioned, reason=str(lost))
            stop.wait(_RETURN)  # see Consumer._leave
        finally:
            self._unfiled.clear()
            self._collect(False)
            session.close()

    def _collect(self, collecting: bool) -> None:
        self._collecting = collecting
        COLLECTING.set(collecting)
        UNFILED.set(len(self._unfiled))

    def _take(self, session: Session, letter: _Unfiled) -> None:
        arrival = letter.arrival
        if arrival.type == probe.TYPE:
            session.ack(arrival.tag)  # `doctor` has seen it come by
            return
        try:
            told = read(arrival)
            self._file_letter(told)
        except Exception as error:
            if database_is_down(error):
                self._gate.shut(error)
                return
            letter.tries += 1
            letter.due = time.monotonic() + min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(letter.tries - 1, 10))
            heapq.heappush(self._unfiled, letter)
            log.exception("letter_not_filed", message_id=arrival.message_id, tries=letter.tries)
        else:
            session.ack(arrival.tag)
            _count(told)
            log.info("letter_filed", queue=told.queue, reason=told.reason, message_id=arrival.message_id)
        UNFILED.set(len(self._unfiled))


def read(arrival: Arrival) -> Letter:
    """What is known of a dead letter: where it died and why.

    RabbitMQ's word is the newest entry of `x-death` (https://www.rabbitmq.com/docs/dlx#effects). Only a letter that
    the broker did not bring has our consumer's own headers; on any other they are somebody's invention.
    """
    headers = arrival.headers
    told = {"message_id": arrival.message_id, "type": arrival.type, "routing_key": arrival.routing_key}
    told |= {
        str(message_headers.plain(name)): message_headers.plain(value) for name, value in headers.items()
    }
    letter = Letter(
        queue=_addressed(arrival),
        reason="rejected",
        body=arrival.body,
        headers={name: value for name, value in told.items() if value is not None},
    )
    deaths = headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else None
    if death is not None:
        return replace(letter, queue=_word(death.get("queue")), reason=_word(death.get("reason")))
    if CODE_HEADER in headers:
        return replace(
            letter,
            queue=_word(headers.get(QUEUE_HEADER)),
            code=_word(headers[CODE_HEADER]),
            message=_word(headers.get(REASON_HEADER)),
        )
    return letter


def _word(value: object) -> str:
    return message_headers.text(value) or "unknown"


def _addressed(arrival: Arrival) -> str:
    """The queue a letter was addressed to, when nobody wrote down where it died."""
    return arrival.routing_key if arrival.routing_key in COMMAND_QUEUES else QueueName.INTAKE


_QUEUES: Final = {queue.versioned for queue in QueueName}
_REASONS: Final = {"rejected", "delivery_limit", "expired", "maxlen"}


def _count(letter: Letter) -> None:
    """Headers may hold anything, and every new word would be a new series for ever."""
    queue = letter.queue if letter.queue in _QUEUES else "other"
    FILED.labels(queue, letter.reason if letter.reason in _REASONS else "other").inc()
