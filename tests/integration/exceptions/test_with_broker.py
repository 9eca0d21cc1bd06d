"""The operators' commands beside a running broker."""

from __future__ import annotations

from collections.abc import Iterator

import pika
import pytest

from tests.support.deadline import eventually
from tests.support.desk import Called
from workers import topology


@pytest.fixture
def dead(broker_url: str) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
    """A channel to a broker that has every queue, `dead` empty."""
    topology.declare(broker_url)
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    channel.queue_purge(topology.QueueName.DEAD.versioned)
    yield channel
    connection.close()


def test_letters_still_in_the_broker_are_counted(
    desk: Called, broker_url: str, dead: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    """The list is of what the collector has filed; what still waits in the broker is said, not hidden."""
    assert desk.json("dead-letters", "list", BROKER_URL=broker_url)["not_seen"] is None
    dead.basic_publish(topology.DEAD.name, "export.v1", b"not json")

    sentence = "Not in this list: 1 in the broker that wait for the collector."

    def told() -> bool:
        listed = desk.json("dead-letters", "list", BROKER_URL=broker_url)
        return str(listed["not_seen"]) == sentence

    eventually(told, 10, what="the waiting letter is told")
    assert sentence in desk("dead-letters", "list", BROKER_URL=broker_url)


def test_doctor_checks_both_servers(
    desk: Called, broker_url: str, dead: pika.adapters.blocking_connection.BlockingChannel
) -> None:
    """With both servers as they must be nothing is left to do, and what was not looked at is said."""
    report = desk.json("doctor", BROKER_URL=broker_url)
    assert (report["healthy"], report["findings"]) == (True, [])
    assert ["policies" in one for one in report["not_checked"]] == [True]


def test_doctor_says_what_it_cannot_see_when_the_broker_is_down(desk: Called) -> None:
    """The database is checked all the same; the exit code says that something was out of reach."""
    report = desk.json("doctor", exit_code=3, BROKER_URL="amqp://nobody:nothing@127.0.0.1:9/")
    assert [finding["subject"] for finding in report["findings"]] == ["broker"]
    assert "queues" in report["not_checked"][0]
