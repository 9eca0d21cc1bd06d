"""The shared fixtures keep what they promise."""

from __future__ import annotations

import pika
import psycopg
import pytest


def _connection(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_gets_an_empty_database(database_url: str, turn: int) -> None:
    """What one test leaves in its database, no other test sees."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE left_by_a_test (turn int)")
        assert connection.execute("SELECT count(*) FROM left_by_a_test").fetchone() == (0,)


def test_broker_is_a_real_one(broker_url: str) -> None:
    """A module's virtual host takes messages on a quorum queue."""
    with _connection(broker_url) as connection:
        channel = connection.channel()
        channel.queue_declare("letters", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", "letters", b"one", mandatory=True)
        _, _, body = channel.basic_get("letters", auto_ack=True)
        assert body == b"one"
