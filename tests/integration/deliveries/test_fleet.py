"""From an accounting event to a receiver through the whole fleet's path: dispatcher, broker, queue `notify`, worker."""

from __future__ import annotations

import threading
from datetime import timedelta

from outbox.publisher import Publisher
from services.database.leadership import lead
from services.psa import gauges
from tests.integration.deliveries.conftest import TENANT, Desk
from tests.integration.workers.harness import Amqp
from tests.integration.workers.running import DONE, Running
from tests.support import eventually
from tests.support.receiver import Receiver
from tests.support.telling import tell
from workers import actors
from workers.dispatcher import Dispatcher
from workers.fleet import Fleet
from workers.gate import Gate
from workers.inprocess import InProcessBroker
from workers.pool import Pool
from workers.topology import WORK, QueueName


def working(desk: Desk) -> Fleet:
    """A fleet whose workers send for this desk."""
    return Fleet(
        intake=lambda *_: None,
        run=lambda *_: DONE,
        file_letter=lambda _: None,
        ask_database=lambda: None,
        notify=desk.notifier.wake,
    )


def test_the_fleet_delivers(desk: Desk, endpoint: Receiver, broker_url: str, amqp: Amqp) -> None:
    """The dispatcher sends somebody to each destination that is owed something, and to no other; once at a time."""
    desk.webhook(endpoint.url)
    with (
        Publisher(broker_url, exchanges=[WORK]) as publisher,
        lead(desk.fleet, "dispatcher", threading.Event()) as leadership,
        Running(broker_url, working(desk), queues=(QueueName.NOTIFY,)),
    ):
        assert leadership is not None
        dispatcher = Dispatcher(desk.fleet, publisher, 8, timedelta(seconds=60))
        assert dispatcher.wake_lanes(leadership) == 0
        events = tell(desk.fleet, TENANT, *(["inv-1"] * 10), "inv-2")
        assert dispatcher.wake_lanes(leadership) == 1
        endpoint.wait(11)
        assert endpoint.ids() == events
        eventually(lambda: desk.due() == [])
        assert dispatcher.wake_lanes(leadership) == 0
    assert amqp.depth("notify.v1") == amqp.depth("dead.v1") == 0


def test_the_fleet_delivers_without_rabbitmq(desk: Desk, endpoint: Receiver) -> None:
    """The broker inside the process carries the same commands."""
    desk.webhook(endpoint.url)
    broker = InProcessBroker(Gate(lambda: None), time_limit=60)
    actors.serve(broker, working(desk), (QueueName.NOTIFY,))
    pool = Pool(broker, threads=2)
    pool.start()
    with lead(desk.fleet, "dispatcher", threading.Event()) as leadership:
        assert leadership is not None
        events = tell(desk.fleet, TENANT, "inv-1", "inv-2")
        Dispatcher(desk.fleet, broker.publisher(), 8, timedelta(seconds=60)).wake_lanes(leadership)
        endpoint.wait(2)
    assert sorted(endpoint.ids()) == sorted(events)
    assert pool.drain(5)


def test_a_command_that_is_lost_is_sent_again(
    desk: Desk, endpoint: Receiver, broker_url: str, amqp: Amqp
) -> None:
    """The broker may forget everything: a destination that nobody came to is due again after a minute."""
    desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    with (
        Publisher(broker_url, exchanges=[WORK]) as publisher,
        lead(desk.fleet, "dispatcher", threading.Event()) as leadership,
    ):
        assert leadership is not None
        dispatcher = Dispatcher(desk.fleet, publisher, 8, timedelta(seconds=60))
        assert dispatcher.wake_lanes(leadership) == 1
        assert dispatcher.wake_lanes(leadership) == 0
        desk.pass_time(timedelta(minutes=2))
        assert dispatcher.wake_lanes(leadership) == 1
    assert amqp.depth("notify.v1") == 2


def test_figures_of_what_waits_fails_and_ages(desk: Desk, endpoint: Receiver) -> None:
    """Pending with its age, given up, failing: each by kind, and back to zero when it is over."""

    def figures() -> dict[str, float]:
        with desk.fleet.transaction("*") as connection:
            found = gauges.families(gauges.look(connection))
            return {
                "/".join([one.name.removeprefix("algasync_"), *one.labels.values()]): one.value
                for family in found
                for one in family.samples
            }

    desk.webhook(endpoint.url)
    endpoint.answer = lambda _: 500
    tell(desk.fleet, TENANT, "inv-1", "inv-2")
    desk.work()
    desk.pass_time(timedelta(hours=1))
    found = figures()
    assert found["deliveries_pending/webhook"] == 2
    assert found["deliveries_oldest_seconds/webhook"] >= 3600
    assert found["destinations_failing/webhook"] == found["destinations/webhook/active"] == 1
    assert found["deliveries_pending/mail"] == found["destinations/webhook/disabled"] == 0
    endpoint.answer = lambda _: 200
    desk.work()
    found = figures()
    assert found["deliveries_pending/webhook"] == found["deliveries_oldest_seconds/webhook"] == 0
    assert found["destinations_failing/webhook"] == 0
