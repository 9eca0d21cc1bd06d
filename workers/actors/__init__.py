"""Actors, one module a queue. They translate between messages and the rooms that do the work, and decide nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from workers.actors import drift_check, export, inbound_apply, inbound_poll, intake, notify, payments_out
from workers.broker import FleetBroker
from workers.fleet import Fleet
from workers.topology import QueueName

_ACTORS: Final[Mapping[QueueName, Callable[[FleetBroker, Fleet], None]]] = {
    QueueName.INTAKE: intake.serve,
    QueueName.EXPORT: export.serve,
    QueueName.PAYMENTS_OUT: payments_out.serve,
    QueueName.INBOUND_POLL: inbound_poll.serve,
    QueueName.INBOUND_APPLY: inbound_apply.serve,
    QueueName.DRIFT_CHECK: drift_check.serve,
    QueueName.NOTIFY: notify.serve,
}
QUEUES: Final = frozenset(_ACTORS)
"""Queues that have an actor; the others are declared, and get theirs with their capability."""


def serve(broker: FleetBroker, fleet: Fleet, queues: Collection[QueueName] = QUEUES) -> None:
    """Let the actors of these queues take from them; raises `KeyError` for a queue without an actor."""
    for queue in queues:
        _ACTORS[queue](broker, fleet)
