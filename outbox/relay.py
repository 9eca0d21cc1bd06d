# mypy: untyped-calls-exclude=kombu
# (kombu ships annotations for half of its functions)
"""The relay: from the outbox to the broker, for as long as the process lives.

One thread looks for what is new, sweeps what arrived and keeps watch; the lanes publish. Any number of relays may run
at once: rows are claimed with SKIP LOCKED, and the tenants' limit is shared between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg
import structlog
from kombu.entity import Exchange
from psycopg.conninfo import make_conninfo

from outbox import metrics, republication, store
from outbox.backlog import Backlog
from outbox.lane import Lane, Publishes, Settings
from outbox.publisher import Publisher
from outbox.store import Connection, Seen

log = structlog.get_logger()

EXCHANGES: Final = tuple(Exchange(name, "topic") for name in store.EXCHANGES)

_SWEEP: Final = 2_000  # events asked about at once
_SWEEP_PAUSES: Final = (0.02, 1.0)  # seconds between sweeps, when something arrives and when nothing does
_WATCH: Final = 1.0  # seconds between looks at the other relays, at what is due, and at the oldest event
_MAINTAIN, _MAINTAIN_AGAIN = (
    3600.0,
    60.0,
)  # seconds between rounds of maintenance, and after one that had to give way
_LONGEST_PAUSE: Final = 5.0

# Order is in the indexes: with these plans a claim reads the rows it returns and no others, whatever the statistics
# say. A relay that is stopped in the middle of a batch gives its locks back after half a minute.
OPTIONS: Final = " ".join(
    f"-c {name}={value}"
    for name, value in {
        "role": "algasync_fleet",
        "search_path": "algasync,pg_catalog",
        "algasync.tenant": "*",
        "timezone": "UTC",
        "statement_timeout": 30_000,
        "idle_in_transaction_session_timeout": 30_000,
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_indexonlyscan": "off",
        "enable_sort": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",  # whatever the values, the plans are these
    }.items()
)


class Relay:
    """One relay process: `Relay(database_url, broker_url).run(stop)`.

    `broker` is an `amqp://` URL, or a function that opens something that publishes, one for each lane.
    """

    def __init__(
        self, database_url: str, broker: str | Callable[[], Publishes], settings: Settings | None = None
    ) -> None:
        self._database_url = database_url.replace("+psycopg", "", 1)  # as psycopg itself wants it
        self._broker = broker
        self._settings = settings or Settings()

    def run(self, stop: threading.Event) -> None:
        """Relay until `stop` is set, then finish the batches under way and return.

        Outages of either server are waited out. Whatever else goes wrong in a lane ends the relay and is raised here.
        """
        backlog = Backlog(self._settings.tenant_limit, self._settings.gather)
        lanes = [
            Lane(number, backlog, self._connect, self._publisher(number), self._settings, stop)
            for number in range(self._settings.lanes)
        ]
        for lane in lanes:
            lane.start()
        try:
            Scout(backlog, self._connect, lanes, self._settings, stop).run()
        finally:
            stop.set()
            for lane in lanes:
                lane.join()
        for lane in lanes:
            if lane.failure is not None:
                raise lane.failure

    def _connect(self) -> Connection:
        return psycopg.connect(
            make_conninfo(
                self._database_url, options=OPTIONS, application_name="algasync relay", connect_timeout=5
            )
        )

    def _publisher(self, number: int) -> Publishes:
        if not isinstance(self._broker, str):
            return self._broker()
        return Publisher(
            self._broker,
            exchanges=EXCHANGES,
            window=self._settings.window,
            patience=self._settings.patience,
            name=f"algasync relay, lane {number}",
        )


class Scout:
    """Keeps the backlog up to date with the database."""

    def __init__(
        self,
        backlog: Backlog,
        connect: Callable[[], Connection],
        lanes: list[Lane],
        settings: Settings,
        stop: threading.Event,
    ) -> None:
        self._backlog = backlog
        self._connect = connect
        self._lanes = lanes
        self._settings = settings
        self._stop = stop

    def run(self) -> None:
        """Look, sweep and watch until stopped, through every outage of the database."""
        pause = 0.1
        while not self._stop.is_set():
            try:
                with self._connect() as connection:
                    connection.autocommit = True
                    self._begin(connection)
                    pause = 0.1
                    while not self._stop.is_set():
                        self._stop.wait(self._look(connection))
            except psycopg.Error as error:
                log.warning("relay_waits", seconds=pause, why=f"database: {error}")
                self._stop.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _begin(self, connection: Connection) -> None:
        store.register(connection)
        if store.relays(connection) > 1:
            self._stop.wait(1.5 * _WATCH)  # until the others have noticed, and keep to their share
        self._seen = Seen()
        self._relays = 0
        self._due_floor = "-infinity"
        self._poll = self._settings.poll[0]
        self._sweep_pause = _SWEEP_PAUSES[0]
        self._next_sweep = self._next_watch = self._next_maintenance = 0.0

    def _look(self, connection: Connection) -> float:
        """Everything that is due now; returns seconds until the next look."""
        now = time.monotonic()
        if now >= self._next_watch:
            self._watch(connection)  # first of all: it says what is under way, before anything is handed out
            self._next_watch = now + _WATCH
        found = self._discover(connection)
        self._backlog.gathered()
        self._check(connection)
        if now >= self._next_sweep:
            self._sweep(connection)
        if now >= self._next_maintenance:
            self._next_maintenance = now + self._maintain(connection)
        shortest, longest = self._settings.poll
        # After a look that took long a longer rest, so that on a busy machine more goes into each batch.
        rest = (
            max(shortest, 4 * (time.monotonic() - now))
            if found and not self._backlog.busy
            else self._poll * 1.5
        )
        self._poll = min(rest, longest)
        return self._poll

    def _discover(self, connection: Connection) -> bool:
        streams, self._seen = store.discover(connection, self._seen)
        if streams:
            self._backlog.noticed(streams)
        return bool(streams)

    def _check(self, connection: Connection) -> None:
        resting = self._backlog.resting()
        if resting:
            self._backlog.checked(resting, store.pending(connection, resting))

    def _sweep(self, connection: Connection) -> None:
        started = time.monotonic()
        asked = self._backlog.oldest_under_way(_SWEEP)
        forgotten = self._backlog.arrived(store.sweep(connection, asked)) if asked else 0
        metrics.SWEPT.inc(forgotten)
        metrics.UNDER_WAY.set(self._backlog.under_way)
        took = time.monotonic() - started
        shortest, longest = _SWEEP_PAUSES
        self._sweep_pause = shortest if forgotten else min(self._sweep_pause * 1.5, longest)
        self._next_sweep = started + max(self._sweep_pause, 5 * took)

    def _watch(self, connection: Connection) -> None:
        relays = store.relays(connection)
        if relays != self._relays:
            self._relays = relays
            share = max(1, self._settings.tenant_limit // relays)
            self._backlog.reload(store.under_way(connection), share)
            log.info("relays", count=relays, tenant_limit=share)
        due, self._due_floor = republication.first_due(connection, self._due_floor)
        if due:
            for lane in self._lanes:
                lane.due_floor = self._due_floor
            self._backlog.found_due()
        floor = self._backlog.lowest_floor()
        metrics.OLDEST.set(store.oldest_age(connection, floor) if floor is not None else 0.0)

    def _maintain(self, connection: Connection) -> float:
        """Keep the feed's partitions; returns in how many seconds to do it again."""
        try:
            made, dropped, keys = store.maintain(connection)
        except psycopg.errors.LockNotAvailable as held:
            log.warning("outbox_maintenance_postponed", why=str(held).splitlines()[0])
            return _MAINTAIN_AGAIN
        if made or dropped or keys:
            log.info("outbox_maintained", partitions_made=made, partitions_dropped=dropped, keys_dropped=keys)
        return _MAINTAIN
