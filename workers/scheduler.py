"""The scheduler: what happens by the clock, done by one leader. A job that fails is logged and comes round again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from services.database import Database
from services.database.leadership import Leadership, lead

log = structlog.get_logger()

REST = 2.0  # seconds between tries while the database is down

RUNS = Counter("algasync_scheduled_runs_total", "Runs of scheduled jobs", ["job", "outcome"])
LAST_RUN = Gauge("algasync_scheduled_last_success_seconds", "Unix time of a job's last success", ["job"])


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every `seconds`, in a transaction across tenants on the leader's connection."""

    name: str
    seconds: float
    do: Callable[[Connection], object]


@dataclass(frozen=True, slots=True)
class Errand:
    """Something that talks to the outside every `seconds`: without a transaction, one at a time, beside the jobs."""

    name: str
    seconds: float
    do: Callable[[], object]


def run(
    database: Database, jobs: Sequence[Job], stop: threading.Event, errands: Sequence[Errand] = ()
) -> None:
    """Do jobs and errands until `stop`, while leading; stand by while another process leads.

    An errand under way when the lead is lost still ends; errands are of the kind that may overlap another leader's.
    """
    while not stop.is_set():
        try:
            with lead(database, "scheduler", stop) as leadership:
                if leadership is not None:
                    with ThreadPoolExecutor(1, thread_name_prefix="errand") as outside:
                        _work(leadership, jobs, [_Outside(errand, outside) for errand in errands], stop)
        except DBAPIError as error:
            log.warning("scheduler_rests", error=type(error).__name__, seconds=REST)
            stop.wait(REST)


class _Outside:
    """An errand and its run under way."""

    def __init__(self, errand: Errand, pool: Executor) -> None:
        self.errand = errand
        self._pool = pool
        self._under_way: Future[None] | None = None

    def go(self) -> None:
        """Run it, unless the last run is still under way."""
        if self._under_way is None or self._under_way.done():
            self._under_way = self._pool.submit(self._run)

    def _run(self) -> None:
        with _counted(self.errand.name):
            self.errand.do()


def _work(
    leadership: Leadership, jobs: Sequence[Job], errands: Sequence[_Outside], stop: threading.Event
) -> None:
    calendar: list[tuple[float, Callable[[], object]]] = [
        *((job.seconds, partial(_do, leadership, job)) for job in jobs),
        *((outside.errand.seconds, outside.go) for outside in errands),
    ]
    due = [0.0] * len(calendar)
    while not stop.is_set():
        now = time.monotonic()
        for place, (seconds, go) in enumerate(calendar):
            if due[place] <= now and not stop.is_set():
                go()
                due[place] = time.monotonic() + seconds
        stop.wait(max(0.0, min(due) - time.monotonic()))


def _do(leadership: Leadership, job: Job) -> None:
    with _counted(job.name), leadership.transaction() as connection:
        job.do(connection)


@contextmanager
def _counted(name: str) -> Iterator[None]:
    """Count and log how a run ended; only a lost connection to the database goes on from here."""
    try:
        yield
    except Exception as error:
        RUNS.labels(name, "failed").inc()
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        log.exception("job_failed", job=name)
    else:
        RUNS.labels(name, "ok").inc()
        LAST_RUN.labels(name).set_to_current_time()
