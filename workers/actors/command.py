"""What the actors of all command queues do: read the command, let the runner run it."""

from __future__ import annotations

from messages import BadMessage, commands
from workers.broker import Actor
from workers.delivery import Delivery, Reject
from workers.fleet import Fleet


def runs(fleet: Fleet) -> Actor:
    """An actor that runs the operation its message names."""

    def run(delivery: Delivery) -> None:
        try:
            command = commands.parse(delivery.body)
        except BadMessage as bad:
            raise Reject(bad.reason, str(bad)) from bad
        verdict = fleet.run(command.operation_id, command.attempt)
        if verdict.reject:
            raise Reject(verdict.code, verdict.reason)

    return run
