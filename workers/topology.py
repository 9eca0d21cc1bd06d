# mypy: untyped-calls-exclude=kombu
# (kombu ships annotations for half of its functions)
"""What must exist on the broker: exchanges, queues with their arguments, bindings.

Correctness lives in queue arguments, because nobody changes those by accident: declaring a queue that
exists with others answers 406 (https://www.rabbitmq.com/docs/queues#property-equivalence). Hence the
version in every name: new arguments are a new queue. The broker carries no truth, so any of this may vanish
and is declared again by whoever connects next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

import amqp
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

CONNECT_SECONDS: Final = 5.0
DELIVERY_LIMIT: Final = 20  # deliveries that ended in a crash or a requeue; the default of RabbitMQ 4
_MIB: Final = 1 << 20

BILLING: Final = Exchange("billing", "topic")
ACCOUNTING: Final = Exchange("accounting", "topic")
WORK: Final = Exchange("work", "direct")
DEAD: Final = Exchange("dead", "fanout")  # a letter keeps the routing key it died with, so keys do not matter
EXCHANGES: Final = (BILLING, ACCOUNTING, WORK, DEAD)


class QueueName(StrEnum):
    """Queues by the name their messages are addressed with; `versioned` is the name on the broker."""

    INTAKE = "intake"
    EXPORT = "export"
    PAYMENTS_OUT = "payments_out"
    INBOUND_POLL = "inbound_poll"
    INBOUND_APPLY = "inbound_apply"
    DRIFT_CHECK = "drift_check"
    TOKEN_REFRESH = "token_refresh"  # noqa: S105 - the name of a queue
    NOTIFY = "notify"
    DEAD = "dead"

    @property
    def versioned(self) -> str:
        """Name on the broker. A queue whose arguments change gets the next number."""
        return f"{self}.v1"


COMMAND_QUEUES: Final = tuple(name for name in QueueName if name not in {QueueName.INTAKE, QueueName.DEAD})
"""Queues that take commands from the exchange `work`; the routing key is the name without version."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One queue, where its messages come from, and how it must be declared."""

    queue: QueueName
    exchange: Exchange
    routing_key: str
    arguments: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the queue on the broker."""
        return self.queue.versioned


def bindings(version: tuple[int, ...]) -> tuple[Binding, ...]:
    """All queues for a server of this version; `dead` first, so that whatever dies has somewhere to go."""
    return (
        Binding(QueueName.DEAD, DEAD, "", _dead_arguments(version)),
        Binding(QueueName.INTAKE, BILLING, "#", _work_arguments(512 * _MIB)),
        *(Binding(name, WORK, str(name), _work_arguments(64 * _MIB)) for name in COMMAND_QUEUES),
    )


def _work_arguments(max_bytes: int) -> dict[str, Any]:
    # At-least-once dead-lettering exists on quorum queues only, and only together with reject-publish:
    # https://www.rabbitmq.com/docs/quorum-queues#dead-lettering
    return {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": DEAD.name,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-max-length-bytes": max_bytes,
        "x-delivery-limit": DELIVERY_LIMIT,
    }


def _dead_arguments(version: tuple[int, ...]) -> dict[str, Any]:
    # Nothing may end a letter: no TTL, no length. A quorum queue without a delivery limit has none before
    # 4.0, which also refuses -1; from 4.0 it has 20 unless told -1:
    # https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling
    return {"x-queue-type": "quorum"} | ({"x-delivery-limit": -1} if version >= (4, 0) else {})


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that exists on the broker with other properties than wanted."""

    subject: str  # "queue intake.v1"
    name: str  # argument or attribute, "x-overflow"
    wanted: str
    found: str

    @property
    def tolerable(self) -> bool:
        """Whether the fleet may work with it.

        On a server upgraded to 4.0 `dead.v1` exists and can no longer get its delivery limit as an
        argument. Only the collector takes from it, and a policy mends it while everything runs.
        """
        return self.subject == f"queue {QueueName.DEAD.versioned}" and self.name == "x-delivery-limit"

    def __str__(self) -> str:
        return f"{self.subject} has {self.name} {self.found}, wanted {self.wanted}"


class TopologyError(Exception):
    """Exchanges or queues exist with properties that break our promises; nobody may consume from them."""

    def __init__(self, differences: Sequence[Difference]) -> None:
        self.differences = tuple(differences)
        named = "; ".join(map(str, differences))
        super().__init__(f"the broker's topology differs: {named}. `algasync doctor` says how to mend it")


def connect(url: str) -> Connection:
    """An open connection for declaring; raises `kombu.exceptions.OperationalError` when nobody answers."""
    connection = Connection(url, connect_timeout=CONNECT_SECONDS)
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
    return connection


def server_version(connection: Connection) -> tuple[int, ...]:
    """Version of the server, such as `(3, 10, 8)`."""
    words = re.findall(r"\d+", str(connection.connection.server_properties.get("version", "")))
    return tuple(map(int, words[:3]))


def declare(url: str) -> None:
    """Make everything exist; what exists already stays as it is. Any process may call this at any time.

    Raises `TopologyError` when something exists with properties that break our promises (all else is
    declared by then), `kombu.exceptions.OperationalError` when the broker does not answer.
    """
    with connect(url) as connection:
        unsafe = [difference for difference in declare_on(connection) if not difference.tolerable]
    if unsafe:
        raise TopologyError(unsafe)


def declare_on(connection: Connection) -> list[Difference]:
    """Declare everything on an open connection and return what exists with other properties."""
    differences: list[Difference] = []
    for exchange in EXCHANGES:
        wanted = {"type": exchange.type}
        differences += _attempt(
            connection, f"exchange {exchange.name}", wanted, partial(_declare_exchange, exchange)
        )
    for binding in bindings(server_version(connection)):
        subject = f"queue {binding.name}"
        differences += _attempt(connection, subject, binding.arguments, partial(_declare_queue, binding))
        differences += _attempt(connection, subject, {}, partial(_bind, binding))
    return differences


def _declare_exchange(exchange: Exchange, channel: amqp.Channel, _: Mapping[str, Any]) -> None:
    exchange(channel).declare()


def _declare_queue(binding: Binding, channel: amqp.Channel, arguments: Mapping[str, Any]) -> None:
    Queue(binding.name, queue_arguments=dict(arguments))(channel).queue_declare()


def _bind(binding: Binding, channel: amqp.Channel, _: Mapping[str, Any]) -> None:
    Queue(binding.name, binding.exchange, binding.routing_key)(channel).queue_bind()


_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .*: received .* but current is "
    r"(?:none|the value '(?P<value>[^']*)' of type '\w+'|'(?P<attribute>[^']*)')"
)
_ATTRIBUTES: Final = {"durable": "true", "exclusive": "false", "auto_delete": "false"}


def _attempt(
    connection: Connection,
    subject: str,
    wanted: Mapping[str, Any],
    declaration: Callable[[amqp.Channel, Mapping[str, Any]], None],
) -> list[Difference]:
    """Declare, and find every difference: a refusal names only the first, so concede it and ask again."""
    differences: list[Difference] = []
    asked = dict(wanted)
    while True:
        channel = connection.channel()
        try:
            declaration(channel, asked)
        except amqp.ChannelError as refused:
            match = _INEQUIVALENT.search(str(refused))
            if match is None:
                return [*differences, Difference(subject, "its declaration", "accepted", str(refused))]
            name, found = match["name"], match["value"] or match["attribute"]
            should = wanted.get(name, _ATTRIBUTES.get(name, "none"))
            differences.append(Difference(subject, name, str(should), found or "none"))
            conceded = int(found) if found and found.lstrip("-").isdigit() else found
            if not name.startswith("x-") or asked.get(name) == conceded:
                return differences
            asked[name] = conceded
            if conceded is None:
                del asked[name]
        else:
            channel.close()
            return differences
