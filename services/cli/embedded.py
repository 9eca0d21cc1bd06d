"""`algasync embedded`: relay, dispatcher, scheduler, collector and workers in one process, without RabbitMQ.

The broker inside the process keeps nothing; after a restart outbox and ledger send again whatever was not taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from outbox import recovery
from outbox.lane import Settings
from outbox.relay import Relay
from outbox.republication import Schedule
from services.cli import parts, wiring
from services.cli.jobs import errands, jobs
from services.configuration import Configuration
from services.database import Database, to_driver_url
from services.database.engine import ALL_TENANTS
from services.exceptions import upkeep
from services.ledger import dispatch
from workers import actors, process, scheduler
from workers.collector import Collector
from workers.dispatcher import Dispatcher
from workers.gate import Gate
from workers.inprocess import InProcessBroker
from workers.topology import QueueName

log = structlog.get_logger()

PREFETCH = 50  # dead letters


def run(settings: Configuration, stop: threading.Event, *, threads: int) -> int:
    """Run everything until `stop`; returns the exit code of the workers' drain."""
    made = parts.parts(settings, threads=threads + 2, application="algasync embedded")
    fleet = made.fleet()
    limit = process.time_limit(settings.call_seconds, settings.lease_seconds)
    broker = InProcessBroker(Gate(fleet.ask_database), time_limit=limit)
    actors.serve(broker, fleet)
    _send_again(made.database)
    schedule = Settings(schedule=Schedule(first=settings.republish_seconds))
    relay = Relay(to_driver_url(wiring.database_url(settings)), broker.publisher, schedule)
    resend = timedelta(seconds=settings.resend_seconds)
    dispatcher = Dispatcher(made.database, broker.publisher(), settings.in_flight_per_company, resend)
    collector = Collector(partial(broker.enter, QueueName.DEAD.versioned, PREFETCH), fleet)
    done = threading.Event()
    threads_ = [
        _start("relay", partial(relay.run, done), stop),
        _start("dispatcher", partial(dispatcher.run, done), stop),
        _start("scheduler", partial(scheduler.run, made.database, jobs(made), done, errands(made)), stop),
        _start("collector", partial(collector.run, done), stop),
    ]
    code = process.work(broker, threads=threads, drain_seconds=settings.drain_seconds, stop=stop)
    done.set()
    for thread in threads_:
        thread.join(10)
    made.close()
    return code


def _start(name: str, work: Callable[[], object], stop: threading.Event) -> threading.Thread:
    """A thread whose failure ends the process, so that whoever watches it starts a whole one again."""

    def guarded() -> None:
        try:
            work()
        except Exception:
            log.exception("part_failed", part=name)
            stop.set()

    thread = threading.Thread(target=guarded, name=name)
    thread.start()
    return thread


def _send_again(database: Database) -> None:
    """What an earlier process had in memory is gone with it; have it sent at once instead of within the hour."""
    with database.transaction(ALL_TENANTS) as connection:
        recovery.publish_again(connection)
        dispatch.resend_all(connection)
        upkeep.rebuild(connection, grace=timedelta())
