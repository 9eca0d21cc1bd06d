"""Whatever dies, and whenever: every committed event reaches the queue."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from pathlib import Path

from prometheus_client import REGISTRY

from deploy.local import RabbitmqNode
from services.cli.chaos.proxy import Proxy
from tests.integration.outbox.events import Session
from tests.integration.outbox.relaying import (
    Queue,
    count,
    emit_many,
    published,
    relaying,
    settings,
    write_many,
)
from tests.support import eventually

PROGRAM = Path(__file__).with_name("relay_process.py")


def test_a_relay_killed_in_mid_batch_loses_nothing(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """SIGKILL four times while messages are on the wire: nothing is lost, and only what was on the wire comes twice."""
    size, batch = 12_000, 500
    write_many(owner, size, tenants=20)
    for _ in range(4):
        before = intake.depth
        process = subprocess.Popen([sys.executable, PROGRAM, database_url, broker_url, str(batch)])
        intake.grows(before)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert count(owner, "published_at IS NULL") > 0, "all was published before the last kill; use more events"
    with relaying(database_url, broker_url, settings(tenant_limit=100_000)):
        published(owner, size)
    arrived = intake.ids()
    assert len(arrived) == size
    assert arrived.total() <= size + 4 * 2 * batch


def test_a_stopped_relay_does_not_hold_up_another(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """SIGSTOP a relay with rows in its hands: others publish the rest at once. Continued, it finishes its batch."""
    process = subprocess.Popen([sys.executable, PROGRAM, database_url, broker_url, "200"])
    try:
        write_many(owner, 5_000, tenants=20, prefix="first")
        intake.grows(0)
        process.send_signal(signal.SIGSTOP)
        with relaying(database_url, broker_url, settings(tenant_limit=100_000)):
            write_many(owner, 1_000, tenants=20, prefix="second")
            eventually(lambda: count(owner, "published_at IS NULL") <= 2 * 200, 20)
            process.send_signal(signal.SIGCONT)
            published(owner, 6_000)
        arrived = intake.ids()
        assert len(arrived) == 6_000
    finally:
        process.kill()
        process.wait()


def test_a_cut_wire_loses_nothing(database_url: str, broker_url: str, owner: Session, intake: Queue) -> None:
    """The connection to the broker ends ten times in the middle of publishing; all arrive."""
    proxy = Proxy(broker_url)
    size = 10_000
    write_many(owner, size, tenants=20)
    with relaying(database_url, proxy.url, settings(batch=200, tenant_limit=100_000)):
        for _ in range(10):
            intake.grows(min(intake.depth, size - 1))
            proxy.cut()
        published(owner, size)
    proxy.close()
    assert len(intake.ids()) == size


def test_a_broker_that_takes_nothing_is_not_fed(
    database_url: str, broker_node: RabbitmqNode, owner: Session
) -> None:
    """Under a memory alarm the relay says so, claims nothing more, and goes on by itself when it ends."""
    intake = Queue(broker_node.url, "intake")
    with relaying(database_url, broker_node.url, settings(patience=0.5)):
        emit_many(database_url, 10, prefix="before")
        published(owner, 10)
        broker_node.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            emit_many(database_url, 10, prefix="during")
            eventually(lambda: REGISTRY.get_sample_value("outbox_broker_blocked") == 1)
            eventually(lambda: count(owner, "published_at IS NULL") == 10)
        finally:
            broker_node.control("set_vm_memory_high_watermark", "0.4")
        published(owner, 20)
    assert len(intake.ids()) == 20
    intake.close()


def test_a_broker_that_dies_and_returns_gets_everything(
    database_url: str, broker_node: RabbitmqNode, owner: Session
) -> None:
    """SIGKILL the broker while events flow, start it again: what it confirmed is there, the rest follows.

    The queue is two seconds old by then: one that is younger may come back without a leader, and take nothing
    (https://github.com/rabbitmq/rabbitmq-server/issues/10070).
    """
    declared = time.monotonic()
    before = Queue(broker_node.url, "intake")
    with relaying(
        database_url, broker_node.url, settings(batch=100, tenant_limit=100_000, longest_backoff=1.0)
    ):
        wave = itertools.count()

        def flowing() -> bool:
            write_many(owner, 200, tenants=20, prefix=f"wave{next(wave)}")
            return time.monotonic() - declared > 2 and before.depth > 0

        eventually(flowing)
        broker_node.kill()
        before.hang_up()
        write_many(owner, 500, tenants=20, prefix="last")
        broker_node.start(dies_with_parent=True)
        size = count(owner)
        published(owner, size, timeout=40)
    after = Queue(broker_node.url, "intake")
    assert len(after.ids()) == size
    after.close()
