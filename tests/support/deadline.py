"""Deadlines: wait on a state, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout: float = 30, *, what: str | None = None) -> T:
    """Ask `predicate` until its answer is true, and return that answer.

    An AssertionError raised by the predicate counts as "not yet". After `timeout` seconds the test fails with
    `what` was awaited and the last answer, or with the predicate's own last AssertionError.
    """
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        refused: AssertionError | None = None
        try:
            answer = predicate()
            if answer:
                return answer
        except AssertionError as not_yet:
            refused = not_yet
        if time.monotonic() > deadline:
            name = what or getattr(predicate, "__qualname__", repr(predicate))
            if refused is not None:
                raise AssertionError(f"{name}: not within {timeout} s") from refused
            raise AssertionError(f"{name}: not within {timeout} s; last answer: {answer!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
