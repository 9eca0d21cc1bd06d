"""The database gate: while PostgreSQL does not answer, this process neither finishes nor fails any message.

One gate a process. Whoever meets the outage shuts it; a thread of its own asks the database until it answers and
opens it again. A message is never blamed for an outage: it is held, and after a while given back to its queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from workers.metrics import GATE

log = structlog.get_logger()

PATIENCE: Final = 30.0  # seconds that consumers hold what they took before they give it back and close
_ASK: Final = 0.5  # seconds between two questions to the database

# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection trouble, shutdown and start-up, no more
# connections or memory or disk, and a server that is read-only because a failover is under way.
_DOWN: Final = ("08", "57P", "53", "25006")


class Gate:
    """Open while the database answers. Safe to use from every thread."""

    def __init__(self, ask: Callable[[], object], *, patience: float = PATIENCE) -> None:
        """`ask` returns when the database answers and raises while it does not."""
        self._ask = ask
        self._patience = patience
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        GATE.set(1)
        self._since = 0.0
        self._closing = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether work may be done."""
        return self._open.is_set()

    @property
    def exhausted(self) -> bool:
        """Whether it has been shut for so long that what is held must go back to its queue."""
        return not self.is_open and time.monotonic() - self._since >= self._patience

    def shut(self, error: BaseException) -> None:
        """Shut the gate because of `error`; it opens by itself once the database answers."""
        with self._lock:
            if not self._open.is_set() or self._closing.is_set():
                return
            self._since = time.monotonic()
            self._open.clear()
            GATE.set(0)
        log.warning("gate_shut", error=type(error).__name__, advice="work waits until PostgreSQL answers")
        threading.Thread(target=self._watch, name="gate", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until it is open, at most so long; returns whether it is."""
        return self._open.wait(seconds)

    def close(self) -> None:
        """Stop asking; the process ends."""
        self._closing.set()

    def _watch(self) -> None:
        while not self._closing.is_set():
            try:
                self._ask()
            except Exception as error:  # whatever it is, the database did not answer
                log.debug("gate_still_shut", error=type(error).__name__)
                self._closing.wait(_ASK)
            else:
                shut_for = time.monotonic() - self._since
                self._open.set()
                GATE.set(1)
                log.warning("gate_open", seconds=round(shut_for, 1))
                return


def database_is_down(error: BaseException | None) -> bool:
    """Whether an exception means that the database cannot be worked with, rather than that it refused something."""
    while error is not None:
        if isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and error.connection_invalidated):
            return True
        cause = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            # without a state the server never answered, e.g. connection refused
            return cause.sqlstate is None or cause.sqlstate.startswith(_DOWN)
        if isinstance(cause, psycopg.Error) and (cause.sqlstate or "").startswith(_DOWN):
            return True
        error = error.__cause__
    return False
