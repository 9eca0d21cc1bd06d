"""The whole fleet on one machine: embedded servers as far as none are given, and every process of ours.

Each process is an ordinary `algasync` command with ordinary settings, so what runs here runs anywhere. A process
or server of ours that dies is started again and the fact is said.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TextIO

import requests

from deploy.local import NotInstalledError, PostgresqlServer, RabbitmqNode, StartError
from deploy.local.process import (
    end,
    free_port,
    last_lines,
    make_folder,
    port_is_free,
    process,
    spawn,
    take,
    wait_until,
)
from services.cli.local_sandbox import PORTS, addresses
from services.configuration import Configuration
from services.database import migrate

Say = Callable[[str], None]

ROLES = ("relay", "dispatcher", "scheduler", "collector", "workers")
READY_WITHIN = 40.0  # seconds
FIRST_PORTS = {"api": 8400, "sandbox": 8500, "control": 8501}


class FleetError(RuntimeError):
    """A part did not start; the message says which, shows the end of its log, and what to do."""


@dataclass
class LocalFleet:
    """Starts, watches and stops the parts. `url`s are known after `start`."""

    configuration: Configuration
    say: Say
    database_url: str = ""
    broker_url: str = ""
    broker: str = ""  # in words, for people
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._data = self.configuration.data.resolve()
        self.logs = self._data / "logs"
        self._lock: TextIO | None = None
        self._pids: dict[str, int] = {}
        self._servers: list[PostgresqlServer | RabbitmqNode] = []
        self._stop = threading.Event()
        self._stopped = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def api_url(self) -> str:
        """Where our API listens."""
        return f"http://127.0.0.1:{self.ports['api']}"

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox company stands in for Intuit."""
        return f"http://127.0.0.1:{self.ports['sandbox']}"

    @property
    def control_url(self) -> str:
        """Where the sandbox company takes orders of the bookkeeper and the bad day."""
        return f"http://127.0.0.1:{self.ports['control']}"

    def start(self) -> None:
        """Bring everything up; raises `FleetError` with the reason and the log when a part does not start.

        RabbitMQ needs the longest, so everything that can do without it starts meanwhile.
        """
        self._reserve()
        self._choose_ports()
        node = self._launch_broker()
        self.say(f"broker: {self.broker}")
        self._start_database()
        self.say(f"database: {'given' if self.configuration.database_url else 'embedded PostgreSQL'}")
        migrate(self.database_url)
        self._spawn("sandbox")
        self._spawn("api")
        if node is not None:
            self.broker_url = node.start(dies_with_parent=True)
        for role in self.roles:
            self._spawn(role)
        self._await("sandbox company", self.control_url + "/healthz", "sandbox")
        self._await("API", self.api_url + "/readyz", "api")
        self._watch = threading.Thread(target=self._restart_the_fallen, name="watch", daemon=True)
        self._watch.start()

    @property
    def roles(self) -> tuple[str, ...]:
        """Our processes that need a broker: one a role with RabbitMQ; without it, all in one."""
        return ROLES if self.broker_url else ("embedded",)

    def stop(self) -> None:
        """Stop our processes in an order that lets work finish, then the servers we started."""
        self._stop.set()
        for role in (
            "relay",
            "dispatcher",
            "scheduler",
            "embedded",
            "workers",
            "collector",
            "api",
            "sandbox",
        ):
            pid = self._pids.pop(role, None)
            if pid is not None:
                end(pid, signal.SIGTERM, self.configuration.drain_seconds + 5)
        for server in self._servers:
            server.stop()
        self._stopped.set()
        if self._lock is not None:
            self._lock.close()

    def pid(self, role: str) -> int:
        """The process id of a role."""
        return self._pids[role]

    def environment(self) -> Mapping[str, str]:
        """The settings every process of the fleet gets."""
        return {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self.broker_url,
            "ALGASYNC_DATA": str(self._data),
            "ALGASYNC_API_PORT": str(self.ports["api"]),
            "ALGASYNC_ENVIRONMENT": "sandbox",
            **{f"ALGASYNC_{name.upper()}": one for name, one in addresses(self.sandbox_url).items()},
            "ALGASYNC_LOG_FORMAT": "json",
        }

    def _reserve(self) -> None:
        """One fleet a folder: a second would keep the same books, and end the first one's servers with its own."""
        make_folder(self.logs)
        self._lock = take(self._data / "fleet.lock")
        if self._lock is None:
            raise FleetError(
                f"A fleet runs already in {self._data} (`algasync up`, `algasync demo` or `make run`)."
                " Use that one, stop it, or set ALGASYNC_DATA to another folder. Nothing was changed"
            )

    def _choose_ports(self) -> None:
        """The same ports as last time where they are free, so that bookmarks keep working."""
        kept = self._data / PORTS
        wanted = FIRST_PORTS | (json.loads(kept.read_text()) if kept.exists() else {})
        self.ports = {name: port if port_is_free(port) else free_port() for name, port in wanted.items()}
        kept.write_text(json.dumps(self.ports))

    def _launch_broker(self) -> RabbitmqNode | None:
        """Begin to start a private node, unless a broker is given or no RabbitMQ is on this machine."""
        if self.configuration.broker_url:
            self.broker_url, self.broker = self.configuration.broker_url, "RabbitMQ at BROKER_URL"
            return None
        node = RabbitmqNode(self._data / "rabbitmq")
        try:
            node.launch(dies_with_parent=True)
        except NotInstalledError:
            self.broker = (
                "in-process (no RabbitMQ on this machine: `make run-rabbitmq` installs one,"
                " BROKER_URL uses another)"
            )
            return None
        self.broker = "a private RabbitMQ node (BROKER_URL uses another)"
        self._servers.insert(0, node)
        return node

    def _start_database(self) -> None:
        if self.configuration.database_url:
            self.database_url = self.configuration.database_url
            return
        server = PostgresqlServer(self._data / "postgresql")
        self.database_url = server.start(dies_with_parent=True)
        self._servers.append(server)

    def _spawn(self, role: str) -> None:
        command = [sys.executable, "-m", "services.cli", role]
        if role == "sandbox":
            state = self._data / "sandbox.journal"
            command += ["--port", str(self.ports["sandbox"]), "--control-port", str(self.ports["control"])]
            command += ["--state", str(state)]
        self._pids[role] = spawn(
            command,
            log=self.logs / f"{role}.log",
            environment=self.environment(),
            dies_with_parent=signal.SIGTERM,
        )

    def _await(self, name: str, url: str, role: str) -> None:
        def answers() -> bool:
            if process(self._pids[role]) is None:
                return True
            try:
                return requests.get(url, timeout=2).status_code == 200
            except requests.RequestException:
                return False

        came = wait_until(answers, READY_WITHIN)
        if not came or process(self._pids[role]) is None:
            raise FleetError(
                f"The {name} did not start. The end of {self.logs / role}.log:\n"
                f"{last_lines(self.logs / f'{role}.log')}"
            )

    def _restart_the_fallen(self) -> None:
        rest: dict[str, float] = {}
        while not self._stop.wait(0.5):
            self._restart_fallen_servers()
            for role, pid in list(self._pids.items()):
                if process(pid) is None and not self._stop.is_set():
                    self.say(f"{role} (process {pid}) ended unexpectedly and is started again")
                    rest[role] = min(rest.get(role, 0.25) * 2, 10)
                    if not self._stop.wait(rest[role]):
                        self._spawn(role)
        self._stopped.wait()  # what this thread started dies with it, and must first be stopped in order

    def _restart_fallen_servers(self) -> None:
        for server in self._servers:
            if server.pid is not None or self._stop.is_set():
                continue
            name = "PostgreSQL" if isinstance(server, PostgresqlServer) else "RabbitMQ"
            self.say(f"{name} ended unexpectedly and is started again")
            try:
                server.start(dies_with_parent=True)
            except StartError as error:
                self.say(f"{name} did not start; the next try follows. {error}")
