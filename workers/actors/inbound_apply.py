"""Queue `inbound_apply`: payments, customers and refunds seen in QuickBooks are judged."""

from __future__ import annotations

from workers.actors.command import runs
from workers.broker import FleetBroker
from workers.encoder import COMMAND
from workers.fleet import Fleet
from workers.topology import QueueName


def serve(broker: FleetBroker, fleet: Fleet) -> None:
    """Run the operations of this queue."""
    broker.serve(QueueName.INBOUND_APPLY, {COMMAND}, runs(fleet))
