"""Fail closed: every way in which processing can end leads to a decision, and only success leads to an ack.

Dramatiq acknowledges a message unless somebody failed it in time. Here it is the other way round: a delivery that
nobody decided about goes back to its queue (see `Delivery.settled`), so no hook, bug or interruption can ack it.
There is no Retries middleware: when something is due again is written in the ledger, not in the broker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog
from dramatiq import Broker, Middleware
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from workers.delivery import Decision, Delivery, Reject
from workers.gate import Gate, database_is_down
from workers.metrics import DURATION, HANDLED

log = structlog.get_logger()


class FailClosed(Middleware):
    """Decides what becomes of each delivery, and knows which thread is busy since when."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._busy: dict[int, tuple[float, Delivery]] = {}

    @property
    def actor_options(self) -> set[str]:
        """`throws` keeps Dramatiq from logging what is decided and logged here."""
        return {"throws"}

    @property
    def busy(self) -> Mapping[int, tuple[float, Delivery]]:
        """Thread id -> monotonic time at which it began, and what it works on."""
        return dict(self._busy)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Let nothing begin that could not be finished."""
        assert isinstance(message, Delivery)
        if message.session.closed:
            # The broker has given it to somebody else by now.
            message.decide(Decision.RETURN, "session_closed")
            raise SkipMessage
        if not self._gate.is_open:
            message.decide(Decision.HOLD, "database_down")
            raise SkipMessage
        self._busy[threading.get_ident()] = (time.monotonic(), message)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Turn the way it ended into a decision."""
        assert isinstance(message, Delivery)
        began, _ = self._busy.pop(threading.get_ident(), (time.monotonic(), message))
        queue = message.queue_name
        self._decide(message, exception)
        DURATION.labels(queue).observe(time.monotonic() - began)
        HANDLED.labels(queue, message.settled).inc()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Whoever skipped it has decided, or it goes back."""
        self._busy.pop(threading.get_ident(), None)

    def _decide(self, message: Delivery, exception: BaseException | None) -> None:
        about = {"queue": message.queue_name, "message_id": message.message_id}
        if exception is None:
            message.decide(Decision.ACK)
        elif isinstance(exception, Reject):
            log.warning("message_rejected", code=exception.code, reason=exception.reason, **about)
            message.decide(Decision.REJECT, exception.code, exception.reason)
        elif database_is_down(exception):
            self._gate.shut(exception)
            message.decide(Decision.HOLD, "database_down")
        else:
            log.error(
                "message_failed",
                deliveries=message.arrival.deliveries,
                advice="it comes back until its delivery limit, then it is a dead letter",
                exc_info=exception,
                **about,
            )
            message.decide(Decision.REQUEUE, type(exception).__name__)
