"""The shared fixtures keep what they promise."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pika
import psycopg
import pytest

from tests.support import brokers, databases, eventually


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


def test_a_missing_docker_engine_is_noticed_at_once() -> None:
    """Where only the Docker client is installed, the tests go on to a private node within two seconds."""
    began = time.monotonic()
    brokers.docker_answers()
    assert time.monotonic() - began < 3


def test_a_given_broker_that_is_down_is_a_failure_with_advice(free_port: Callable[[], int]) -> None:
    """A wrong BROKER_URL fails the tests, never skips them, and the sentence says what to set."""
    with pytest.raises(pytest.fail.Exception, match=r"BROKER_URL does not answer .* set it to a RabbitMQ"):
        brokers.GivenBroker(f"amqp://nobody:wrong@127.0.0.1:{free_port()}/")


def test_a_given_broker_without_virtual_hosts_is_a_failure_with_advice(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A broker that lets nobody make virtual hosts cannot keep modules apart; the sentence says what to set."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BROKER_MANAGEMENT_URL", "http://127.0.0.1:1")
    given = brokers.GivenBroker(broker_url)
    with pytest.raises(pytest.fail.Exception, match=r"set BROKER_MANAGEMENT_URL=.* or unset BROKER_URL"):
        given.add_vhosts(["a-module"])


@pytest.mark.parametrize("url", ["postgresql://nobody:wrong@127.0.0.1:1/none", "mysql://127.0.0.1/none"])
def test_a_given_database_that_is_down_is_a_failure_with_advice(url: str) -> None:
    """A wrong DATABASE_URL fails the tests, never skips them, and the sentence says what to set."""
    with pytest.raises(
        pytest.fail.Exception, match=r"(?s)DATABASE_URL does not answer .* set DATABASE_URL to"
    ):
        databases.check(url)


def test_eventually_returns_the_first_true_answer() -> None:
    """The deadline helper asks again after a false answer and after a failed assertion."""
    answers = iter([0, -1, 7])

    def ask() -> int:
        answer = next(answers)
        assert answer >= 0
        return answer

    assert eventually(ask) == 7


def test_eventually_says_what_it_waited_for() -> None:
    """A deadline that passes names what was awaited and what was seen last."""
    with pytest.raises(AssertionError, match=r"three orders: not within 0.01 s; last answer: \[\]"):
        eventually(list, 0.01, what="three orders")
