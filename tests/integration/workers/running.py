"""A pool of the fleet's workers in the test's own process, with work that the test chooses."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from uuid import UUID

from services.exceptions.letters import Letter
from services.ledger.runner import Verdict
from tests.support import eventually
from workers import actors
from workers.broker import Broker
from workers.fleet import Fleet
from workers.gate import Gate
from workers.headers import Headers
from workers.pool import Pool
from workers.topology import QueueName

DONE = Verdict(reject=False, code="succeeded", reason="")


def fleet(
    *,
    intake: Callable[[bytes, Headers], object] = lambda body, headers: None,
    run: Callable[[UUID, int], Verdict] = lambda operation_id, attempt: DONE,
    file_letter: Callable[[Letter], object] = lambda letter: None,
    ask_database: Callable[[], object] = lambda: None,
) -> Fleet:
    """A fleet that succeeds at everything except what the test says."""
    return Fleet(intake, run, file_letter, ask_database, notify=lambda _: None)


class Running:
    """Workers at work while the block runs."""

    def __init__(
        self,
        url: str,
        fleet: Fleet,
        *,
        queues: tuple[QueueName, ...] = (QueueName.INTAKE, QueueName.EXPORT),
        threads: int = 2,
        patience: float = 30,
        rest: float = 0,
        time_limit: float = 60,
    ) -> None:
        self.gate = Gate(fleet.ask_database, patience=patience)
        self.broker = Broker(url, self.gate, time_limit=time_limit, rest=rest)
        actors.serve(self.broker, fleet, queues)
        self.pool = Pool(self.broker, threads=threads)

    def __enter__(self) -> Running:
        self.pool.start()
        eventually(lambda: not self.pool.obstacles, what="consuming")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.drain(5)
