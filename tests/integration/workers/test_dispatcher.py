"""The dispatcher before a broker that refuses."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from deploy.local import RabbitmqNode
from outbox.publisher import BrokerUnavailable, Publisher
from services.cli.chaos import crowd
from services.database import Database
from services.database.leadership import lead
from tests.support.ledger import company, operation
from workers import topology
from workers.dispatcher import Dispatcher
from workers.topology import WORK


def test_a_full_queue_is_left_alone_for_a_while(ledger: Database, broker_node: RabbitmqNode) -> None:
    """What a full queue refuses stays due; the dispatcher rests instead of asking forty times a second."""
    topology.declare(broker_node.url)
    with ledger.transaction("*") as connection:
        company_id = company(connection)
        for _ in range(4):
            operation(connection, company_id)
    with (
        Publisher(broker_node.url, exchanges=[WORK]) as publisher,
        lead(ledger, "dispatcher", threading.Event()) as leadership,
    ):
        assert leadership is not None
        dispatcher = Dispatcher(ledger, publisher, 8, timedelta(seconds=-1))  # what was sent is due again
        with crowd.queues_full(broker_node, "export"):
            dispatcher.round(leadership)  # the queue says that it is full when it is
            with pytest.raises(BrokerUnavailable, match="full"):
                dispatcher.round(leadership)
        assert dispatcher.round(leadership) == 4
