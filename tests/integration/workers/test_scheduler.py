"""The scheduler: one leader does what goes by the clock, a failing job stops nothing, a standby takes over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, text

from services.database import Database, Role
from tests.support.deadline import eventually
from workers import scheduler
from workers.scheduler import Errand, Job


class Diary:
    """Counts runs by name."""

    def __init__(self) -> None:
        self.runs: dict[str, int] = {}

    def job(self, name: str, *, fails: bool = False) -> Job:
        """A job every 20 ms that reads the database and is counted."""

        def do(connection: Connection) -> None:
            connection.execute(text("SELECT count(*) FROM operation"))
            self.runs[name] = self.runs.get(name, 0) + 1
            if fails:
                raise ValueError("a job's own mistake")

        return Job(name, 0.02, do)


@contextmanager
def running(
    database: Database, jobs: list[Job], errands: list[Errand] | None = None
) -> Iterator[threading.Event]:
    """A scheduler in a thread; yields what stops it."""
    stop = threading.Event()
    thread = threading.Thread(target=scheduler.run, args=(database, jobs, stop, errands or []))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_failing_job_stops_no_other(database_url: str) -> None:
    """It is counted and logged, and comes round again."""
    diary = Diary()
    with (
        Database(database_url, Role.FLEET) as database,
        running(database, [diary.job("bad", fails=True), diary.job("good")]),
    ):
        eventually(lambda: diary.runs.get("good", 0) > 3 and diary.runs.get("bad", 0) > 3)


def test_one_leads_and_the_other_takes_over(database_url: str) -> None:
    """Two processes, one does the work; when its connection is gone the other goes on."""
    first, second = Diary(), Diary()
    with (
        Database(database_url, Role.FLEET, application="first") as one,
        Database(database_url, Role.FLEET, application="second") as two,
        running(one, [first.job("tick")]) as stop_first,
    ):
        eventually(lambda: first.runs.get("tick", 0) > 0)
        with running(two, [second.job("tick")]):
            eventually(lambda: first.runs["tick"] > 5)
            assert second.runs == {}
            stop_first.set()
            with psycopg.connect(database_url) as administrator:
                administrator.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'first'"
                )
            eventually(lambda: second.runs.get("tick", 0) > 0)


def test_an_errand_holds_up_no_job(database_url: str) -> None:
    """What talks to the outside may take its time; the jobs go on, and it never runs twice at once."""
    diary, begun, let_go = Diary(), threading.Semaphore(0), threading.Event()

    def slow() -> None:
        begun.release()
        let_go.wait(10)

    with (
        Database(database_url, Role.FLEET) as database,
        running(database, [diary.job("tick")], [Errand("slow", 0.01, slow)]),
    ):
        assert begun.acquire(timeout=10)
        before = diary.runs.get("tick", 0)
        eventually(lambda: diary.runs.get("tick", 0) > before + 5)
        assert not begun.acquire(blocking=False)
        let_go.set()
        assert begun.acquire(timeout=10)
