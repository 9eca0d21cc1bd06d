"""The bad day: processes are killed and stopped, a disk is lost, QuickBooks has trouble, and acts come on top."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Final

from services.cli.chaos import acts, history
from services.cli.chaos.acts import Act
from services.cli.chaos.boundaries import Aim, Boundaries, Boundary, NotReached
from services.cli.chaos.client import Client
from services.cli.chaos.history import Emission
from services.cli.chaos.killer import Blow
from services.cli.chaos.network import Network
from services.cli.chaos.outcome import Outcome, Watch
from services.cli.chaos.producer import Producer
from services.cli.chaos.troublemaker import Troublemaker
from services.cli.stage import Stage

_LONG: Final = 7.0  # seconds that a process is stopped: longer than its leases
_DRAIN: Final = 15.0  # seconds
_TRIES: Final = 3  # to bring a worker to a boundary, each with an invoice of its own
_STOPPED: Final = ("workers", "relay", "dispatcher")


class BadDay:
    """Strikes at a stage. `spare` are invoices to hold workers up with, and to make work for troubles to meet."""

    def __init__(
        self,
        stage: Stage,
        network: Network,
        producer: Producer,
        client: Client,
        spare: Mapping[str, deque[Emission]],
        chance: random.Random,
        outcome: Outcome,
        watch: Watch,
    ) -> None:
        self._stage = stage
        self._crew = stage.crew
        self._network = network
        self._producer = producer
        self._client = client
        self._boundaries = Boundaries(stage.arena, stage.crew.settings["DATABASE_URL"], network.workers)
        self._troubles = Troublemaker(stage, network, producer, client, spare, chance, outcome)
        self._spare = spare
        self._chance = chance
        self._outcome = outcome
        self._watch = watch
        self._stops = cycle(_STOPPED)

    def begin(self) -> None:
        """QuickBooks is slow, fails, and loses connections before and after it acted."""
        for kind, probability, jitter in (
            ("latency", 0.2, 0.5),
            ("server_error", 0.01, 0),
            ("cut_before", 0.01, 0),
            ("cut_after", 0.01, 0),
            ("hang_after", 0.005, 0),
        ):
            self._stage.arena.trouble(
                kind, probability=probability, jitter_seconds=jitter, method="POST", path="/v3/company"
            )

    def end(self) -> None:
        """QuickBooks is well again, and all that was to be told is told."""
        self._stage.arena.no_more_troubles()
        for told in self._spare.values():
            while told:
                self._producer.emit(told.popleft())
        for tenant in self._stage.tenants:
            self._outcome.retried += self._client.retry(tenant)

    def map_late_service(self) -> None:
        """What failed for want of the mapping goes on; what comes later finds it."""
        for tenant in self._stage.tenants.values():
            self._stage.arena.map(tenant.name, tenant.company_id, "item", history.LATE_SERVICE, "4")

    def strike(self, number: int, blow: Blow, troubles: Sequence[Act] = ()) -> None:
        """Strike at any moment, in the middle of the last of the troubles where that can be."""
        time.sleep(self._chance.random() / 2)
        for place, act in enumerate(troubles, start=1):
            self._say(f"making trouble: {act}")
            with self._troubles.lasting(act):
                if place == len(troubles) and acts.falls_into(blow, act):
                    self._hit(blow)
        if not troubles or not acts.falls_into(blow, troubles[-1]):
            self._hit(blow)
        if number % 10 == 4:
            self._stop_for_long(next(self._stops))
        if number % 7 == 3:
            for proxy in self._network.amqp:
                proxy.cut()
            self._outcome.cuts += 1
        if blow.role == "api":
            for tenant in self._stage.tenants:
                self._outcome.retried += self._client.retry(tenant)

    def _hit(self, blow: Blow) -> None:
        """Some blows are followed by more than a kill."""
        self._say(f"killing {blow.role}{f' {blow.boundary}' if blow.boundary else ''}")
        self._outcome.kills[blow.role] += 1
        if blow.role == "database":
            self._kill_database()
        elif blow.role == "broker":
            self._kill_broker(wipe=blow.wipe)
        elif blow.boundary is not None:
            self._kill_worker_at(blow.boundary)
        else:
            self._crew.restart(blow.role)

    def _kill_database(self) -> None:
        self._stage.server.kill()
        time.sleep(self._chance.random())
        self._stage.server.start(dies_with_parent=True)
        self._stage.database.engine.dispose()

    def _kill_broker(self, *, wipe: bool) -> None:
        self._stage.node.kill()
        if wipe:
            self._stage.node.wipe()
        self._stage.node.start(dies_with_parent=True)
        if wipe:
            self._stage.recover()
            self._outcome.wipes += 1

    def _kill_worker_at(self, boundary: Boundary) -> None:
        """Kill the worker when it stands there; it dies anyway when none comes there however often we try."""
        self._crew.ready("workers")
        if not any(self._killed_at(boundary) for _ in range(_TRIES)):
            self._crew.kill("workers")
        self._crew.start("workers")

    def _killed_at(self, boundary: Boundary) -> bool:
        """Whether a worker came there, with an invoice of the tenant that has most to spare, and was killed."""
        tenant = self._troubles.richest()

        def bill() -> str:
            if not self._spare[tenant.name]:
                raise NotReached("no invoice is left to bring a worker there")
            emission = self._spare[tenant.name].popleft()
            self._producer.emit(emission)
            return emission.subject

        try:
            with self._boundaries.held(boundary, Aim(tenant.name, tenant.company_id, tenant.realm, bill)):
                self._crew.kill("workers")
        except NotReached as missed:
            self._say(f"{boundary} not reached: {missed}")
            self._outcome.not_reached[boundary] += 1
            return False
        self._outcome.boundaries[boundary] += 1
        return True

    def _stop_for_long(self, name: str) -> None:
        """It sleeps through its leases and locks. For a worker another one goes on, and is drained afterwards."""
        self._say(f"stopping {name} beyond its leases")
        self._crew.ready(name)
        self._crew.stop(name)
        if name == "workers":
            self._crew.start("workers-2")
        time.sleep(_LONG)
        self._crew.go_on(name)
        if name == "workers":
            self._crew.drain("workers-2", _DRAIN)
            self._crew.end("workers-2")
        self._outcome.stops[name] += 1

    def _say(self, what: str) -> None:
        self._watch(what, self._outcome)
