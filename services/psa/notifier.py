"""Works lanes off: each in a thread of its own for a while, so that a destination that hangs holds up only itself.

The threads are not those of the fleet's actors: however many destinations hang, no export waits for one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import SQLAlchemyError

from services.database import Database
from services.database.engine import ALL_TENANTS
from services.psa import lanes
from services.psa.lanes import LEASE, Lane, LeaseLost, Next, Rest
from services.psa.sending import Sender, Sent

log = structlog.get_logger()

BUDGET: Final = 20.0  # seconds a lane is worked on in one go; then others have their turn
PATIENCE: Final = 1.0  # seconds that a lane's rate may ask to wait without giving the lane back
MARGIN: Final = timedelta(seconds=35)  # before a lease ends: nothing is begun that could outlast it

ATTEMPTS = Counter(
    "algasync_deliveries_total", "Attempts to deliver by kind of destination and outcome", ["kind", "outcome"]
)
SECONDS = Histogram("algasync_delivery_seconds", "Time a destination took, in seconds", ["kind"])


class Notifier:
    """The senders of one process. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        senders: Mapping[str, Sender],
        *,
        threads: int = 12,
        lease: timedelta = LEASE,
        budget: float = BUDGET,
    ) -> None:
        """`senders` by kind of destination."""
        self._database = database
        self._senders = senders
        self._lease = lease
        self._budget = budget
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="notify")
        self._lock = threading.Lock()
        self._under_way: set[UUID] = set()
        self._stop = threading.Event()

    def wake(self, subscription_id: UUID) -> None:
        """Work on a lane soon. Should this process end first, the lane is still due: somebody is sent to it again."""
        with self._lock:
            if subscription_id in self._under_way or self._stop.is_set():
                return
            self._under_way.add(subscription_id)
        self._pool.submit(self._guarded, subscription_id)

    def run(self, subscription_id: UUID) -> int:
        """Send what a lane is owed now, unless somebody else is at it; returns how many attempts were made."""
        with self._database.transaction(ALL_TENANTS) as connection:
            lane = lanes.take(connection, subscription_id, lease=self._lease)
        if lane is None:
            return 0
        made, ends = 0, time.monotonic() + self._budget
        try:
            while not self._stop.is_set() and time.monotonic() < ends:
                renewed = time.monotonic()
                with self._database.transaction(ALL_TENANTS) as connection:
                    chosen = lanes.choose(connection, lane, lease=self._lease)
                if isinstance(chosen, Rest):
                    if chosen.seconds is None or chosen.seconds > PATIENCE:
                        break
                    self._stop.wait(max(0.0, chosen.seconds))
                    continue
                self._send(lane, chosen, renewed)
                made += 1
        except LeaseLost:
            log.warning("lane_lost", subscription=str(subscription_id), tenant=lane.tenant)
            return made
        with self._database.transaction(ALL_TENANTS) as connection:
            lanes.release(connection, lane)
        return made

    def close(self) -> None:
        """Finish what is being sent, begin nothing more."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _guarded(self, subscription_id: UUID) -> None:
        try:
            self.run(subscription_id)
        except SQLAlchemyError as error:
            log.warning(
                "lane_left",
                subscription=str(subscription_id),
                error=type(error).__name__,
                advice="it is taken up again when its lease has ended",
            )
        except Exception:
            log.exception("lane_failed", subscription=str(subscription_id))
        finally:
            with self._lock:
                self._under_way.discard(subscription_id)

    def _send(self, lane: Lane, chosen: Next, renewed: float) -> None:
        parcel = chosen.parcel
        ours_until = renewed + (self._lease - MARGIN).total_seconds()
        began = time.monotonic()
        try:
            sent = self._senders[chosen.kind].send(parcel, lambda: time.monotonic() < ours_until)
        except Exception as error:
            # A mistake of ours must neither stop the lane for good nor pass unseen: it is logged, and shows in the log.
            log.exception("sending_failed", delivery=str(parcel.delivery_id), kind=chosen.kind)
            sent = Sent("again", error=f"algasync failed unexpectedly ({type(error).__name__})")
        seconds = time.monotonic() - began
        with self._database.transaction(ALL_TENANTS) as connection:
            outcome = lanes.record(connection, lane, chosen, sent, round(seconds * 1000))
        ATTEMPTS.labels(chosen.kind, outcome).inc()
        SECONDS.labels(chosen.kind).observe(seconds)
        log.info(
            "delivery_attempted",
            tenant=lane.tenant,
            delivery=str(parcel.delivery_id),
            event_id=str(parcel.event_id),
            kind=chosen.kind,
            outcome=outcome,
            status=sent.status,
            milliseconds=round(seconds * 1000),
            error=sent.error,
        )
