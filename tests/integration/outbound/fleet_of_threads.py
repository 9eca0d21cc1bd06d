"""The fleet in threads of a test's process, over real servers: relay, intake, dispatcher, workers and collector.

Every one of them is what its own process runs, and reaches RabbitMQ through a network that can be cut.
"""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from messages.catalog import PREFIX
from messages.commands import Command, encode
from outbox.lane import Settings
from outbox.publisher import Publisher
from outbox.relay import Relay
from outbox.republication import Schedule
from services.cli.chaos.proxy import Proxy
from services.database import Database
from services.exceptions import letters
from services.exceptions.desk import ExceptionDesk
from services.exceptions.letters import Letter
from services.ledger import sweep
from services.ledger.intake import Intake
from services.ledger.operations import Operation
from services.ledger.runner import Runner
from services.outbound.effects import Effects
from services.outbound.handlers import HANDLERS
from services.quickbooks.call import Call
from services.quickbooks.ports import Kind
from services.quickbooks.reply import Reply
from tests.integration.workers.harness import Amqp
from tests.support import eventually
from tests.support.exporting import Straight, Workbench
from workers import actors, collector, topology
from workers.broker import Broker
from workers.dispatcher import Dispatcher
from workers.encoder import COMMAND
from workers.fleet import Fleet
from workers.gate import Gate
from workers.pool import Pool
from workers.topology import BILLING, WORK, QueueName

QUEUES: Final = (QueueName.INTAKE, QueueName.EXPORT, QueueName.PAYMENTS_OUT)
SOON: Final = 1.0  # seconds until what a broker has lost is sent again
WITHIN: Final = 90.0  # seconds in which a busy machine gets everything done
THREADS: Final = 4

_UNTAKEN = text(
    """SELECT count(*) FROM outbox_event o
        WHERE o.exchange = 'billing' AND NOT EXISTS (SELECT FROM event_outcome e WHERE e.event_id = o.event_id)"""
)
_PAST_BACKOFF = text("UPDATE operation SET due_at = clock_timestamp() WHERE state = 'scheduled'")
_UNFINISHED = text("SELECT count(*) FROM operation WHERE state IN ('queued', 'running', 'scheduled')")


class Companies:
    """`Clients` of several companies, each with its own."""

    def __init__(self) -> None:
        self.of: dict[UUID, Straight] = {}

    def reserve(self, connection: Connection, company_id: UUID, kind: Kind = "call") -> float:
        """Seconds until its slot."""
        return self.of[company_id].reserve(connection, company_id, kind)

    def execute(self, company_id: UUID, call: Call) -> Reply:
        """Make a call."""
        return self.of[company_id].execute(company_id, call)

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make a read."""
        return self.of[company_id].look(company_id, call)

    def pause(self, company_id: UUID, seconds: float, reason: str) -> None:
        """It asks for a rest."""
        self.of[company_id].pause(company_id, seconds, reason)

    def expired(self, connection: Connection, company_id: UUID, reason: str) -> None:
        """It needs a reconnect."""
        self.of[company_id].expired(connection, company_id, reason)


class FleetOfThreads:
    """Works while it is open; `cut`, `purge` and the rest are what a broker does to it."""

    def __init__(self, database_url: str, broker_url: str, database: Database) -> None:
        self.proxy = Proxy(broker_url)
        self.clients = Companies()
        self._database = database
        self._amqp = Amqp(broker_url)
        self._stop = threading.Event()
        desk = ExceptionDesk()
        intake = Intake(database, Effects(), desk)
        runner = Runner(
            database,
            HANDLERS,
            self.clients,
            desk,
            lease=timedelta(seconds=30),
            call_within=timedelta(seconds=3),
            replay_within=timedelta(hours=12),
        )
        fleet = Fleet(
            intake=lambda body, _: intake.take_over(body),
            run=runner.run,
            file_letter=self._file,
            ask_database=lambda: None,
            notify=lambda _: None,
        )
        url = self.proxy.url
        topology.declare(broker_url)
        broker = Broker(url, Gate(fleet.ask_database), time_limit=60, rest=0)
        actors.serve(broker, fleet, QUEUES)
        self._pool = Pool(broker, threads=THREADS)
        self._threads = [
            threading.Thread(target=work, args=arguments, name=work.__qualname__)
            for work, *arguments in (
                (Relay(database_url, url, Settings(schedule=Schedule(first=SOON))).run, self._stop),
                (self._dispatch, url),
                (collector.run, url, fleet, self._stop),
            )
        ]

    def start(self) -> None:
        """Begin."""
        self._pool.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End every thread."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._pool.drain(10)
        self._amqp.close()
        self.proxy.close()

    # --- what a broker does -------------------------------------------------------------------------------

    def cut(self) -> None:
        """Every connection is lost; what was not acknowledged comes again."""
        self.proxy.cut()

    def purge(self) -> None:
        """Whatever waits in a queue is gone, as with the broker's disk."""
        for queue in QUEUES:
            self._amqp.purge(queue.versioned)

    def put_back(self, queue: QueueName) -> None:
        """The next message, if nobody has it yet, is taken and handed back."""
        method, _, _ = self._amqp.channel.basic_get(queue.versioned)
        if method is not None:
            self._amqp.channel.basic_reject(method.delivery_tag, requeue=True)

    def event_again(self, body: bytes) -> None:
        """An event is delivered again, or before the relay has published it."""
        type_ = json.loads(body)["type"]
        key = type_.removeprefix(f"{PREFIX}{BILLING.name}.")
        self._amqp.publish(BILLING.name, key, body, type=type_)

    def command_again(self, operation: Operation) -> None:
        """The command of an operation is delivered again, or long after it was done."""
        command = Command(operation_id=operation.operation_id, attempt=operation.attempt)
        self._amqp.publish(WORK.name, operation.queue, encode(command), type=COMMAND)

    # --- waiting --------------------------------------------------------------------------------------------

    def quiet(self, bench: Workbench) -> None:
        """Wait until nothing of the tenant is under way, due or on a queue. The time of backoffs is let pass."""

        def done() -> bool:
            with self._database.transaction(bench.tenant) as connection:
                connection.execute(_PAST_BACKOFF)
                left = [connection.execute(query).scalar_one() for query in (_UNTAKEN, _UNFINISHED)]
                violations = sweep.violations(connection)
            assert (left, violations) == ([0, 0], {}), f"untaken, unfinished: {left}; {violations}"
            waiting = {str(name): self._amqp.depth(name.versioned) for name in QUEUES}
            assert not any(waiting.values()), f"on the queues: {waiting}"
            return True

        eventually(done, WITHIN, what="everything is done")

    # --- inside ---------------------------------------------------------------------------------------------

    def _dispatch(self, url: str) -> None:
        with Publisher(url, exchanges=[WORK]) as publisher:
            Dispatcher(self._database, publisher, 8, timedelta(seconds=SOON)).run(self._stop)

    def _file(self, letter: Letter) -> object:
        with self._database.transaction("*") as connection:
            return letters.file(connection, letter)
