"""Group commit: nothing is left over, nothing is done twice, and one bad thing spoils no other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.ledger.group_commit import GROUPS, GroupCommit
from tests.support.deadline import eventually


class Bench:
    """Does numbers by doubling them; waits at a gate, and refuses a group that holds a bad one."""

    def __init__(self, bad: int = -1) -> None:
        self.gate = threading.Event()
        self.groups: list[list[int]] = []
        self._bad = bad

    def do(self, numbers: Sequence[int]) -> list[int]:
        """Double them all, or none."""
        self.groups.append(list(numbers))
        assert self.gate.wait(10)
        if self._bad in numbers:
            raise ValueError(f"{self._bad} is bad")
        return [number * 2 for number in numbers]


def test_what_comes_meanwhile_goes_together() -> None:
    """Everybody gets their own result, in groups no larger than allowed, and nobody's thing is done twice."""
    bench = Bench()
    grouped = GroupCommit(bench.do, most=5)
    with ThreadPoolExecutor(30) as threads:
        results = [threads.submit(grouped, number) for number in range(30)]
        eventually(lambda: len(bench.groups) == GROUPS)
        bench.gate.set()
        assert [result.result(10) for result in results] == [number * 2 for number in range(30)]
    assert max(map(len, bench.groups)) <= 5
    assert sorted(number for group in bench.groups for number in group) == list(range(30))


def test_who_comes_alone_waits_for_nobody() -> None:
    """A single thing is a group of its own."""
    bench = Bench()
    bench.gate.set()
    assert GroupCommit(bench.do, most=5)(7) == 14
    assert bench.groups == [[7]]


def test_one_bad_thing_spoils_no_other() -> None:
    """A group that fails is done again one by one: only the bad one's owner hears of it."""
    bench = Bench(bad=13)
    grouped = GroupCommit(bench.do, most=50)
    with ThreadPoolExecutor(30) as threads:
        results = {number: threads.submit(grouped, number) for number in range(30)}
        eventually(lambda: len(bench.groups) == GROUPS)
        bench.gate.set()
        with pytest.raises(ValueError, match="13 is bad"):
            results.pop(13).result(10)
        assert {number: result.result(10) for number, result in results.items()} == {
            number: number * 2 for number in results
        }


def test_nobody_waits_for_a_thread_that_was_interrupted() -> None:
    """An interruption of the thread that works for others leaves their things to themselves."""

    class Interrupted(BaseException):
        pass

    calls: list[list[int]] = []

    def do(numbers: Sequence[int]) -> list[int]:
        calls.append(list(numbers))
        if len(calls) == 1:
            raise Interrupted
        return list(numbers)

    grouped = GroupCommit(do, most=5)
    with pytest.raises(Interrupted):
        grouped(1)
    assert grouped(2) == 2
