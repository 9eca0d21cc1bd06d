"""The command line as people call it: the installed `algasync`, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pytest


class RunCli(Protocol):
    """`run_cli("doctor", "--json", env={"BROKER_URL": url})` -> finished process with text output."""

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; the exit code is the caller's to judge."""


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """A function that runs the installed `algasync` and captures what it prints.

    `env` is added to the environment of the tests, less DATABASE_URL and BROKER_URL: a command reaches only
    the servers its test names.
    """
    program = Path(sys.executable).parent / "algasync"

    def run(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if name not in _SERVERS}
        return subprocess.run(
            [program, *arguments],
            env={**ours, "NO_COLOR": "1", **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


_SERVERS = frozenset({"DATABASE_URL", "BROKER_URL", "BROKER_MANAGEMENT_URL"})
