"""Whatever arrives, nothing stops a queue or a thread, and everything refused can be named afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

import messages
from messages import commands
from services.exceptions import poison
from tests.integration.workers.harness import Amqp
from tests.integration.workers.running import Running, fleet
from tests.support import eventually
from workers.headers import Headers
from workers.topology import QueueName

SAMPLE = Path(messages.__file__).parent / "samples" / "com.algapsa.billing.invoice.finalized.v1.json"
COMMAND = commands.encode(commands.Command(operation_id=uuid4(), attempt=1))


def _event(**changes: object) -> bytes:
    return json.dumps(json.loads(SAMPLE.read_text()) | changes).encode()


HOSTILE = {
    "not UTF-8": (b"\xff\xfe\x00{", "bad_json"),
    "not JSON": (b'{"type": ', "bad_json"),
    "empty": (b"", "bad_json"),
    "a number": (b"42", "unknown_type"),
    "NaN": (b'{"type": NaN}', "bad_json"),
    "the same name twice": (b'{"type": "a", "type": "b"}', "bad_json"),
    "a NUL character": (b'{"type": "\\u0000"}', "bad_json"),
    "half a character": (b'{"type": "\\ud800"}', "bad_json"),
    "2 MB": (b'{"type": "' + b"a" * 2_000_000 + b'"}', "too_large"),
    "100,000 levels deep": (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
    "an integer of 10,000 digits": (b'{"type": ' + b"9" * 10_000 + b"}", "bad_json"),
    "a Dramatiq envelope": (
        b'{"queue_name":"intake.v1","actor_name":"intake.v1","args":[],"kwargs":{},"options":null}',
        "unknown_type",
    ),
    "an actor that is a list": (b'{"actor_name": ["intake.v1"], "queue_name": {"a": 1}}', "unknown_type"),
    "a type that is a list": (b'{"type": ["com.algapsa.billing.invoice.finalized.v1"]}', "unknown_type"),
    "a type nobody knows": (_event(type="com.algapsa.billing.invoice.eaten.v1"), "unknown_type"),
    "a version nobody knows": (_event(type="com.algapsa.billing.invoice.finalized.v9"), "unknown_type"),
    "an event for others": (_event(type="com.algapsa.accounting.document.synced.v1"), "unknown_type"),
    "a command": (COMMAND, "unknown_type"),
}


def test_hostile_messages_become_letters_and_healthy_ones_go_on(broker_url: str, amqp: Amqp) -> None:
    """Each bad body ends in `dead.v1` byte for byte; the events between them are all taken over."""
    taken: list[bytes] = []

    def intake(body: bytes, headers: Headers) -> None:
        taken.append(body)

    healthy = [_event(id=str(uuid4())) for _ in HOSTILE]
    with Running(broker_url, fleet(intake=intake)) as running:
        for (body, _), good in zip(HOSTILE.values(), healthy, strict=True):
            amqp.publish("billing", "any.v1", body)
            amqp.publish("billing", "any.v1", good)
        eventually(lambda: len(taken) == len(healthy), what="the healthy events")
        eventually(lambda: amqp.depth("dead.v1") == len(HOSTILE), what="the letters")
        assert running.pool.obstacles == []

    assert sorted(taken) == sorted(healthy)
    letters = [amqp.take("dead.v1") for _ in HOSTILE]
    assert sorted(letter.body for letter in letters) == sorted(body for body, _ in HOSTILE.values())
    for letter in letters:
        assert letter.headers["x-first-death-reason"] == "rejected"
        assert letter.headers["x-first-death-queue"] == "intake.v1"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_refused_body_can_be_named_again(name: str) -> None:
    """A rejection carries no reason, so whoever files the letter finds it in the body: never just "rejected"."""
    body, _ = HOSTILE[name]
    code, sentence = poison.explain("intake", "rejected", body)
    assert code != "rejected"
    assert sentence


@pytest.mark.parametrize("queue", [QueueName.EXPORT, QueueName.INTAKE])
def test_a_message_of_another_queue_is_refused(broker_url: str, amqp: Amqp, queue: QueueName) -> None:
    """An event is no command and a command is no event, whoever sent them where."""
    body = _event() if queue is QueueName.EXPORT else COMMAND
    with Running(broker_url, fleet()):
        amqp.publish("", queue.versioned, body)
        letter = amqp.take("dead.v1")
    assert (letter.body, letter.headers["x-first-death-queue"]) == (body, queue.versioned)


def test_odd_headers_do_no_harm(broker_url: str, amqp: Amqp) -> None:
    """Headers are data: whatever they hold, the event is taken over."""
    seen: list[Headers] = []

    def intake(body: bytes, headers: Headers) -> None:
        seen.append(headers)

    odd = {"x-delivery-count": "many", "x-first-death-queue": 5, "nested": {"a": [1, {"b": None}]}}
    with Running(broker_url, fleet(intake=intake)):
        amqp.publish("billing", "any.v1", _event(), headers=odd)
        eventually(lambda: seen)
    assert seen[0]["nested"] == {"a": [1, {"b": None}]}


OWN_DEATH = {
    "queue": "intake.v1",
    "reason": "rejected",
    "count": "many",
    "exchange": "billing",
    "routing-keys": ["a"],
}


@pytest.mark.parametrize("deaths", [[1], ["a"], [OWN_DEATH], "yesterday", {"queue": "intake.v1"}])
def test_a_forged_death_does_not_stop_dead_lettering(broker_url: str, amqp: Amqp, deaths: object) -> None:
    """RabbitMQ before 4.0 trusts a publisher's `x-death`: rejecting such a message would end all dead-lettering."""
    with Running(broker_url, fleet()):
        amqp.publish("billing", "any.v1", b"not an event", headers={"x-death": deaths})
        forged = amqp.take("dead.v1")
        amqp.publish("billing", "any.v1", b"not an event either")
        assert amqp.take("dead.v1").body == b"not an event either"
    assert forged.body == b"not an event"
    assert forged.headers["x-algasync-queue"] == "intake.v1"
    assert forged.headers["x-algasync-code"] == "bad_headers"
    assert "x-death" not in forged.headers


def test_headers_that_python_cannot_hold_do_not_cut_connections(
    broker_url: str, amqp: Amqp, deadly_headers: Callable[[], dict[str, object]]
) -> None:
    """pika decodes headers inside the connection: such a message would end it at every delivery, for ever."""
    taken: list[bytes] = []
    with Running(broker_url, fleet(intake=lambda body, headers: taken.append(body))):
        amqp.publish("billing", "any.v1", _event(), headers=deadly_headers())
        letter = amqp.take("dead.v1")
        amqp.publish("billing", "any.v1", _event())
        eventually(lambda: taken)
    assert letter.body == _event()
    assert letter.headers["x-algasync-code"] == "bad_headers"


def test_one_event_in_two_queues_is_handled_in_each(broker_url: str, amqp: Amqp) -> None:
    """The queue a message came from decides, not what it says: each copy is run and acked where it was taken."""
    taken: list[bytes] = []

    def intake(body: bytes, headers: Headers) -> None:
        taken.append(body)

    running = Running(broker_url, fleet(intake=intake))
    second: list[bytes] = []
    running.broker.serve(
        QueueName.NOTIFY,
        {"com.algapsa.billing.invoice.finalized.v1"},
        lambda delivery: second.append(delivery.body),
    )
    amqp.channel.queue_bind("notify.v1", "billing", "#")
    with running:
        amqp.publish("billing", "invoice.finalized.v1", _event())
        eventually(lambda: taken and second)
    assert taken == second == [_event()]
    assert {amqp.depth(queue) for queue in ("intake.v1", "notify.v1", "dead.v1")} == {0}
