"""Random histories with messages handed over in this process, in any order and twice.

What the broker cannot be made to do at will: every order of messages, every choice of what is worked on next, and, as
nothing runs at the same time, the very same history again from its seed, made as short as it can be. Over RabbitMQ the
same histories are told in `test_machine_over_rabbitmq.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from services.database import Database, Role
from tests.integration.outbound.histories import FAULTS, PICK, Histories, repeat
from tests.support.crashes import work_on
from tests.support.sandbox import Sandbox


class ByHand(Histories):
    """Messages lie in a heap until the machine likes to deliver one; operations until it likes to run one."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: list[bytes] = []
        self.delivered: list[bytes] = []

    def emitted(self, body: bytes) -> None:
        """Onto the heap."""
        self.mail.append(body)

    @precondition(lambda self: self.mail)
    @rule(pick=PICK, count=st.integers(1, 6))
    def deliver(self, pick: int, count: int) -> None:
        """Some messages arrive, in any order."""
        for _ in range(min(count, len(self.mail))):
            body = self.mail.pop(pick % len(self.mail))
            self.bench.intake.take_over(body)
            self.delivered.append(body)

    @precondition(lambda self: self.delivered)
    @rule(pick=PICK)
    def deliver_again(self, pick: int) -> None:
        """A message comes twice."""
        self.bench.intake.take_over(self.delivered[pick % len(self.delivered)])

    @rule(pick=PICK, count=st.integers(1, 8))
    def work(self, pick: int, count: int) -> None:
        """Some operations are worked on, in any order, some of them twice."""
        self.bench.make_due()
        due = [one for one in self.bench.operations() if one.state in {"queued", "scheduled"}]
        random.Random(pick).shuffle(due)
        for operation in due[:count]:
            self.bench.run(operation)
        if due:
            self.bench.run(due[0])

    @rule(kind=st.sampled_from(FAULTS), skip=st.integers(0, 2), pick=PICK)
    def fail(self, kind: str, skip: int, pick: int) -> None:
        """One of the next calls fails; there are some."""
        self.bench.trouble(kind, realm=self.bench.realm, method="POST", skip=skip, times=1)
        while self.mail:
            self.deliver(pick, 6)
        self.work(pick, 8)

    def finish(self) -> None:
        """Everything arrives, faults end, and what is left is worked off."""
        while self.mail:
            self.bench.intake.take_over(self.mail.pop())
        for kind in FAULTS:
            self.bench.trouble(kind, realm=self.bench.realm, method="POST", probability=0.2, times=3)
        for pick in range(3):
            self.work(pick, 50)
        self.bench.no_more_troubles()
        self.bench.expire_leases()
        self.bench.reconnect()
        work_on(self.bench)


@pytest.fixture(scope="module")
def machine(module_database_url: str, _sandbox_process: Sandbox) -> Iterator[type[ByHand]]:
    """The machine over the module's servers."""
    _sandbox_process.reset()
    with Database(module_database_url, Role.FLEET, pool_size=5) as database:
        ByHand.database, ByHand.sandbox = database, _sandbox_process
        yield ByHand
    _sandbox_process.reset()


def test_both_books_agree_after_any_history(machine: type[ByHand]) -> None:
    """Whatever happened on the way: each document once, to the cent, with what is on it; or an exception says why."""
    repeat(machine, examples=14, steps=30)
