"""The fleet's processes over given servers, to be killed, stopped and started again from outside.

Each is an ordinary `algasync` command with ordinary settings, so what is learned here holds anywhere. A second
process of a role is called `workers-2`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from deploy.local.process import StartError, end, last_lines, process, spawn, wait_until
from services.cli.ear import Ear

ROLES: Final = ("relay", "dispatcher", "scheduler", "collector", "workers")
READY_WITHIN: Final = 60.0  # seconds
_READY: Final = {
    "relay": "relays",
    "dispatcher": "leading",
    "scheduler": "leading",
    "workers": "consuming",
}
"""What a process of a role logs once it works. One that stands by for a leader, or collects, says nothing."""


class Crew:
    """Processes by name. They end with the thread that started them, should that end first (Linux)."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Logs go below `folder`; `settings` are environment variables on top of this process' own.

        `of_role` may hold further ones for the processes of a role.
        """
        self.folder = folder
        self.settings = dict(settings)
        self.of_role: dict[str, dict[str, str]] = {}
        self._pids: dict[str, int] = {}
        self._ears: dict[str, Ear] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What every process gets, a command of an operator's too."""
        return {**os.environ, "ALGASYNC_LOG_FORMAT": "json", **self.settings}

    @property
    def names(self) -> list[str]:
        """Every process that was started and not ended by `end`, in the order of their first start."""
        return list(self._pids)

    def pid(self, name: str) -> int:
        """The process id."""
        return self._pids[name]

    def log(self, name: str) -> Path:
        """Where a process logs."""
        return self.folder / f"{name}.log"

    def start(self, *names: str, **settings: str) -> None:
        """Start processes; `settings` are for these only."""
        for name in names:
            role, log = name.split("-")[0], self.log(name)
            self._ears[name] = Ear(log)
            self._pids[name] = spawn(
                [sys.executable, "-m", "services.cli", role],
                log=log,
                environment={**self.environment, **self.of_role.get(role, {}), **settings},
                dies_with_parent=signal.SIGTERM,
            )

    def ready(self, *names: str) -> None:
        """Wait until processes work; raises `StartError` with the end of the log of one that does not."""
        for name in names or self.names:
            event = _READY.get(name.split("-")[0])
            if not self._settles(name, event) or not self.lives(name):
                raise StartError(f"{name} did not start. The end of its log:\n{last_lines(self.log(name))}")

    def lives(self, name: str) -> bool:
        """Whether the process has not ended; a stopped one lives."""
        return process(self._pids[name]) is not None

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        end(self._pids[name], signal.SIGKILL, 10)

    def stop(self, name: str) -> None:
        """SIGSTOP: it keeps its connections and its locks, and does nothing."""
        os.kill(self._pids[name], signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """SIGCONT."""
        os.kill(self._pids[name], signal.SIGCONT)

    def restart(self, name: str) -> None:
        """Kill and start again, as a supervisor would."""
        self.kill(name)
        self.start(name)

    def drain(self, name: str, seconds: float) -> bool:
        """SIGTERM; whether it ended by itself within so many seconds. It is killed otherwise."""
        os.kill(self._pids[name], signal.SIGTERM)
        if wait_until(lambda: not self.lives(name), seconds):
            return True
        self.kill(name)
        return False

    def fallen(self) -> list[str]:
        """Processes that ended without being told to."""
        return [name for name in self._pids if not self.lives(name)]

    def said(self, name: str, event: str) -> list[dict[str, Any]]:
        """Lines with this event that a process has logged since its last start."""
        return list(self._ears[name].said(event))

    def logs(self) -> str:
        """The ends of all logs, to put into an error."""
        return "\n".join(
            f"--- {name} ({'alive' if self.lives(name) else 'dead'})\n{last_lines(self.log(name))}"
            for name in self._pids
        )

    def end(self, *names: str) -> None:
        """Kill processes, all of them by default, stopped ones too, and forget them."""
        for name in names or self.names:
            if self.lives(name):
                self.kill(name)
            del self._pids[name]

    def _settles(self, name: str, event: str | None) -> bool:
        """Whether a process ends, or says so, in time."""
        return event is None or wait_until(
            lambda: not self.lives(name) or bool(self.said(name, event)), READY_WITHIN
        )
