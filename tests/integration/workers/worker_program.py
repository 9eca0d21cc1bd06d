"""A worker process whose work is a line on standard output: `python worker_program.py URL PORT DRAIN`.

An operation of attempt 1 is done at once; one of attempt 2 hangs.
"""

from __future__ import annotations

import sys
import threading
from uuid import UUID

from services.ledger.runner import Verdict
from workers import process
from workers.fleet import Fleet
from workers.topology import QueueName


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def _run(operation_id: UUID, attempt: int) -> Verdict:
    _say("begun", operation_id, attempt)
    if attempt == 2:
        threading.Event().wait()
    _say("done", operation_id, attempt)
    return Verdict(reject=False, code="succeeded", reason="")


def _nothing(*_: object) -> None:
    """No event, letter or database is part of this."""


if __name__ == "__main__":
    url, port, drain = sys.argv[1:]
    sys.exit(
        process.run(
            url,
            Fleet(intake=_nothing, run=_run, file_letter=_nothing, ask_database=_nothing, notify=_nothing),
            queues=[QueueName.EXPORT],
            threads=1,
            call_seconds=30,
            lease_seconds=60,
            drain_seconds=float(drain),
            port=int(port),
        )
    )
