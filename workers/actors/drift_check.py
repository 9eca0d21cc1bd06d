"""Queue `drift_check`: documents of ours seen in QuickBooks are compared with what both books had."""

from __future__ import annotations

from workers.actors.command import runs
from workers.broker import FleetBroker
from workers.encoder import COMMAND
from workers.fleet import Fleet
from workers.topology import QueueName


def serve(broker: FleetBroker, fleet: Fleet) -> None:
    """Run the operations of this queue."""
    broker.serve(QueueName.DRIFT_CHECK, {COMMAND}, runs(fleet))
