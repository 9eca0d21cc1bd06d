"""A fleet of real processes for chaos tests: started, killed, stopped and continued from outside by their ids."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

import outbox
from deploy.local.process import end, last_lines, process, spawn
from services.cli.arena import Arena
from services.configuration import Configuration
from services.connections.vault import Vault
from services.database import Database, Role
from services.ledger import operations, sweep
from tests.support.deadline import eventually
from tests.support.exporting import invoice
from tests.support.sandbox import Sandbox

TENANT = "t-chaos"
REALM = "9341450000000077"
FERNET_KEY = "ZmFrZS1rZXktZm9yLXRlc3RzLW9ubHktMzItYnl0ZXM="  # 32 bytes of "fake-key-for-tests-only-32-bytes"


@dataclass
class FleetOfProcesses:
    """Processes of one fleet over given servers."""

    database_url: str
    broker_url: str
    sandbox: Sandbox
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pids: dict[str, int] = {}
        self.database = Database(self.database_url, Role.FLEET, pool_size=5)
        configuration = Configuration(secret_keys=[FERNET_KEY])  # type: ignore[list-item]  # pydantic wraps it
        self.arena = Arena(self.sandbox.control, self.database, Vault.of(configuration))

    def environment(self) -> dict[str, str]:
        """What every process gets; leases are short so that the dead are noticed within a test."""
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self.broker_url,
            "ALGASYNC_DATA": str(self.folder),
            "ALGASYNC_SECRET_KEYS": FERNET_KEY,
            "ALGASYNC_QUICKBOOKS_API_URL": self.sandbox.api,
            "ALGASYNC_QUICKBOOKS_TOKEN_URL": f"{self.sandbox.api}/oauth2/v1/tokens/bearer",
            "ALGASYNC_LEASE_SECONDS": "4",
            "ALGASYNC_RESEND_SECONDS": "5",
            "ALGASYNC_CALL_SECONDS": "2",
            "ALGASYNC_LOG_FORMAT": "json",
            **self.settings,
        }

    def connect(self, tenant: str = TENANT, realm: str = REALM) -> UUID:
        """A tenant with a connected, mapped sandbox company; call limits off."""
        self.arena.prepare(limits=False)
        return self.arena.join(tenant, realm)

    def start(self, *roles: str) -> None:
        """Start processes by role; `workers-2` is a second one."""
        for role in roles:
            self.pids[role] = spawn(
                [sys.executable, "-m", "services.cli", role.split("-")[0]],
                log=self.folder / f"{role}.log",
                environment=self.environment(),
                dies_with_parent=signal.SIGTERM,
            )

    def kill(self, role: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process."""
        os.kill(self.pids[role], sign)

    def restart(self, role: str) -> None:
        """SIGKILL and start again, as a supervisor would."""
        end(self.pids[role], signal.SIGKILL, 10)
        self.start(role)

    def bill(self, count: int, *, tenant: str = TENANT, prefix: str = "inv") -> list[str]:
        """Emit `count` invoices, each in a transaction of its own; returns their numbers."""
        numbers = []
        for index in range(count):
            document_id = f"{prefix}-{index}"
            data: dict[str, Any] = invoice(document_id)
            with self.database.transaction(tenant) as connection:
                outbox.emit(connection, tenant, "invoice.finalized.v1", document_id, data)
            numbers.append(data["number"])
        return numbers

    def states(self, tenant: str = TENANT) -> dict[str, int]:
        """Operations by state, without the empty ones."""
        with self.database.transaction(tenant) as connection:
            return {state: count for state, count in operations.counts(connection).items() if count}

    def all_done(self, count: int, timeout: float = 60) -> None:
        """Wait until `count` operations have succeeded and none is left; shows the logs when they do not."""
        try:
            eventually(lambda: self.states() == {"succeeded": count}, timeout, what=f"{count} documents done")
        except AssertionError as late:
            logs = "\n".join(
                f"--- {role} ({'alive' if process(pid) else 'dead'})\n{last_lines(self.folder / f'{role}.log')}"
                for role, pid in self.pids.items()
            )
            raise AssertionError(f"{late}\nstates: {self.states()}\n{logs}") from None

    def check_books(self, numbers: list[str]) -> None:
        """Every number exactly once in QuickBooks and to the cent, no liveness violation, every link right."""
        books = self.arena.objects(REALM)
        assert sorted(one["DocNumber"] for one in books) == sorted(numbers)
        assert {one["TotalAmt"] for one in books} == {135.0}
        with self.database.transaction("*") as connection:
            assert sweep.violations(connection) == {}
            links = dict(
                connection.execute(text("SELECT number, external_id FROM link WHERE kind = 'invoice'")).all()
            )
        assert links == {one["DocNumber"]: one["Id"] for one in books}

    def stop(self) -> None:
        """End every process and the pool."""
        for pid in self.pids.values():
            if process(pid) is not None:
                os.kill(pid, signal.SIGCONT)
                end(pid, signal.SIGKILL, 10)
        self.database.close()


@pytest.fixture
def fleet_of_processes(
    database_url: str, broker_url: str, sandbox: Sandbox, tmp_path: Path
) -> Iterator[FleetOfProcesses]:
    """A fleet over the run's servers, with nothing started yet."""
    made = FleetOfProcesses(database_url, broker_url, sandbox, tmp_path)
    yield made
    made.stop()
