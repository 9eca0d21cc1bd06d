"""Ears listen to logs, whatever becomes of the files meanwhile."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from deploy.local.process import end, spawn
from services.cli.ear import Ear
from tests.support.deadline import eventually

SAYS = 'import signal; print(\'{"event": "consuming"}\', flush=True); signal.pause()'


def test_a_process_is_heard_when_its_log_was_set_aside_at_its_start(tmp_path: Path) -> None:
    """A process whose log is large begins a new one when it starts again, and what it says there is not missed."""
    log = tmp_path / "workers.log"
    log.write_bytes(b'{"event": "consuming"}\n')
    with log.open("r+b") as written:
        written.truncate(17 * 1024 * 1024)
    ear = Ear(log)
    pid = spawn([sys.executable, "-c", SAYS], log=log)
    try:
        eventually(lambda: list(ear.said("consuming")) == [{"event": "consuming"}], what="it is heard")
    finally:
        end(pid, signal.SIGKILL, 10)
    assert log.with_suffix(".old.log").exists()
