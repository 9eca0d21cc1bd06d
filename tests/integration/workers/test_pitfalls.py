"""Where Dramatiq's own RabbitMQ broker loses, repeats or blocks work, and ours does not.

Each test runs one scenario twice. `Side.promises` asserts that our fleet keeps the promise and that stock Dramatiq
does not: the day Dramatiq keeps it too, the test fails and our remedy may go. Numbers as in `docs/broker.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from dramatiq.middleware import Middleware, Retries, SkipMessage, TimeLimit

from tests.integration.workers.harness import Amqp
from tests.integration.workers.sides import Blocker, Ours, Side, Stock, within
from tests.support import eventually
from workers.topology import DELIVERY_LIMIT

# When its connection goes, a thread of stock Dramatiq may die of it; `test_fleet` watches over ours.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(params=[Stock, Ours], ids=["stock", "ours"])
def side(request: pytest.FixtureRequest, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    """Stock Dramatiq, then our fleet."""
    monkeypatch.setattr("dramatiq.worker.CONSUMER_RESTART_DELAY_SECS", 0.2)  # 3 s each would only cost time
    each: Side = request.param(broker_url)
    yield each
    each.close()


def _fail(text: str) -> None:
    raise RuntimeError(f"secret of {text}")


def test_01_a_failed_message_is_kept_when_the_retry_cannot_be_published(side: Side) -> None:
    """Stock publishes a copy for later and acks the original even when the publish failed."""

    def lose_the_network_and_fail(text: str) -> None:
        side.proxy.refuse()
        _fail(text)

    side.start(
        lose_the_network_and_fail, middleware=[Retries(max_retries=3)] if isinstance(side, Stock) else []
    )
    side.send("M")
    eventually(lambda: side.ran)
    side.stop()
    side.promises_soon(lambda: side.left() == 1)


class _Failing(Middleware):
    def before_process_message(self, broker: Any, message: Any) -> None:
        raise RuntimeError("the idempotency database is down")


def test_02_an_actor_does_not_run_when_a_hook_before_it_failed(side: Side) -> None:
    """Stock logs the failure of the hook and runs the actor without its guard."""
    side.start(middleware=[_Failing()])
    side.send("M")
    eventually(lambda: side.ids)
    side.stop()
    side.promises_soon(lambda: side.left() == 1 and side.ran == [])


class _Skipping(Middleware):
    def before_process_message(self, broker: Any, message: Any) -> None:
        raise SkipMessage("not now")


def test_03_a_skipped_message_is_kept(side: Side) -> None:
    """Stock acks what was skipped."""
    side.start(middleware=[_Skipping()])
    side.send("M")
    eventually(lambda: side.ids)
    side.stop()
    side.promises_soon(lambda: side.left() == 1)


def test_04_a_malformed_message_does_not_stop_its_queue(side: Side) -> None:
    """`"options": null` kills stock's consumer thread, which starts again and meets the same message first."""
    side.start()
    bad = (
        b'{"queue_name":"export","actor_name":"export","args":[],"kwargs":{},"options":null,"message_id":"1"}'
    )
    side.amqp.publish("", side.queue, bad)
    side.send("A", "B")
    side.promises_soon(lambda: set(side.ran) == {"A", "B"}, 1.5)


def test_05_the_end_of_a_message_never_acks_another_one(side: Side, broker_url: str) -> None:
    """After a reconnect stock acks with the old channel's tag, which on the new channel is somebody else's."""
    work = Blocker()
    side.start(work, prefetch=1)
    side.send("M1")
    work.await_begun("M1")

    side.proxy.cut()
    competitor = Amqp(broker_url)
    competitor.hold(side.queue)  # M1, which the broker gives to somebody else
    eventually(lambda: side.amqp.consumers(side.queue) == 1, what="reconnected")
    side.send("M2")
    eventually(lambda: side.handed_over() == 1, what="M2 waits for the thread that M1 holds")
    work.release("M1")
    work.await_begun("M2")  # M1's end has been handled by then: there is one thread
    side.send("M3")
    within(1, lambda: side.amqp.depth(side.queue) == 0)  # taken only where M2 counts as done already

    side.proxy.refuse()
    side.proxy.cut()  # the worker dies while it works on M2
    side.promises_soon(lambda: side.amqp.depth(side.queue) == 2, 2)
    work.release("M2")
    competitor.close()


def test_06_a_send_that_reached_no_queue_is_an_error(side: Side) -> None:
    """Stock publishes without confirms by default: a message into the void looks sent."""
    side.start()
    actor = next(iter(side.broker.actors.values()))
    message = actor.message("M")
    side.stop()
    if isinstance(side, Stock):
        side.amqp.channel.queue_delete(side.queue)
    try:
        side.broker.enqueue(message)
    except Exception:
        side.promises(True)
    else:
        side.promises(side.amqp.exists(side.queue))


def test_07_nothing_is_delayed_in_the_memory_of_workers(side: Side) -> None:
    """Stock keeps delayed messages unacked in worker memory, for up to days, through a second queue."""
    side.start()
    message = next(iter(side.broker.actors.values())).message("M")
    try:
        side.broker.enqueue(message, delay=60_000)
    except Exception:
        refused = True
    else:
        refused = False
    side.promises(refused and not side.amqp.exists(f"{side.queue}.DQ"))


def test_08_a_dead_letter_never_expires(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock deletes dead letters after seven days (here: 0.1 s)."""
    monkeypatch.setattr("dramatiq.brokers.rabbitmq.DEAD_MESSAGE_TTL", 100)
    side.start(_fail, middleware=[Retries(max_retries=0)] if isinstance(side, Stock) else [])
    side.send("M")
    dead = side.queues()[-1]
    eventually(lambda: side.amqp.depth(dead) == 1 or (isinstance(side, Stock) and side.ran))
    side.promises(not within(0.6, lambda: side.amqp.depth(dead) == 0))


def test_09_the_queue_counts_deliveries(side: Side) -> None:
    """Stock knows classic queues only, which count nothing and live on one node."""
    side.start()
    side.stop()
    side.send("M")
    side.amqp.requeue(side.queue)
    side.promises("x-delivery-count" in side.amqp.take(side.queue).headers)


def test_10_a_failed_message_is_kept_without_a_retry_middleware(side: Side) -> None:
    """Without `Retries`, stock acks what failed."""
    side.start(_fail)
    side.send("M")
    eventually(lambda: side.ran)
    side.stop()
    side.promises_soon(lambda: side.left() == 1)


def test_11_a_message_that_kills_its_worker_ends_as_a_letter(side: Side, broker_url: str) -> None:
    """A classic queue delivers it for ever."""
    side.start()
    side.stop()
    side.send("M")
    for _ in range(DELIVERY_LIMIT + 1):
        dying = Amqp(broker_url)
        dying.hold(side.queue)
        dying.close()
    dead = side.queues()[-1]
    side.promises_soon(lambda: side.amqp.depth(dead) == 1, 2)


def test_12_a_drain_gives_back_what_was_not_begun(side: Side) -> None:
    """Stock keeps prefetched messages until the last running one has ended, then lets them fall with the connection."""
    work = Blocker()
    side.start(work, prefetch=4)
    side.send("A", "B", "C", "D")
    work.await_begun("A")
    eventually(lambda: side.amqp.depth(side.queue) == 0, what="all prefetched")
    stopping = threading.Thread(target=side.stop)
    stopping.start()
    side.promises_soon(lambda: side.amqp.depth(side.queue) == 3, 1.5)
    work.release("A")
    stopping.join()


def test_14_a_thread_that_nothing_can_interrupt_is_noticed(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit cannot end a blocking call; stock logs that it did and shows nothing."""
    monkeypatch.setattr("workers.pool._GRACE", 0.0)
    work = Blocker()
    limit = TimeLimit(time_limit=100, interval=50)
    side.start(work, middleware=[limit] if isinstance(side, Stock) else [])
    if isinstance(side, Ours):
        side.broker.time_limit = 0.1
    side.send("M")
    work.await_begun("M")

    def noticed() -> bool:
        if isinstance(side, Ours):
            assert side.pool is not None
            return any("stuck" in fault and "id of M" in fault for fault in side.pool.faults)
        assert isinstance(side, Stock)
        assert side.worker is not None
        return not side.worker.workers[0].is_alive() or side.amqp.depth(side.queue) == 1

    side.promises_soon(noticed)
    work.release("M")


def test_15_a_message_is_known_by_the_id_it_was_published_with(side: Side) -> None:
    """Stock invents an id at every send and does not look at AMQP's."""
    side.start()
    side.send("M")
    eventually(lambda: side.ran)
    side.promises(side.ids == ["id of M"])


def test_16_no_traceback_travels_with_a_message(side: Side) -> None:
    """Stock writes the traceback, with whatever the exception says, into the message that it retries."""
    retries = [Retries(max_retries=3, min_backoff=60_000)] if isinstance(side, Stock) else []
    side.start(_fail, middleware=retries)
    side.send("M")
    eventually(lambda: side.ran)
    side.stop()
    (queue,) = [each for each in side.queues() if side.amqp.exists(each) and side.amqp.depth(each)]
    kept = side.amqp.take(queue)
    side.promises(b"secret of M" not in kept.body and "secret of M" not in str(kept.headers))


def test_17_a_stop_is_bounded(side: Side) -> None:
    """Stock waits ten minutes for a thread that hangs."""
    work = Blocker()
    side.start(work)
    side.send("M")
    work.await_begun("M")
    if isinstance(side, Ours):
        assert side.pool is not None
        stopping = threading.Thread(target=side.pool.drain, args=(2,))
    else:
        assert isinstance(side, Stock)
        assert side.worker is not None
        stopping = threading.Thread(target=side.worker.stop)
    stopping.start()
    stopping.join(10 if isinstance(side, Ours) else 2.5)
    side.promises(not stopping.is_alive())
    work.release("M")
    stopping.join()
