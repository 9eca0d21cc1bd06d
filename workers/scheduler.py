"""The scheduler: what happens by the clock, done by one leader. A job that fails is logged and comes round again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


def run(database: Database, jobs: Sequence[Job], stop: threading.Event) -> None:
    """Do the jobs until `stop`, while leading; stand by while another process leads."""
    while not stop.is_set():
        try:
            with lead(database, "scheduler", stop) as leadership:
                if leadership is not None:
                    _work(leadership, jobs, stop)
        except DBAPIError as error:
            log.warning("scheduler_rests", error=type(error).__name__, seconds=REST)
            stop.wait(REST)


def _work(leadership: Leadership, jobs: Sequence[Job], stop: threading.Event) -> None:
    due = dict.fromkeys((job.name for job in jobs), 0.0)
    while not stop.is_set():
        now = time.monotonic()
        for job in jobs:
            if due[job.name] <= now and not stop.is_set():
                _do(leadership, job)
                due[job.name] = time.monotonic() + job.seconds
        stop.wait(max(0.0, min(due.values()) - time.monotonic()))


def _do(leadership: Leadership, job: Job) -> None:
    try:
        with leadership.transaction() as connection:
            job.do(connection)
    except DBAPIError as error:
        RUNS.labels(job.name, "failed").inc()
        if error.connection_invalidated:
            raise
        log.exception("job_failed", job=job.name)
    except Exception:
        RUNS.labels(job.name, "failed").inc()
        log.exception("job_failed", job=job.name)
    else:
        RUNS.labels(job.name, "ok").inc()
        LAST_RUN.labels(job.name).set_to_current_time()
