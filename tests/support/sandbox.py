"""The sandbox company for tests: one process a run, reset for every test."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
import requests

from deploy.local.process import end, last_lines, process, spawn, wait_until


@dataclass(frozen=True)
class Sandbox:
    """Where it listens: `api` stands for Intuit, `control` switches faults on. No trailing slashes."""

    api: str
    control: str

    def reset(self) -> None:
        """Forget every company, document, token and fault."""
        requests.post(f"{self.control}/reset", timeout=10).raise_for_status()

    def enter(self, realm: str, entity: str, body: dict[str, Any]) -> str:
        """Somebody enters an object into a company's books by hand; returns its id."""
        address = f"{self.control}/companies/{realm}/bookkeeper/create"
        answer = requests.post(address, json={"entity": entity, "body": body}, timeout=10)
        answer.raise_for_status()
        return str(answer.json()["Id"])

    def reads(self, realm: str) -> int:
        """Metered reads of a company so far."""
        counted = requests.get(f"{self.control}/counters", timeout=10).json()["companies"]
        return int(counted[realm]["metered_reads"]) if realm in counted else 0


@pytest.fixture(scope="session")
def _sandbox_process(workspace: Path) -> Iterator[Sandbox]:
    ready, log = workspace / "sandbox.json", workspace / "sandbox.log"
    pid = spawn(
        [sys.executable, "-m", "services.sandbox", "--port", "0", "--control-port", "0"],
        output=ready,
        log=log,
        dies_with_parent=SIGTERM,
    )
    wait_until(lambda: process(pid) is None or "\n" in ready.read_text(), 20)
    lines = ready.read_text().splitlines()
    if process(pid) is None or not lines:
        pytest.fail(f"The sandbox company did not start:\n{last_lines(log)}", pytrace=False)
    address = json.loads(lines[0])
    yield Sandbox(api=address["api"].rstrip("/"), control=address["control"].rstrip("/"))
    end(pid, SIGTERM, 10)


@pytest.fixture
def sandbox(_sandbox_process: Sandbox) -> Sandbox:
    """A sandbox company as a newcomer finds it: empty, healthy, without faults."""
    _sandbox_process.reset()
    return _sandbox_process
