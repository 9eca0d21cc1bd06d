"""Queue `intake`: billing events are taken over into the ledger."""

from __future__ import annotations

from typing import Final

from messages import BadMessage
from messages.catalog import CATALOG
from workers.broker import FleetBroker
from workers.delivery import Delivery, Reject
from workers.fleet import Fleet
from workers.topology import QueueName

TYPES: Final = frozenset(entry.name for entry in CATALOG.values() if entry.room == "billing")


def serve(broker: FleetBroker, fleet: Fleet) -> None:
    """Take over what billing says."""

    def intake(delivery: Delivery) -> None:
        try:
            fleet.intake(delivery.body, delivery.headers)
        except BadMessage as bad:
            raise Reject(bad.reason, str(bad)) from bad

    broker.serve(QueueName.INTAKE, TYPES, intake)
