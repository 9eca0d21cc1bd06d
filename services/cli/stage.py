"""A stage for chaos and benches: private servers, a sandbox with a company a tenant, every process of the fleet."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from cryptography.fernet import Fernet
from pydantic import SecretStr

from deploy.local import PostgresqlServer, RabbitmqNode, StartError
from deploy.local.process import end, last_lines, process, spawn, wait_until
from services.cli.arena import CUSTOMERS, ITEMS, Arena
from services.cli.crew import Crew
from services.configuration import Configuration
from services.connections.vault import Vault
from services.database import Database, Role, migrate


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its company."""

    name: str
    realm: str
    company_id: UUID


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that a run acts on."""

    server: PostgresqlServer
    node: RabbitmqNode
    sandbox: int  # its process id
    database: Database
    arena: Arena
    crew: Crew
    tenants: dict[str, Tenant]

    def recover(self) -> None:
        """What an operator types after the broker has lost its disk. Raises `StartError` when it fails."""
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
def open_stage(
    folder: Path,
    tenants: Iterable[str],
    *,
    settings: Mapping[str, str],
    limits: bool,
    customers: Mapping[str, str] = CUSTOMERS,
    items: Mapping[str, str] = ITEMS,
    connections: int = 200,
) -> Iterator[Stage]:
    """Set it all up below `folder`, but for the processes of the fleet, which the block starts. All ends with it.

    `settings` are environment variables of the fleet; `limits`: whether the sandbox enforces Intuit's call limits;
    `connections`: how many PostgreSQL gives at most.
    Raises `StartError` when something does not start, `deploy.local.NotInstalledError` without RabbitMQ.
    """
    with ExitStack() as stack:
        node = RabbitmqNode(folder / "rabbitmq")
        node.launch(dies_with_parent=True)  # it takes seconds, in which PostgreSQL comes up
        stack.callback(node.stop)
        stack.callback(node.kill)  # its data goes too: no need for an orderly end
        server = PostgresqlServer(folder / "postgresql", settings={"max_connections": str(connections)})
        database_url = server.start(dies_with_parent=True)
        stack.callback(server.kill)
        migrate(database_url)
        sandbox, api, control = stack.enter_context(_sandbox(folder))
        key = Fernet.generate_key().decode()
        database = Database(database_url, Role.FLEET, pool_size=4, application="algasync stage")
        stack.enter_context(database)
        arena = Arena(control, database, Vault.of(Configuration(secret_keys=[SecretStr(key)])))
        arena.prepare(limits=limits)
        joined = {}
        for number, name in enumerate(tenants, start=1):
            realm = f"{9341450000010000 + number}"
            company_id = arena.join(name, realm, customers=customers, items=items)
            joined[name] = Tenant(name, realm, company_id)
        crew = Crew(
            folder,
            {
                **settings,
                "DATABASE_URL": database_url,
                "BROKER_URL": node.start(dies_with_parent=True),
                "ALGASYNC_DATA": str(folder),
                "ALGASYNC_SECRET_KEYS": key,
                "ALGASYNC_QUICKBOOKS_API_URL": api,
                "ALGASYNC_QUICKBOOKS_TOKEN_URL": f"{api}/oauth2/v1/tokens/bearer",
            },
        )
        stack.callback(crew.end)
        yield Stage(server, node, sandbox, database, arena, crew, joined)


@contextmanager
def _sandbox(folder: Path) -> Iterator[tuple[int, str, str]]:
    """A sandbox process: its id, and its addresses for the API and for control."""
    ready, log = folder / "sandbox.json", folder / "sandbox.log"
    command = [sys.executable, "-m", "services.sandbox", "--port", "0", "--control-port", "0"]
    pid = spawn(command, output=ready, log=log, dies_with_parent=signal.SIGTERM)
    try:
        wait_until(lambda: process(pid) is None or "\n" in ready.read_text(), 30)
        lines = ready.read_text().splitlines()
        if not lines:
            raise StartError(f"The sandbox did not start. The end of its log:\n{last_lines(log)}")
        addresses = json.loads(lines[0])
        yield pid, addresses["api"].rstrip("/"), addresses["control"].rstrip("/")
    finally:
        end(pid, signal.SIGKILL, 10)
