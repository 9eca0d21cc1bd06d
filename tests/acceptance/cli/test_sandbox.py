"""`algasync sandbox`: a QuickBooks Online company of one's own, which keeps its books over a restart when asked to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

REALM = "9341450000000001"


@contextmanager
def sandbox(state: Path) -> Iterator[dict[str, str]]:
    """The installed command in a process of its own, killed at the end; its first line says where it listens."""
    program = Path(sys.executable).parent / "algasync"
    process = subprocess.Popen([program, "sandbox", "--state", str(state)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=20)


def test_it_runs_alone_and_remembers(tmp_path: Path) -> None:
    """Two addresses on this machine; a customer entered before a SIGKILL is there after the next start."""
    state = tmp_path / "books.journal"
    with sandbox(state) as address:
        assert all(value.startswith("http://127.0.0.1:") for value in address.values())
        made = {"entity": "Customer", "body": {"DisplayName": "Blue Summit Dental"}}
        desk = f"{address['control']}/companies/{REALM}/bookkeeper/create"
        requests.post(desk, json=made, timeout=10).raise_for_status()
    with sandbox(state) as address:
        found = requests.get(f"{address['control']}/companies/{REALM}/objects/Customer", timeout=10).json()
    assert "Blue Summit Dental" in {one["DisplayName"] for one in found}
