"""Random histories over RabbitMQ: outbox, relay, intake, dispatcher and workers, and a broker that loses and repeats.

Everything runs at the same time, so a seed repeats what was asked, not how it interleaved. A failure is not made
shorter; what was done is printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
import structlog
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from services.database import Database, Role
from tests.integration.outbound.fleet_of_threads import QUEUES, FleetOfThreads
from tests.integration.outbound.histories import AMOUNTS, FAULTS, PICK, Histories, repeat
from tests.support.sandbox import Sandbox
from workers.topology import QueueName


class OverRabbitmq(Histories):
    """Billing commits, and the fleet does the rest while the machine goes on."""

    fleet: ClassVar[FleetOfThreads]

    def __init__(self) -> None:
        super().__init__()
        self.fleet.clients.of[self.bench.company_id] = self.bench.clients
        self.sent: list[bytes] = []

    def emitted(self, body: bytes) -> None:
        """It lies in the outbox, where the relay finds it."""
        self.sent.append(body)

    @initialize(amount=AMOUNTS)
    def begin(self, amount: int) -> None:
        """There is something to lose."""
        self.bill(amount)
        self.bill(amount + 300)
        self.credit(amount)
        self.pay(0, several=True, part=True)

    # --- what goes wrong on the way -------------------------------------------------------------------------

    @rule(kind=st.sampled_from(FAULTS), skip=st.integers(0, 2))
    def fail(self, kind: str, skip: int) -> None:
        """One of the next calls fails."""
        self.bench.trouble(kind, realm=self.bench.realm, method="POST", skip=skip, times=1)

    @rule()
    def cut(self) -> None:
        """Every connection to the broker is lost."""
        self.fleet.cut()

    @rule(disk=st.booleans())
    def lose(self, disk: bool) -> None:
        """What waits on the broker is lost, and with its disk the connections, too."""
        self.fleet.purge()
        if disk:
            self.fleet.cut()

    @rule(queue=st.sampled_from(QUEUES))
    def put_back(self, queue: QueueName) -> None:
        """A message is handed back and delivered later."""
        self.fleet.put_back(queue)

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def event_again(self, pick: int) -> None:
        """An event comes twice, or overtakes others."""
        self.fleet.event_again(self.sent[pick % len(self.sent)])

    @precondition(lambda self: self.sent)
    @rule(pick=PICK)
    def command_again(self, pick: int) -> None:
        """A command comes twice, early, or after all is done."""
        operations = self.bench.operations()
        if operations:
            self.fleet.command_again(operations[pick % len(operations)])

    @rule()
    def rest(self) -> None:
        """Nothing happens until all is done that can be done: what follows meets a settled company."""
        self.fleet.quiet(self.bench)

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The last calls fail at random, then nothing does any more."""
        for kind in FAULTS:
            self.bench.trouble(kind, realm=self.bench.realm, method="POST", probability=0.2, times=2)
        self.fleet.quiet(self.bench)
        self.bench.no_more_troubles()
        self.bench.reconnect()
        self.fleet.quiet(self.bench)


@pytest.fixture(scope="module")
def machine(
    module_database_url: str, broker_url: str, _sandbox_process: Sandbox
) -> Iterator[type[OverRabbitmq]]:
    """The machine over the module's servers, with the fleet at work."""
    _sandbox_process.reset()
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, colors=False)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    with Database(module_database_url, Role.FLEET, pool_size=20) as database:
        fleet = FleetOfThreads(module_database_url, broker_url, database)
        fleet.start()
        OverRabbitmq.database, OverRabbitmq.sandbox, OverRabbitmq.fleet = database, _sandbox_process, fleet
        yield OverRabbitmq
        fleet.close()
    _sandbox_process.reset()


def test_both_books_agree_whatever_the_broker_loses_and_repeats(machine: type[OverRabbitmq]) -> None:
    """Over the real broker, cut, wiped and repeating: each document once, to the cent; or an exception says why."""
    repeat(machine, examples=8, steps=30, phases=(Phase.generate,))
