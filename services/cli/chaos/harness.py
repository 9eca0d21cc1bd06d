"""One run: a history is told while processes are killed by quota; when all is settled, both books are compared."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Final

from sqlalchemy import text

from services.cli.chaos import checker, evidence, history, killer
from services.cli.chaos.boundaries import Aim, Boundary, NotReached
from services.cli.chaos.checker import Finding
from services.cli.chaos.history import Emission
from services.cli.chaos.killer import Blow
from services.cli.chaos.producer import Producer
from services.cli.chaos.stage import LEASE, Stage, open_stage
from services.database.engine import ALL_TENANTS

TENANTS: Final = 6
PATIENCE: Final = 90.0  # seconds in which something must move until all is settled
_LATE: Final = 0.6  # part of the run after which the late service is mapped
_LOOK: Final = 0.25  # seconds

_PROGRESS: Final = text(
    """SELECT (SELECT count(*) FROM event WHERE state = 'applied') AS applied,
              (SELECT count(*) FROM operation WHERE state IN ('succeeded', 'skipped')) AS done,
              (SELECT count(*) FROM operation WHERE state IN ('queued', 'running', 'waiting', 'scheduled')) AS open,
              (SELECT count(*) FROM outbox_event) AS outbox,
              (SELECT count(*) FROM operation o WHERE state = 'failed' AND NOT EXISTS (
                 SELECT FROM letter l WHERE l.operation_id = o.operation_id AND l.attempt = o.attempt)) AS unlettered"""
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    kills: int
    documents: int
    seed: int


@dataclass(slots=True)
class Outcome:
    """What a run did and found; `fell` are processes that ended although nobody killed them."""

    documents: int
    events: int
    kills: Counter[str] = field(default_factory=Counter)
    boundaries: Counter[str] = field(default_factory=Counter)
    not_reached: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    fell: Counter[str] = field(default_factory=Counter)
    wipes: int = 0
    cuts: int = 0
    done: int = 0  # operations, as the last look saw them
    findings: list[Finding] = field(default_factory=list)


Watch = Callable[[str, Outcome], None]
"""Told what happens next, and how far the run is."""


class Run:
    """One run."""

    def __init__(self, plan: Plan, watch: Watch) -> None:
        chance = random.Random(plan.seed)  # noqa: S311 - repeatable by seed
        self._chance = chance
        self._blows = killer.blows(plan.kills, chance)
        aimed = sum(blow.boundary is not None for blow in self._blows)
        self._names = [f"chaos-{number}" for number in range(1, TENANTS + 1)]
        self._history = history.tell(plan.seed, plan.documents, self._names, aimed)
        self._spare = {name: deque(told) for name, told in self._history.spare.items()}
        self._watch = watch
        self.outcome = Outcome(len(self._history.documents), sum(1 for _ in self._history.all))

    def go(self, folder: Path) -> Outcome:
        """Do it all below `folder`, which keeps data and logs. Raises `StartError`."""
        self._say("starting PostgreSQL, RabbitMQ, the sandbox and the fleet")
        with open_stage(folder, self._names) as stage:
            producer = Producer(stage.database, self._history.emissions)
            producer.start()
            try:
                self._bad_day(stage, producer)
                self._settle(stage, producer)
            finally:
                producer.stop()
            self._say("comparing both books")
            books = {
                name: evidence.books(stage.arena, tenant.realm, tenant.company_id)
                for name, tenant in stage.tenants.items()
            }
            with stage.database.transaction(ALL_TENANTS) as connection:
                ledger = evidence.ledger(connection)
            self.outcome.findings = checker.check(self._history, ledger, books)
        return self.outcome

    # --- the bad day ------------------------------------------------------------------------------------

    def _bad_day(self, stage: Stage, producer: Producer) -> None:
        self._trouble(stage)
        stopped = cycle(("workers", "relay", "dispatcher"))
        late = int(len(self._blows) * _LATE)
        for index, blow in enumerate(self._blows):
            producer.allow(self._share(index))
            time.sleep(self._chance.random() / 2)  # any moment will do
            if index == late:
                self._map_late_service(stage)
            self._strike(stage, producer, blow)
            if index % 10 == 4:
                self._stop_for_long(stage, next(stopped))
            if index % 7 == 3:
                stage.proxy.cut()
                self.outcome.cuts += 1
            self._look(stage)
        if not self._blows:
            producer.allow(len(self._history.emissions))
            self._map_late_service(stage)

    def _share(self, index: int) -> int:
        """How many events are emitted before a blow, so that the last are emitted before the last."""
        events, parts = len(self._history.emissions), len(self._blows)
        return events * (index + 1) // parts - events * index // parts

    def _trouble(self, stage: Stage) -> None:
        """QuickBooks on a bad day: slow, failing, cut off before and after it acted, silent."""
        for kind, probability, jitter in (
            ("latency", 0.2, 0.5),
            ("server_error", 0.01, 0),
            ("cut_before", 0.01, 0),
            ("cut_after", 0.01, 0),
            ("hang_after", 0.005, 0),
        ):
            stage.arena.trouble(
                kind, probability=probability, jitter_seconds=jitter, method="POST", path="/v3/company"
            )

    def _map_late_service(self, stage: Stage) -> None:
        """What failed for want of the mapping goes on; what comes later finds it."""
        for tenant in stage.tenants.values():
            stage.arena.map(tenant.name, tenant.company_id, "item", history.LATE_SERVICE, "4")

    def _strike(self, stage: Stage, producer: Producer, blow: Blow) -> None:
        self._say(f"killing {blow.role}{f' {blow.boundary}' if blow.boundary else ''}")
        self.outcome.kills[blow.role] += 1
        if blow.role == "database":
            stage.server.kill()
            time.sleep(self._chance.random())
            stage.server.start(dies_with_parent=True)
            stage.database.engine.dispose()
        elif blow.role == "broker":
            stage.node.kill()
            if blow.wipe:
                stage.node.wipe()
            stage.node.start(dies_with_parent=True)
            if blow.wipe:
                stage.recover()
                self.outcome.wipes += 1
        elif blow.boundary is not None:
            self._strike_worker(stage, producer, blow.boundary)
        else:
            stage.crew.kill(blow.role)
            stage.start(blow.role)

    def _strike_worker(self, stage: Stage, producer: Producer, boundary: Boundary) -> None:
        """Kill the worker when it stands there with an invoice of whichever tenant has most to spare."""
        name = max(self._spare, key=lambda one: len(self._spare[one]))
        tenant = stage.tenants[name]

        def bill() -> str:
            emission: Emission = self._spare[name].popleft()
            producer.emit(emission)
            return emission.subject

        stage.crew.ready("workers")
        try:
            with stage.boundaries.held(boundary, Aim(name, tenant.company_id, tenant.realm, bill)):
                stage.crew.kill("workers")
            self.outcome.boundaries[boundary] += 1
        except NotReached as missed:
            self._say(f"{boundary} not reached: {missed}")
            self.outcome.not_reached[boundary] += 1
            stage.crew.kill("workers")
        stage.start("workers")

    def _stop_for_long(self, stage: Stage, name: str) -> None:
        """A process sleeps through its leases and locks; another worker goes on meanwhile, and is drained after."""
        self._say(f"stopping {name} beyond its leases")
        stage.crew.ready(name)
        stage.crew.stop(name)
        if name == "workers":
            stage.start("workers-2")
        time.sleep(LEASE + 3)
        stage.crew.go_on(name)
        if name == "workers":
            stage.crew.drain("workers-2", 15)
            stage.crew.end("workers-2")
        self.outcome.stops[name] += 1

    def _look(self, stage: Stage) -> None:
        """See how far things are, and start again what has ended although nobody killed it."""
        for name in stage.crew.fallen():
            self.outcome.fell[name] += 1
            stage.start(name)
        with stage.database.transaction(ALL_TENANTS) as connection:
            self.outcome.done = connection.execute(_PROGRESS).one().done

    # --- afterwards -------------------------------------------------------------------------------------

    def _settle(self, stage: Stage, producer: Producer) -> None:
        """Tell what is left; wait until all is settled, or nothing has moved for long."""
        stage.arena.no_more_troubles()
        for told in self._spare.values():
            for emission in told:
                producer.emit(emission)
        self._say("waiting until all is settled")
        before, moved = None, time.monotonic()
        while time.monotonic() - moved < PATIENCE:
            if producer.failure is not None:
                raise producer.failure
            with stage.database.transaction(ALL_TENANTS) as connection:
                now = connection.execute(_PROGRESS).one()
            if now.applied == self.outcome.events and not (now.open or now.outbox or now.unlettered):
                return
            if now != before:
                before, moved = now, time.monotonic()
            self._look(stage)
            self._watch("", self.outcome)
            time.sleep(_LOOK)
        self._say(f"nothing has moved for {PATIENCE:g} s")

    def _say(self, what: str) -> None:
        self._watch(what, self.outcome)
