"""Worker processes as the operating system sees them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import requests

from messages import commands
from tests.integration.workers.harness import Amqp
from tests.support import eventually

PROGRAM = Path(__file__).with_name("worker_program.py")
ROOT = Path(__file__).parents[3]


class Process:
    """One worker process; `said` is what its work printed."""

    def __init__(self, url: str, port: int, drain: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, url, str(port), str(drain)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.append(line.strip())

    def await_said(self, *words: object) -> None:
        """Wait for a line of these words."""
        line = " ".join(map(str, words))
        eventually(lambda: line in self.said, what=line)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self, timeout: float) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(timeout)

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


Start = Callable[..., Process]


@pytest.fixture
def start(broker_url: str, amqp: Amqp, free_port: Callable[[], int]) -> Iterator[Start]:
    """A function that starts a worker process and waits until it consumes."""
    started: list[Process] = []

    def start_one(*, drain: float = 5, port: int = 0) -> Process:
        before = amqp.consumers("export.v1")
        process = Process(broker_url, port or free_port(), drain)
        started.append(process)
        eventually(lambda: amqp.consumers("export.v1") > before, 20, what="consuming")
        return process

    yield start_one
    for process in started:
        process.close()


def _send(amqp: Amqp, operation: UUID, attempt: int) -> None:
    amqp.publish("work", "export", commands.encode(commands.Command(operation_id=operation, attempt=attempt)))


def test_a_killed_worker_leaves_its_message_to_another(start: Start, amqp: Amqp) -> None:
    """SIGKILL in the middle of a message: nothing is acked, and the next worker gets it."""
    first, operation = start(), uuid4()
    _send(amqp, operation, 2)
    first.await_said("begun", operation, 2)
    second = start()
    first.signal(signal.SIGKILL)
    second.await_said("begun", operation, 2)


def test_a_drained_worker_has_acked_what_it_finished(start: Start, amqp: Amqp) -> None:
    """SIGTERM: the last acks reach the broker before the process ends with 0."""
    process = start(drain=10)
    quick = [uuid4() for _ in range(3)]
    for operation in quick:
        _send(amqp, operation, 1)
    process.await_said("done", quick[-1], 1)
    process.signal(signal.SIGTERM)
    assert process.ended(10) == 0
    assert amqp.depth("export.v1") == 0


def test_a_drain_is_bounded(start: Start, amqp: Amqp) -> None:
    """A message that hangs does not hold the process beyond its drain; it and the others are back in the queue."""
    process = start(drain=5)
    hanging, waiting = uuid4(), uuid4()
    _send(amqp, hanging, 2)
    process.await_said("begun", hanging, 2)
    _send(amqp, waiting, 1)
    eventually(lambda: amqp.depth("export.v1") == 0, what="prefetched")
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    eventually(lambda: amqp.depth("export.v1") == 1, 4, what="what was not begun is back")
    assert process.ended(10) == 1
    assert time.monotonic() - began < 8  # the drain of 2 s, and what a loaded machine needs to end a process
    eventually(lambda: amqp.depth("export.v1") == 2, what="what ran is back")


def test_health_is_served(start: Start, amqp: Amqp, free_port: Callable[[], int]) -> None:
    """Readiness while it consumes, figures for Prometheus, and 404 for anything else."""
    port, operation = free_port(), uuid4()
    process = start(port=port)
    _send(amqp, operation, 1)
    process.await_said("done", operation, 1)
    base = f"http://127.0.0.1:{port}"
    assert requests.get(f"{base}/healthz", timeout=5).json() == {"status": "ok", "troubles": []}
    assert requests.get(f"{base}/readyz", timeout=5).status_code == 200
    counted = 'algasync_messages_total{decision="ack",queue="export.v1"} 1.0'
    assert eventually(lambda: counted in requests.get(f"{base}/metrics", timeout=5).text)
    assert requests.get(f"{base}/other", timeout=5).status_code == 404


def test_readiness_says_what_is_missing(broker_url: str, amqp: Amqp, free_port: Callable[[], int]) -> None:
    """A worker that may not consume is alive and not ready, and becomes ready once the queue was mended."""
    amqp.channel.queue_delete("export.v1")
    amqp.declare_queue("export.v1", {"x-queue-type": "quorum"})
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    process = Process(broker_url, port, 1)

    def troubles() -> tuple[int, list[str]] | None:
        try:
            answer = requests.get(f"{base}/readyz", timeout=5)
        except requests.ConnectionError:
            return None
        return answer.status_code, answer.json()["troubles"]

    eventually(lambda: troubles() == (503, ["not consuming export.v1"]), 20, what="it says so")
    assert requests.get(f"{base}/healthz", timeout=5).status_code == 200
    amqp.channel.queue_delete("export.v1")
    # A quorum queue that follows at once upon a deleted one may take its time to find a leader.
    eventually(lambda: troubles() == (200, []), 90, what="mended")
    process.close()
