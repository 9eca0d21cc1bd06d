"""A worker process: signals, health, and an end that is bounded in time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import structlog

from workers import actors, health
from workers.broker import Broker, FleetBroker
from workers.fleet import Fleet
from workers.gate import Gate
from workers.pool import Pool
from workers.topology import QueueName

log = structlog.get_logger()

CONSUMER_TIMEOUT: Final = 1800.0  # seconds; RabbitMQ's default before it takes an unacknowledged message back
_LOOK: Final = 1.0  # seconds between two looks at the threads


def run(
    url: str,
    fleet: Fleet,
    *,
    queues: Collection[QueueName] = actors.QUEUES,
    threads: int,
    call_seconds: float,
    lease_seconds: float,
    drain_seconds: float,
    host: str = "127.0.0.1",
    port: int = 0,
    stop: threading.Event | None = None,
) -> int:
    """Work on `queues` of the broker at `url` until SIGTERM, SIGINT or `stop`; return the exit code.

    0: drained. 1: something was still running when the drain ended, or a thread died; the broker delivers again
    what was not finished. All times are in seconds; `port` serves `/healthz`, `/readyz` and `/metrics`.
    """
    broker = Broker(url, Gate(fleet.ask_database), time_limit=time_limit(call_seconds, lease_seconds))
    actors.serve(broker, fleet, queues)
    return work(broker, threads=threads, drain_seconds=drain_seconds, host=host, port=port, stop=stop)


def work(
    broker: FleetBroker,
    *,
    threads: int,
    drain_seconds: float,
    host: str = "127.0.0.1",
    port: int = 0,
    stop: threading.Event | None = None,
) -> int:
    """Work with a broker whose actors are in place; see `run`."""
    stop = stop or threading.Event()
    pool = Pool(broker, threads=threads)
    with (
        _signals(stop),
        health.serve(host, port, faults=lambda: pool.faults, obstacles=lambda: pool.obstacles) as listening,
    ):
        pool.start()
        log.info(
            "working",
            queues=sorted(broker.queues),
            threads=threads,
            health=f"http://{host}:{listening}/readyz",
        )
        while not stop.wait(_LOOK):
            if faults := pool.faults:
                log.critical(
                    "worker_broken", faults=faults, advice="this process ends so that a new one starts"
                )
                pool.drain(drain_seconds)
                return 1
        return 0 if pool.drain(drain_seconds) else 1


def time_limit(call_seconds: float, lease_seconds: float) -> float:
    """How long an actor may run: beyond the lease, so that nothing is interrupted that still holds one.

    Each limit ends what the next one could only abandon: socket < lease < actor < broker. Raises `ValueError`
    when they cannot stand in that order.
    """
    limit = 2 * lease_seconds
    if not 0 < call_seconds < lease_seconds < limit < CONSUMER_TIMEOUT:
        raise ValueError(
            f"a call of {call_seconds:g} s, a lease of {lease_seconds:g} s and the broker's {CONSUMER_TIMEOUT:g} s "
            "do not fit: a call must end before its lease, and twice the lease before the broker gives up"
        )
    return limit


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for a drain; a thread that is not the main one is stopped by its event only."""

    def ask(number: int, _: FrameType | None) -> None:
        log.info("asked_to_stop", signal=signal.Signals(number).name)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {
        number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
