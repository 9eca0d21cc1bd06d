"""Commands that are processes: each runs until SIGTERM or Ctrl-C and can be started on its own, on any machine.

They take all settings from the environment: DATABASE_URL, BROKER_URL and the ALGASYNC_ ones.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.console import UNREACHABLE, USAGE, Told

if TYPE_CHECKING:
    from services.configuration import Configuration
    from workers.topology import QueueName

Threads = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Threads; the setting ALGASYNC_WORKER_THREADS by default."),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port of /healthz, /readyz and /metrics; the setting ALGASYNC_HEALTH_PORT by default.",
    ),
]


def relay(port: Port = None) -> None:
    """Publish what was emitted, with confirms, until it is taken over. Several may run at once.

    Example: algasync relay
    """
    from outbox.lane import Settings
    from outbox.relay import Relay
    from outbox.republication import Schedule
    from services.cli import wiring
    from services.database import to_driver_url

    settings, stop = _begin()
    with _health(settings, port):
        Relay(
            to_driver_url(wiring.database_url(settings)),
            _broker(settings),
            Settings(schedule=Schedule(first=settings.republish_seconds)),
        ).run(stop)


def dispatcher(port: Port = None) -> None:
    """Send commands for operations that are due. Several may run; one leads, the others stand by.

    Example: algasync dispatcher
    """
    from outbox.publisher import Publisher
    from services.cli import wiring
    from workers.dispatcher import Dispatcher
    from workers.topology import WORK

    settings, stop = _begin()
    database = wiring.fleet_database(application="algasync dispatcher")
    with (
        _health(settings, port),
        database,
        Publisher(_broker(settings), exchanges=[WORK]) as publisher,
    ):
        resend = timedelta(seconds=settings.resend_seconds)
        Dispatcher(database, publisher, settings.in_flight_per_company, resend).run(stop)


def scheduler(port: Port = None) -> None:
    """Do what goes by the clock: sweeps, retention, token upkeep. Several may run; one leads.

    Example: algasync scheduler
    """
    from services.cli import exporter, parts
    from services.cli.jobs import errands, jobs
    from workers import scheduler

    settings, stop = _begin()
    made = parts.parts(settings, threads=2, application="algasync scheduler")
    exporter.install(made.database)
    with _health(settings, port):
        scheduler.run(made.database, jobs(made), stop, errands(made))
    made.close()


def workers(
    threads: Threads = None,
    port: Port = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="Work on this queue only; may be given several times. All queues by default."),
    ] = None,
) -> None:
    """Take over billing events and carry out operations against QuickBooks.

    SIGTERM stops taking, finishes what is running within ALGASYNC_DRAIN_SECONDS and exits 0.

    Example: algasync workers --threads 16
    """
    from services.cli import parts
    from workers import process

    settings, stop = _begin(signals=False)
    queues = _queues(queue)
    count = threads or settings.worker_threads
    made = parts.parts(settings, threads=count, application="algasync workers")
    code = process.run(
        _broker(settings),
        made.fleet(),
        queues=queues,
        threads=count,
        call_seconds=settings.call_seconds,
        lease_seconds=settings.lease_seconds,
        drain_seconds=settings.drain_seconds,
        host=settings.health_host,
        port=settings.health_port if port is None else port,
        stop=stop,
    )
    made.close()
    raise typer.Exit(code)


def embedded(threads: Threads = None) -> None:
    """Run relay, dispatcher, scheduler, collector and workers in one process, for machines without RabbitMQ.

    Its broker keeps nothing: what was under way when it ended is sent again at the next start. One process only.

    Example: algasync embedded
    """
    from services.cli import embedded

    settings, stop = _begin()
    raise typer.Exit(embedded.run(settings, stop, threads=threads or settings.worker_threads))


def collector(port: Port = None) -> None:
    """File dead letters of the broker in the database, where they never expire.

    Example: algasync collector
    """
    from services.cli import parts
    from workers import collector

    settings, stop = _begin()
    made = parts.parts(settings, threads=1, application="algasync collector")
    with _health(settings, port):
        collector.run(_broker(settings), made.fleet(), stop)
    made.close()


def api() -> None:
    """Serve the HTTP API, its docs page and the connect pages.

    Example: ALGASYNC_API_PORT=8400 algasync api
    """
    from services.api import server
    from services.cli import wiring
    from services.exceptions.attention import ConnectionAttention

    settings, stop = _begin()
    server.run(settings, stop, attention=ConnectionAttention(), database_url=wiring.database_url(settings))


def sandbox(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port that stands for Intuit; 0 takes a free one.")
    ] = 0,
    control_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the bookkeeper and the bad day.")
    ] = 0,
    state: Annotated[Path | None, typer.Option(help="File that keeps the books over a restart.")] = None,
    host: Annotated[
        str, typer.Option(help="Where it listens. Its control port lets anyone change the books.")
    ] = "127.0.0.1",
) -> None:
    """Run a QuickBooks Online company of your own, for development and tests.

    The first line on standard output is its addresses as JSON.

    Example: algasync sandbox --port 8500 --control-port 8501 --state books.journal
    """
    from services.sandbox import server
    from services.sandbox.settings import Settings

    server.run(Settings(state=state), port, control_port, host)


def _begin(*, signals: bool = True) -> tuple[Configuration, threading.Event]:
    """Settings and logs of this process, and the event that ends it."""
    from services.cli import logs
    from services.configuration import configuration

    settings, stop = configuration(), threading.Event()
    logs.configure(settings.log_format, settings.log_level)

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    if signals:
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
    return settings, stop


def _queues(named: list[str] | None) -> Collection[QueueName]:
    from workers import actors

    if unknown := set(named or ()) - {str(one) for one in actors.QUEUES}:
        raise Told(
            f"no queue is named {', '.join(sorted(unknown))}; there are {', '.join(sorted(actors.QUEUES))}",
            code="unknown_queue",
            field="--queue",
            exit_code=USAGE,
        )
    return [one for one in actors.QUEUES if str(one) in named] if named else actors.QUEUES


def _health(settings: Configuration, port: int | None) -> AbstractContextManager[int]:
    """Probes and metrics of a process that has no state of its own to report: it answers, so it lives."""
    from workers import health

    wanted = settings.health_port if port is None else port
    return health.serve(settings.health_host, wanted, faults=list, obstacles=list)


def _broker(settings: Configuration) -> str:
    from services.cli import wiring

    url = wiring.broker_url(settings)
    if not url:
        raise Told(
            "there is no broker: BROKER_URL is not set and no private RabbitMQ node runs here."
            " Set BROKER_URL=amqp://..., or start everything with: algasync up",
            code="no_broker",
            field="BROKER_URL",
            exit_code=UNREACHABLE,
        )
    return url
