"""Workers that can be killed: each job is a process of its own, forked from one that has everything imported.

`python -m tests.support.killable` reads a job a line from standard input and prints the pid that works on it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.database import Database, Role
from services.exceptions.desk import ExceptionDesk
from services.ledger import operations
from services.ledger.runner import Runner
from services.outbound.handlers import HANDLERS
from services.quickbooks.ports import Kind
from tests.support.deadline import eventually
from tests.support.exporting import Straight, Workbench
from tests.support.sandbox import Sandbox

LEASE = timedelta(seconds=20)
_AHEAD = text(
    """SELECT greatest(0, extract(epoch FROM next_call - clock_timestamp()))::float8
         FROM company_limiter WHERE company_id = :company"""
)


class Spaced(Straight):
    """Calls wait for the company's next slot, so that a test can hold a worker between intent and call."""

    def reserve(self, connection: Connection, company_id: UUID, kind: Kind = "call") -> float:
        """Seconds until the slot."""
        ahead: float = connection.execute(_AHEAD, {"company": company_id}).scalar_one()
        return ahead


@dataclass
class Crew:
    """The process that forks workers, and the workers it has forked."""

    process: subprocess.Popen[str]
    url: str

    @classmethod
    def assemble(cls, url: str) -> Crew:
        """Start it; every worker uses the database at `url`."""
        root = Path(__file__).resolve().parent.parent.parent
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killable"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        return cls(process, url)

    def start(self, bench: Workbench, operation_id: UUID) -> int:
        """A worker that works on an operation until it is done, or rests; returns its pid."""
        job = {
            "url": self.url,
            "api": bench.sandbox.api,
            "control": bench.sandbox.control,
            "token": bench.clients.token,
            "realm": bench.realm,
            "tenant": bench.tenant,
            "operation": str(operation_id),
        }
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        return int(stdout.readline())

    def kill(self, pid: int) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(pid, signal.SIGKILL)
        self.ended(pid)

    def ended(self, pid: int) -> None:
        """Wait until a worker is gone."""
        eventually(lambda: not alive(pid), 20, what=f"worker {pid} ends")

    def dismiss(self) -> None:
        """End it."""
        self.process.communicate(timeout=10)


def alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _serve(jobs: IO[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    for line in jobs:
        pid = os.fork()
        if pid == 0:
            code = 1
            os.dup2(2, 1)  # a worker talks; standard output is for pids
            try:
                _work(json.loads(line))
                code = 0
            finally:
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _work(job: dict[str, Any]) -> None:
    clients = Spaced(Sandbox(job["api"], job["control"]), job["token"], job["realm"])
    with Database(job["url"], Role.FLEET, pool_size=2) as database:
        runner = Runner(
            database,
            HANDLERS,
            clients,
            ExceptionDesk(),
            lease=LEASE,
            call_within=timedelta(seconds=clients.timeouts.total),
            replay_within=timedelta(hours=12),
        )
        for _ in range(10):  # an effect of several calls is taken up again for each
            with database.transaction(job["tenant"]) as connection:
                found = operations.get(connection, UUID(job["operation"]))
            if found is None or found.state not in {"queued", "scheduled"}:
                return
            runner.run(found.operation_id, found.attempt)


if __name__ == "__main__":
    _serve(sys.stdin)
