"""Which actor gets a message, and what nobody may send."""

from __future__ import annotations

from uuid import uuid4

import dramatiq
import pytest

from messages import UnknownType, commands
from messages.catalog import CATALOG
from services.ledger.runner import Verdict
from workers import actors
from workers.broker import Broker, NotEnqueued
from workers.encoder import COMMAND
from workers.fleet import Fleet
from workers.gate import Gate
from workers.topology import QueueName


@pytest.fixture
def broker() -> Broker:
    """A broker that has never connected, with all actors."""
    made = Broker("amqp://127.0.0.1:1/", Gate(lambda: None), time_limit=60)
    done = Verdict(False, "succeeded", "")
    actors.serve(made, Fleet(lambda *_: None, lambda *_: done, lambda _: None, lambda: None, lambda _: None))
    return made


BILLING = [entry.name for entry in CATALOG.values() if entry.room == "billing"]


@pytest.mark.parametrize("name", BILLING)
def test_every_billing_event_goes_to_intake(broker: Broker, name: str) -> None:
    """What the contract promises to take is taken."""
    assert broker.route("intake.v1", b'{"type": "%s"}' % name.encode()) == "intake.v1"


def test_commands_go_to_the_actor_of_their_queue(broker: Broker) -> None:
    """One kind of message, one actor a queue."""
    body = commands.encode(commands.Command(operation_id=uuid4(), attempt=1))
    for queue in actors.QUEUES - {QueueName.INTAKE}:
        assert broker.route(queue.versioned, body) == queue.versioned


@pytest.mark.parametrize("queue", ["export.v1", "payments_out.v1", "nobody.v1", ""])
def test_an_unknown_pair_of_queue_and_type_is_refused_by_name(broker: Broker, queue: str) -> None:
    """An event among the commands, or a queue nobody serves."""
    with pytest.raises(UnknownType, match=r"com\.algapsa\.billing.* is not for"):
        broker.route(queue, b'{"type": "%s"}' % BILLING[0].encode())


def test_a_command_of_another_version_is_refused(broker: Broker) -> None:
    """A fleet of yesterday does not guess at commands of tomorrow."""
    with pytest.raises(UnknownType, match=r"command\.v2"):
        broker.route("export.v1", b'{"version": 2, "operation_id": "x"}')
    assert COMMAND == "command.v1"


@pytest.mark.parametrize("delay", [None, 1000])
def test_nothing_is_sent_through_dramatiq(broker: Broker, delay: int | None) -> None:
    """What is owed stands in the ledger; a message sent past it would be nobody's."""
    with pytest.raises(NotEnqueued, match="work is opened in the ledger"):
        broker.enqueue(dramatiq.Message("export.v1", "export.v1", (), {}, {}), delay=delay)
    with pytest.raises(NotEnqueued):
        broker.actors["export.v1"].send()


def test_publishing_on_dramatiqs_own_channel_would_be_confirmed(broker: Broker) -> None:
    """Stock leaves confirms off."""
    assert broker.confirm_delivery is True


def test_no_queue_for_delays_is_known(broker: Broker) -> None:
    """A worker consumes what has an actor and nothing else."""
    assert broker.get_declared_queues() == {queue.versioned for queue in actors.QUEUES}
    assert broker.get_declared_delay_queues() == set()
