"""Group commit: what several threads bring at the same time goes into one transaction, carried out by one of them.

While that one works, the next group gathers. Nobody waits for company: who comes alone goes alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger()

T = TypeVar("T")
R = TypeVar("R")

GROUPS = 2  # at a time, so that one that waits for a lock does not hold up the other


class _Brought(Generic[T, R]):
    """What a thread brought; `result` has its one member once it is done in a group."""

    __slots__ = ("result", "settled", "thing")

    def __init__(self, thing: T) -> None:
        self.thing = thing
        self.result: tuple[R] | None = None
        self.settled = threading.Event()  # done, or to be done alone


class GroupCommit(Generic[T, R]):
    """Does things in groups of at most `most`. Safe to use from several threads.

    `do` does a whole group, or raises and leaves nothing done; then everybody does their own thing by themselves, so
    that one bad thing spoils no other.
    """

    def __init__(self, do: Callable[[Sequence[T]], Sequence[R]], most: int) -> None:
        self._do = do
        self._most = most
        self._turns = threading.Semaphore(GROUPS)
        self._waiting: deque[_Brought[T, R]] = deque()

    def __call__(self, thing: T) -> R:
        """What `do` makes of this thing; raises what it raises for this thing alone."""
        mine: _Brought[T, R] = _Brought(thing)
        self._waiting.append(mine)
        # Everybody who brings one thing takes one turn, and a turn takes at least one away: nothing is left over.
        with self._turns:
            self._take_turn()
        mine.settled.wait()
        if mine.result is None:
            return self._do([thing])[0]
        return mine.result[0]

    def _take_turn(self) -> None:
        group: list[_Brought[T, R]] = []
        with suppress(IndexError):  # others have taken the rest
            while len(group) < self._most:
                group.append(self._waiting.popleft())
        try:
            for one, result in zip(
                group, self._do([one.thing for one in group]) if group else (), strict=True
            ):
                one.result = (result,)
        except Exception as error:
            log.info("group_failed", size=len(group), error=type(error).__name__, advice="each goes alone")
        finally:  # also when this thread is interrupted: nobody waits for ever
            for one in group:
                one.settled.set()
