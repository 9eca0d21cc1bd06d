"""A fleet of real processes for chaos tests: killed, stopped and continued from outside by their ids.

A fleet serves all tests of a module, because its processes take seconds to start. Each test has a tenant and a
QuickBooks company of its own, and finds every process running.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text

import outbox
from services.cli.arena import Arena
from services.cli.chaos.boundaries import Aim, Boundaries
from services.cli.chaos.proxy import Proxy
from services.cli.crew import ROLES, Crew
from services.configuration import Configuration
from services.connections.vault import Vault
from services.database import Database, Role
from services.ledger import operations, sweep
from services.ledger.operations import Operation
from tests.support.deadline import eventually
from tests.support.exporting import invoice
from tests.support.sandbox import Sandbox

FERNET_KEY: Final = (
    "ZmFrZS1rZXktZm9yLXRlc3RzLW9ubHktMzItYnl0ZXM="  # 32 bytes of "fake-key-for-tests-only-32-bytes"
)
SETTINGS: Final = {
    "ALGASYNC_SECRET_KEYS": FERNET_KEY,
    # The dead are noticed, and what was lost is sent again, within a test.
    "ALGASYNC_LEASE_SECONDS": "4",
    "ALGASYNC_CALL_SECONDS": "2",
    "ALGASYNC_RESEND_SECONDS": "4",
    "ALGASYNC_REPUBLISH_SECONDS": "4",
    "ALGASYNC_DRAIN_SECONDS": "10",
}
_numbers = itertools.count(1)


@dataclass
class Party:
    """A tenant, its QuickBooks company, and what it has billed so far: number -> total."""

    tenant: str
    realm: str
    company_id: UUID
    billed: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True)
class Letter:
    """A dead letter, and the exception that shows it: its state, and the operation that rests for it."""

    operation_id: UUID | None
    attempt: int
    state: str
    code: str
    exception_state: str | None
    exception_operation: UUID | None


class FleetOfProcesses:
    """One fleet over given servers. Workers reach the broker through `proxy`."""

    def __init__(self, database_url: str, broker_url: str, sandbox: Sandbox, folder: Path) -> None:
        self.proxy = Proxy(broker_url)
        self.settings = {
            **SETTINGS,
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "ALGASYNC_DATA": str(folder),
            "ALGASYNC_QUICKBOOKS_API_URL": sandbox.api,
            "ALGASYNC_QUICKBOOKS_TOKEN_URL": f"{sandbox.api}/oauth2/v1/tokens/bearer",
        }
        self.crew = Crew(folder, self.settings)
        self.crew.of_role["workers"] = {"BROKER_URL": self.proxy.url}
        self.database = Database(database_url, Role.FLEET, pool_size=5)
        configuration = Configuration(secret_keys=[SecretStr(FERNET_KEY)])
        self.arena = Arena(sandbox.control, self.database, Vault.of(configuration))
        self.boundaries = Boundaries(self.arena, database_url, self.proxy)

    def assemble(self) -> None:
        """Every process runs once, with nothing in its way."""
        self.proxy.flow()
        for name in self.crew.names:
            if name not in ROLES:
                self.crew.end(name)
            elif self.crew.lives(name):
                self.crew.go_on(name)
        for name in ROLES:
            if name not in self.crew.names or not self.crew.lives(name):
                self.crew.start(name)
        self.crew.ready()

    # --- the tenant -----------------------------------------------------------------------------------

    def join(self) -> Party:
        """A new tenant whose QuickBooks company is connected and mapped."""
        number = next(_numbers)
        tenant, realm = f"t-chaos-{number}", f"{9341450000001000 + number}"
        return Party(tenant, realm, self.arena.join(tenant, realm))

    def bill(self, party: Party, count: int = 1, **changes: Any) -> list[str]:
        """Emit `count` invoices of different totals, each in a transaction of its own; returns their ids."""
        ids = []
        for _ in range(count):
            net = 300 * (len(party.billed) + 1)
            document_id = f"inv-{party.tenant}-{len(party.billed) + 1}"
            data = invoice(document_id, net=net, **changes)
            self.emit(party, "invoice.finalized.v1", document_id, data)
            party.billed[data["number"]] = Decimal(net) / 100
            ids.append(document_id)
        return ids

    def emit(self, party: Party, type_: str, subject: str, data: dict[str, Any]) -> UUID:
        """Emit an event in a transaction of billing; returns its id."""
        with self.database.transaction(party.tenant) as connection:
            return outbox.emit(connection, party.tenant, type_, subject, data).event_id

    def aim(self, party: Party) -> Aim:
        """Let the next invoice of this tenant be held up."""
        return Aim(party.tenant, party.company_id, party.realm, lambda: self.bill(party)[0])

    # --- looking ----------------------------------------------------------------------------------------

    def states(self, party: Party) -> dict[str, int]:
        """What billing asked for, by state; not what the clock brings in from QuickBooks."""
        with self.database.transaction(party.tenant) as connection:
            rows = connection.execute(
                text("SELECT state, count(*) FROM operation WHERE queue = 'export' GROUP BY state")
            )
            return {state: count for state, count in rows}

    def operations(self, party: Party, document_id: str) -> list[Operation]:
        """Operations of an invoice, newest first."""
        with self.database.transaction(party.tenant) as connection:
            return operations.page(connection, document=("invoice", document_id)).operations

    def undelivered(self, party: Party) -> tuple[int, int]:
        """Events and commands that the broker has confirmed and no worker has taken."""
        with self.database.transaction(party.tenant) as connection:
            row = connection.execute(
                text(
                    """SELECT (SELECT count(*) FROM outbox_event o
                                WHERE o.published_at IS NOT NULL AND o.exchange = 'billing'
                                  AND NOT EXISTS (SELECT FROM event_outcome e WHERE e.event_id = o.event_id)),
                              (SELECT count(*) FROM operation
                                WHERE dispatched_at IS NOT NULL AND state = 'queued')"""
                )
            ).one()
            return row[0], row[1]

    def letters(self, party: Party) -> list[Letter]:
        """Dead letters of this tenant, each with the exception it is joined to."""
        with self.database.transaction(party.tenant) as connection:
            rows = connection.execute(
                text(
                    """SELECT l.operation_id, l.attempt, l.state, l.code, e.state, e.operation_id
                         FROM letter l LEFT JOIN exception e USING (exception_id)"""
                )
            )
            return [Letter(*row) for row in rows]

    def eventually(self, state: Callable[[], bool], what: str, timeout: float = 45) -> None:
        """Wait for a state; the logs are shown when it does not come."""
        try:
            eventually(state, timeout, what=what)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.crew.logs()}") from late

    def arrived(self, party: Party, *, failed: int = 0, timeout: float = 45) -> None:
        """Wait until everything billed is done, then hold QuickBooks' books and our links against it."""
        wanted = {"succeeded": len(party.billed)} | ({"failed": failed} if failed else {})
        self.eventually(
            lambda: self.states(party) == wanted,
            f"{wanted} of {party.tenant}, it has {self.states(party)}",
            timeout,
        )
        self.check_books(party)

    def check_books(self, party: Party) -> None:
        """Every number exactly once in QuickBooks and to the cent, every link right, nothing unfinished."""
        books = self.arena.objects(party.realm)
        found = sorted((one["DocNumber"], Decimal(str(one["TotalAmt"]))) for one in books)
        assert found == sorted(party.billed.items())
        with self.database.transaction(party.tenant) as connection:
            assert sweep.violations(connection) == {}
            links = connection.execute(text("SELECT number, external_id FROM link")).all()
        assert sorted(map(tuple, links)) == sorted((one["DocNumber"], one["Id"]) for one in books)

    def close(self) -> None:
        """End every process and the pool."""
        self.crew.end()
        self.proxy.close()
        self.database.close()


@contextmanager
def fleet_of_processes(
    database_url: str, broker_url: str, sandbox: Sandbox, folder: Path
) -> Iterator[FleetOfProcesses]:
    """A fleet over given servers, with nothing started yet."""
    made = FleetOfProcesses(database_url, broker_url, sandbox, folder)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def _fleet(
    module_database_url: str,
    broker_url: str,
    _sandbox_process: Sandbox,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FleetOfProcesses]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_of_processes(module_database_url, broker_url, _sandbox_process, folder) as made:
        yield made


@pytest.fixture
def fleet(_fleet: FleetOfProcesses, sandbox: Sandbox) -> FleetOfProcesses:
    """The module's fleet over the run's servers, every process running."""
    _fleet.arena.prepare(limits=False)
    _fleet.assemble()
    return _fleet


@pytest.fixture
def party(fleet: FleetOfProcesses) -> Party:
    """A tenant of this test's own."""
    return fleet.join()
