"""The worker threads of one process: start, health, and a drain that ends in time."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty
from typing import Final

import structlog
from dramatiq.worker import Worker

from workers.broker import FleetBroker
from workers.consumer import Consumer

log = structlog.get_logger()

_TICK: Final = 0.5  # seconds after which idle threads look up
_LEAVING: Final = 3 * _TICK  # seconds kept back from a drain for leaving the broker properly
_GRACE: Final = 30.0  # seconds beyond the time limit after which a thread counts as stuck


class Pool:
    """Dramatiq's worker over all queues that the broker serves."""

    def __init__(self, broker: FleetBroker, *, threads: int, prefetch: int | None = None) -> None:
        """`prefetch` messages at most are taken from each queue at a time, running ones included.

        Twice the threads by default: enough that none waits for the network, few enough that a lost connection
        counts against few messages.
        """
        self._broker = broker
        self._worker = Worker(broker, worker_threads=threads, worker_timeout=int(_TICK * 1000))
        self._worker.queue_prefetch = prefetch or threads * 2

    def start(self) -> None:
        """Start working."""
        self._broker.emit_after("process_boot")  # starts the watch over time limits
        self._worker.start()

    @property
    def faults(self) -> list[str]:
        """What only a new process mends: threads that died, and threads that nothing can interrupt."""
        dead = [thread.name for thread in self._worker.workers if not thread.is_alive()]
        dead += [
            f"consumer of {queue}"
            for queue, thread in self._worker.consumers.items()
            if not thread.is_alive()
        ]
        faults = [f"a thread has died: {name}" for name in dead]
        limit = self._broker.time_limit + _GRACE
        for began, delivery in self._broker.fail_closed.busy.values():
            if (busy := time.monotonic() - began) > limit:
                faults.append(f"a thread is stuck for {busy:.0f} s at message {delivery}")
        return faults

    @property
    def obstacles(self) -> list[str]:
        """What keeps work from being done now; most of it passes by itself."""
        obstacles = self.faults
        if not self._broker.gate.is_open:
            obstacles.append("the database does not answer")
        obstacles += [
            f"not consuming {queue}" for queue, consumer in self._consumers() if not _consumes(consumer)
        ]
        return obstacles

    def drain(self, seconds: float) -> bool:
        """Stop within `seconds`: take nothing more, give back what was not begun, finish what runs.

        Returns whether all of it finished; what did not is delivered again once this process has ended.
        """
        deadline = time.monotonic() + seconds
        log.info("draining", seconds=seconds)
        for _, consumer in self._consumers():
            if consumer is not None:
                consumer.drain()
        for thread in self._worker.workers:
            thread.stop()
        self._return_queued()
        for thread in self._worker.workers:
            thread.join(max(0.0, deadline - _LEAVING - time.monotonic()))
        running = [delivery for _, delivery in self._broker.fail_closed.busy.values()]
        self._worker.stop(timeout=int(max(_TICK, (deadline - time.monotonic()) / 2) * 1000))
        self._broker.gate.close()
        for delivery in running:
            log.warning("left_running", message_id=delivery.message_id, queue=delivery.queue_name)
        log.info("drained", left_running=len(running))
        return not running

    def _return_queued(self) -> None:
        """Give back what consumers have handed over and no thread has begun."""
        with suppress(Empty):
            while True:
                message = self._worker.work_queue.get_nowait().message
                self._worker.consumers[message.queue_name].requeue_messages([message])

    def _consumers(self) -> list[tuple[str, Consumer | None]]:
        found = []
        for queue, thread in self._worker.consumers.items():
            consumer = thread.consumer
            assert consumer is None or isinstance(consumer, Consumer)
            found.append((queue, consumer))
        return found


def _consumes(consumer: Consumer | None) -> bool:
    return consumer is not None and consumer.consuming
