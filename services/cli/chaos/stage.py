"""The stage of a run: private servers, a sandbox with a company a tenant, and every process of the fleet."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.fernet import Fernet
from pydantic import SecretStr

from deploy.local import PostgresqlServer, RabbitmqNode, StartError
from deploy.local.process import end, last_lines, process, spawn, wait_until
from services.cli.arena import Arena
from services.cli.chaos import history
from services.cli.chaos.boundaries import Boundaries
from services.cli.chaos.proxy import Proxy
from services.cli.crew import ROLES, Crew
from services.configuration import Configuration
from services.connections.vault import Vault
from services.database import Database, Role, migrate

LEASE: Final = 4  # seconds
SETTINGS: Final = {
    # The dead are noticed, and what was lost is sent again, in seconds instead of minutes.
    "ALGASYNC_LEASE_SECONDS": str(LEASE),
    "ALGASYNC_CALL_SECONDS": "2",
    "ALGASYNC_RESEND_SECONDS": "4",
    "ALGASYNC_REPUBLISH_SECONDS": "5",
    "ALGASYNC_DRAIN_SECONDS": "10",
}


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its company."""

    name: str
    realm: str
    company_id: UUID


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that a run acts on. Workers reach the broker through `proxy`."""

    server: PostgresqlServer
    node: RabbitmqNode
    proxy: Proxy
    database: Database
    arena: Arena
    boundaries: Boundaries
    crew: Crew
    tenants: dict[str, Tenant]

    def start(self, *names: str) -> None:
        """Start processes of the fleet."""
        for name in names:
            behind_proxy = {"BROKER_URL": self.proxy.url} if name.startswith("workers") else {}
            self.crew.start(name, **behind_proxy)

    def recover(self) -> None:
        """What an operator types after the broker has lost its disk."""
        done = subprocess.run(
            [sys.executable, "-m", "services.cli", "recover", "--json"],
            env=self.crew.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StartError(f"algasync recover failed: {done.stderr}")


@contextmanager
def open_stage(folder: Path, tenants: Iterable[str]) -> Iterator[Stage]:
    """Set it all up below `folder`, with every process working; everything ends with the block.

    Raises `StartError` when something does not start, `deploy.local.NotInstalledError` without RabbitMQ.
    """
    with ExitStack() as stack:
        node = RabbitmqNode(folder / "rabbitmq")
        node.launch(dies_with_parent=True)  # it takes seconds, in which PostgreSQL comes up
        stack.callback(node.stop)
        stack.callback(node.kill)  # its data goes too: no need for an orderly end
        server = PostgresqlServer(folder / "postgresql")
        database_url = server.start(dies_with_parent=True)
        stack.callback(server.kill)
        migrate(database_url)
        api, control = stack.enter_context(_sandbox(folder))
        broker_url = node.start(dies_with_parent=True)
        proxy = stack.enter_context(Proxy(broker_url))
        key = Fernet.generate_key().decode()
        database = Database(database_url, Role.FLEET, pool_size=4, application="algasync chaos")
        stack.enter_context(database)
        arena = Arena(control, database, Vault.of(Configuration(secret_keys=[SecretStr(key)])))
        crew = Crew(
            folder,
            {
                **SETTINGS,
                "DATABASE_URL": database_url,
                "BROKER_URL": broker_url,
                "ALGASYNC_DATA": str(folder),
                "ALGASYNC_SECRET_KEYS": key,
                "ALGASYNC_QUICKBOOKS_API_URL": api,
                "ALGASYNC_QUICKBOOKS_TOKEN_URL": f"{api}/oauth2/v1/tokens/bearer",
            },
        )
        stack.callback(crew.end)
        boundaries = Boundaries(arena, database_url, proxy)
        stage = Stage(server, node, proxy, database, arena, boundaries, crew, _join(arena, tenants))
        stage.start(*ROLES)
        crew.ready()
        yield stage


def _join(arena: Arena, names: Iterable[str]) -> dict[str, Tenant]:
    arena.prepare(limits=True)
    joined = {}
    for number, name in enumerate(names, start=1):
        realm = f"{9341450000002000 + number}"
        company_id = arena.join(name, realm, customers=history.CLIENTS, items=history.SERVICES)
        joined[name] = Tenant(name, realm, company_id)
    return joined


@contextmanager
def _sandbox(folder: Path) -> Iterator[tuple[str, str]]:
    """A sandbox process; its addresses for the API and for control."""
    ready, log = folder / "sandbox.json", folder / "sandbox.log"
    command = [sys.executable, "-m", "services.sandbox", "--port", "0", "--control-port", "0"]
    pid = spawn(command, output=ready, log=log, dies_with_parent=signal.SIGTERM)
    try:
        wait_until(lambda: process(pid) is None or "\n" in ready.read_text(), 30)
        lines = ready.read_text().splitlines()
        if not lines:
            raise StartError(f"The sandbox did not start. The end of its log:\n{last_lines(log)}")
        addresses = json.loads(lines[0])
        yield addresses["api"].rstrip("/"), addresses["control"].rstrip("/")
    finally:
        end(pid, signal.SIGKILL, 10)
