"""Queue `notify`: destinations of webhooks and notices that are owed something."""

from __future__ import annotations

from messages import BadMessage, commands
from workers.broker import FleetBroker
from workers.delivery import Delivery, Reject
from workers.encoder import COMMAND
from workers.fleet import Fleet
from workers.topology import QueueName


def serve(broker: FleetBroker, fleet: Fleet) -> None:
    """Send somebody to the destination that the command names.

    The command is done when that is under way: what is owed stands in the database, and a destination whose worker
    died is due again when its lease has ended.
    """

    def notify(delivery: Delivery) -> None:
        try:
            command = commands.parse(delivery.body)
        except BadMessage as bad:
            raise Reject(bad.reason, str(bad)) from bad
        fleet.notify(command.operation_id)

    broker.serve(QueueName.NOTIFY, {COMMAND}, notify)
