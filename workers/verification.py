# mypy: untyped-calls-exclude=kombu
# (kombu ships annotations for half of its functions)
"""Is the broker as it must be? What differs, why it matters, how to mend it: the broker's part of `doctor`.

Every declaration is repeated, which names differences and mends what is missing; a probe travels from every
queue through its death to `dead`; policies and bindings are read when the management API may be asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import amqp
import pika.exceptions
import requests
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from workers import probe, topology
from workers.management import Management, Policy
from workers.topology import Binding, Difference, QueueName


class Severity(StrEnum):
    """`error`: a promise is broken. `warning`: one may be. `mended`: one was, until this check mended it."""

    ERROR = "error"
    WARNING = "warning"
    MENDED = "mended"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, in words for an operator."""

    severity: Severity
    subject: str  # "queue export.v1"
    what: str
    why: str
    mend: str


def verify(url: str, management_url: str = "", *, seconds: float = 10.0) -> list[Finding]:
    """Check the broker at `url`, mend what is missing, return what there is to say; [] means healthy.

    `management_url` carries its credentials (`http://user:password@host:15672`); without it nothing is said
    about policies. A probe may take `seconds`. Nothing is raised: a broker that does not answer is a
    finding.
    """
    try:
        with topology.connect(url) as connection:
            return list(_examine(connection, url, management_url, seconds))
    except (OperationalError, amqp.AMQPError, pika.exceptions.AMQPError, OSError) as error:
        return [_unreachable(error)]


def _examine(connection: Connection, url: str, management_url: str, seconds: float) -> Iterator[Finding]:
    version = topology.server_version(connection)
    bindings = topology.bindings(version)
    if version < (3, 10):
        yield _too_old(version)
    depths = {binding.name: _depth(connection, binding) for binding in bindings}
    present = [binding for binding in bindings if depths[binding.name] is not None]
    lost = [exchange.name for exchange in topology.EXCHANGES if not _exists(connection, exchange.name)]
    yield from (_was_missing(f"exchange {name}") for name in lost)
    yield from (_was_missing(f"queue {binding.name}") for binding in bindings if binding not in present)
    if not lost:
        unbound = probe.unbound(url, present)
        if management_url:
            management = Management(management_url, connection.virtual_host)
            try:
                unbound += [each for each in management.unbound(present) if each not in unbound]
                yield from map(_policy, management.harmful_policies(present))
            except requests.RequestException as error:
                yield _management_unreachable(error)
        yield from map(_was_unbound, unbound)
    yield from map(_differs, topology.declare_on(connection))
    for binding in probe.undelivered(url, bindings, seconds):
        yield _undelivered(binding, depths[binding.name] or Depth(0, 0), seconds)
    letters = depths[QueueName.DEAD.versioned]
    if letters and letters.messages and not letters.consumers:
        yield _uncollected(letters.messages)


class Depth(NamedTuple):
    """How many messages wait in a queue, and how many consumers it has."""

    messages: int
    consumers: int


def _depth(connection: Connection, binding: Binding) -> Depth | None:
    channel = connection.channel()
    try:
        found = channel.queue_declare(binding.name, passive=True)
    except amqp.NotFound:
        return None
    channel.close()
    return Depth(found.message_count, found.consumer_count)


def _exists(connection: Connection, exchange: str) -> bool:
    channel = connection.channel()
    try:
        channel.exchange_declare(exchange, "", passive=True)
    except amqp.NotFound:
        return False
    channel.close()
    return True


# --- in words ---------------------------------------------------------------------------------------------

_WHY: Final = {
    "x-queue-type": "only a quorum queue survives a lost node, counts deliveries and keeps its dead letters",
    "x-dead-letter-exchange": "a rejected message would vanish instead of becoming a dead letter",
    "x-dead-letter-strategy": "a dead letter can be lost between its queue and dead.v1",
    "x-overflow": "a full queue would drop its oldest message instead of refusing the newest",
    "x-max-length-bytes": "with another bound the disk fills up, or publishers are refused too early",
    "x-delivery-limit": "a message that kills its worker must end as a letter, and a letter must never end",
    "x-message-ttl": "messages would expire while they wait",
    "x-expires": "the queue would be deleted with its messages when nobody uses it",
    "x-max-length": "messages would be dropped or refused long before the disk is full",
    "type": "messages would not be routed as they must",
    "durable": "it would be gone after a restart of the broker",
}
_ELSE: Final = "our promises hold for the declaration above and were never tried with another"


def _unreachable(error: Exception) -> Finding:
    return Finding(
        Severity.ERROR,
        "broker",
        f"RabbitMQ does not answer, or refuses us: {error}",
        "nothing is lost, outbox and ledger keep it all, but no work moves",
        "start RabbitMQ or correct BROKER_URL; its user needs to configure, write and read in its vhost",
    )


def _too_old(version: tuple[int, ...]) -> Finding:
    return Finding(
        Severity.ERROR,
        "broker",
        f"RabbitMQ is {'.'.join(map(str, version))}",
        "quorum queues keep dead letters safe from 3.10 on; before, a letter can be lost on its way",
        "upgrade to RabbitMQ 3.10 or later",
    )


def _was_missing(subject: str) -> Finding:
    return Finding(
        Severity.MENDED,
        subject,
        "was missing and has been declared",
        "messages for it had nowhere to go",
        "nothing to do: outbox and ledger send again what was not taken",
    )


def _was_unbound(binding: Binding) -> Finding:
    return Finding(
        Severity.MENDED,
        f"queue {binding.name}",
        f"was not bound to {binding.exchange.name} with key {binding.routing_key!r} and has been bound",
        "messages for it had nowhere to go",
        "nothing to do: outbox and ledger send again what was not taken",
    )


def _differs(difference: Difference) -> Finding:
    kind, name = difference.subject.split(" ", 1)
    if difference.tolerable:
        mend = (
            'while everything runs: rabbitmqctl set_policy dead-letters "^dead\\." '
            "'{\"delivery-limit\": -1}' --apply-to quorum_queues"
        )
    elif kind == "exchange":
        mend = f"stop the fleet, delete it (rabbitmqadmin delete exchange name={name}), start the fleet"
    elif name == QueueName.DEAD.versioned:
        mend = (
            f"let the collector empty it, stop the fleet, rabbitmqctl delete_queue {name} --if-empty, "
            "start the fleet"
        )
    else:
        mend = (
            f"stop the fleet, rabbitmqctl delete_queue {name}, start the fleet: it is declared anew, and "
            "outbox and ledger send again what it held"
        )
    why = _WHY.get(difference.name, _ELSE)
    what = f"has {difference.name} {difference.found}, wanted {difference.wanted}"
    return Finding(
        Severity.WARNING if difference.tolerable else Severity.ERROR, difference.subject, what, why, mend
    )


def _undelivered(binding: Binding, depth: Depth, seconds: float) -> Finding:
    what = f"a probe that died in it did not come out at the exchange dead within {seconds:g} s"
    if depth.messages:
        return Finding(
            Severity.WARNING,
            f"queue {binding.name}",
            f"{what}; {depth.messages} messages wait before it and {depth.consumers} consumers take them",
            "nothing is known about its dead letters until the probe has had its turn",
            "start workers for it if there are none, and run doctor again when it is empty",
        )
    return Finding(
        Severity.ERROR,
        f"queue {binding.name}",
        what,
        "its dead letters are lost or stuck",
        "mend the other findings first; then look for policies on it (rabbitmqctl list_policies), and for "
        "rabbit_fifo_dlx in the broker's log: before 4.0 a message whose publisher wrote a broken x-death header stops "
        "all dead-lettering of its node, until the queue that holds it is deleted and the node restarted",
    )


def _uncollected(messages: int) -> Finding:
    return Finding(
        Severity.WARNING,
        f"queue {QueueName.DEAD.versioned}",
        f"holds {messages} messages and nobody collects them",
        "what they are about is not on the exception list yet",
        "start the collector: algasync collector",
    )


def _policy(policy: Policy) -> Finding:
    return Finding(
        Severity.ERROR,
        f"queue {policy.queue}",
        f"is under policy {policy.name}, which sets {policy.key} to {policy.value}",
        _WHY.get(f"x-{policy.key}", _ELSE),
        f"narrow the policy's pattern, or clear it: rabbitmqctl clear_policy {policy.name}",
    )


def _management_unreachable(error: requests.RequestException) -> Finding:
    return Finding(
        Severity.WARNING,
        "management API",
        f"BROKER_MANAGEMENT_URL does not answer: {type(error).__name__}",
        "policies can shorten the life of messages, and nothing is known about them",
        "correct BROKER_MANAGEMENT_URL (with user and password) or unset it",
    )
