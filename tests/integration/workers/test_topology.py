"""Declaring the topology on a real broker."""

from __future__ import annotations

from collections.abc import Iterator

import pika.exceptions
import pytest
from kombu.exceptions import OperationalError

from deploy.local import RabbitmqNode
from services.cli.chaos.proxy import Proxy
from tests.integration.workers.harness import Amqp
from workers import rabbitmq, topology
from workers.broker import Broker
from workers.delivery import SessionLost
from workers.gate import Gate
from workers.topology import COMMAND_QUEUES, TopologyError


@pytest.fixture
def amqp(broker_url: str) -> Iterator[Amqp]:
    """A channel to a vhost without any of our queues."""
    channel = Amqp(broker_url)
    channel.wipe()
    yield channel
    channel.close()


def test_declaring_twice_changes_nothing(broker_url: str, amqp: Amqp) -> None:
    """Every process may declare at every start."""
    topology.declare(broker_url)
    amqp.publish("work", "export", b"{}")
    topology.declare(broker_url)
    assert amqp.depth("export.v1") == 1


def test_messages_reach_their_queues(broker_url: str, amqp: Amqp) -> None:
    """Billing events reach intake whatever their type; a command reaches the queue it names."""
    topology.declare(broker_url)
    amqp.publish("billing", "invoice.finalized.v1", b"{}")
    for queue in COMMAND_QUEUES:
        amqp.publish("work", str(queue), b"{}")
    assert amqp.depth("intake.v1") == 1
    assert {amqp.depth(queue.versioned) for queue in COMMAND_QUEUES} == {1}


def test_a_rejected_message_reaches_dead(broker_url: str, amqp: Amqp) -> None:
    """The way of every dead letter."""
    topology.declare(broker_url)
    amqp.publish("work", "export", b"body")
    amqp.reject("export.v1")
    assert amqp.take("dead.v1").body == b"body"


def test_what_was_deleted_is_declared_again(broker_url: str, amqp: Amqp) -> None:
    """A wiped broker is whole again after one call."""
    topology.declare(broker_url)
    amqp.wipe()
    topology.declare(broker_url)
    amqp.publish("work", "export", b"{}")
    assert amqp.depth("export.v1") == 1


def test_every_difference_is_named(broker_url: str, amqp: Amqp) -> None:
    """RabbitMQ's 406 names one argument; an operator needs all of them at once, and the rest declared."""
    amqp.declare_queue("export.v1", {"x-message-ttl": 1000, "x-delivery-limit": 7, "x-queue-type": "quorum"})
    amqp.declare_queue("notify.v1", {}, durable=False)
    amqp.declare_exchange("billing", "direct")

    with pytest.raises(TopologyError) as refused:
        topology.declare(broker_url)

    found = {(d.subject, d.name, d.found, d.wanted) for d in refused.value.differences}
    assert {
        ("exchange billing", "type", "direct", "topic"),
        ("queue export.v1", "x-message-ttl", "1000", "none"),
        ("queue export.v1", "x-delivery-limit", "7", "20"),
        ("queue export.v1", "x-dead-letter-exchange", "none", "dead"),
        ("queue export.v1", "x-dead-letter-strategy", "none", "at-least-once"),
        ("queue export.v1", "x-overflow", "none", "reject-publish"),
        ("queue export.v1", "x-max-length-bytes", "none", "67108864"),
        ("queue notify.v1", "durable", "false", "true"),
    } == found
    assert amqp.exists("drift_check.v1")


def test_dead_with_a_delivery_limit_does_not_stop_the_fleet(broker_url: str, amqp: Amqp) -> None:
    """A server upgraded to 4.0 holds such a queue; doctor names it, work goes on."""
    amqp.declare_queue("dead.v1", {"x-queue-type": "quorum", "x-delivery-limit": 50})
    topology.declare(broker_url)
    with topology.connect(broker_url) as connection:
        assert [d.name for d in topology.declare_on(connection)] == ["x-delivery-limit"]


def test_a_broker_that_does_not_answer_is_said_so_at_once() -> None:
    """No endless retry hides that the address is wrong."""
    with pytest.raises(OperationalError):
        topology.declare("amqp://127.0.0.1:1/")


def test_a_broker_that_takes_no_more_connections_is_waited_for(broker_node: RabbitmqNode) -> None:
    """Whoever consumes comes back when its limit of connections is lifted; it does not end because of it."""
    broker = Broker(broker_node.url, Gate(lambda: None), time_limit=60, rest=0)
    broker_node.control("set_vhost_limits", '{"max-connections": 0}')
    try:
        with pytest.raises(SessionLost, match="connection limit"):
            broker.enter("dead.v1", 1)
    finally:
        broker_node.control("clear_vhost_limits")
    broker.enter("dead.v1", 1).close()


def test_a_broker_that_stalls_in_its_greeting_is_waited_for(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that passes nothing on is a broker that does not answer, not an error that nobody expects."""
    monkeypatch.setattr(rabbitmq, "CONNECT_SECONDS", 0.3)
    with Proxy(broker_url) as way:
        way.stall(answers=True)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            rabbitmq.connect(way.url, "test")
