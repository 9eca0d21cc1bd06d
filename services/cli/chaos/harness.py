"""One run: a history is told while processes are killed by quota; when all is settled, both books are compared."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text

from services.cli.chaos import acts, checker, evidence, history, killer
from services.cli.chaos.bad_day import BadDay
from services.cli.chaos.bookkeeper import Bookkeeper
from services.cli.chaos.client import Client
from services.cli.chaos.network import Network
from services.cli.chaos.outcome import Outcome, Watch
from services.cli.chaos.producer import Producer
from services.cli.crew import ROLES
from services.cli.stage import Stage, open_stage
from services.database.engine import ALL_TENANTS
from services.inbound import schedule

TENANTS: Final = 6
CONNECTIONS: Final = 120  # of PostgreSQL: more than the fleet needs, and soon exhausted
PATIENCE: Final = 90.0  # seconds in which something must move until all is settled
SETTINGS: Final = {
    # The dead are noticed, and what was lost is sent again, in seconds instead of minutes.
    "ALGASYNC_LEASE_SECONDS": "4",
    "ALGASYNC_CALL_SECONDS": "2",
    "ALGASYNC_RESEND_SECONDS": "4",
    "ALGASYNC_REPUBLISH_SECONDS": "5",
    "ALGASYNC_DRAIN_SECONDS": "10",
}
_LATE: Final = 0.6  # part of the run after which the late service is mapped
_LOOK: Final = 0.25  # seconds
_BEHIND: Final = 200  # events and operations, beyond which an aimed blow waits
_CATCH_UP: Final = 60.0  # seconds, at most

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


class Run:
    """One run; `outcome` is filled as it goes on."""

    def __init__(self, plan: Plan, watch: Watch) -> None:
        self._chance = random.Random(plan.seed)  # noqa: S311 - repeatable by seed
        self._keepers_chance = random.Random(plan.seed + 1)  # noqa: S311 - a thread of its own, repeatable all the same
        self._blows = killer.blows(plan.kills, self._chance)
        self._acts = acts.deal(self._blows, self._chance)
        boundaries = sum(blow.boundary is not None for blow in self._blows)
        spare = boundaries + boundaries // 4  # some are missed and tried again
        spare += sum(acts.budget(act) for dealt in self._acts for act in dealt)
        self._names = [f"chaos-{number}" for number in range(1, TENANTS + 1)]
        self._history = history.tell(plan.seed, plan.documents, self._names, spare)
        self._watch = watch
        self.outcome = Outcome(len(self._history.documents), sum(1 for _ in self._history.all))

    def go(self, folder: Path) -> Outcome:
        """Do it all below `folder`, which keeps data and logs. Raises `StartError`."""
        self._say("starting PostgreSQL, RabbitMQ, the sandbox and the fleet")
        opened = open_stage(
            folder,
            self._names,
            settings=SETTINGS,
            limits=True,
            customers=history.CLIENTS,
            items=history.SERVICES,
            connections=CONNECTIONS,
        )
        with opened as stage, Network(stage.crew) as network:
            stage.arena.callback(network.callback)
            stage.crew.start(*ROLES, "api")
            stage.crew.ready()
            client = Client.with_keys(network.api.url, stage.database, stage.tenants)
            producer = Producer(stage.database, client, self._history.emissions)
            keeper = Bookkeeper(
                stage.database, stage.arena, stage.tenants, self._history.receipts, self._keepers_chance
            )
            producer.start()
            keeper.start()
            try:
                self._work(stage, network, producer, client)
                self._settle(stage, producer, keeper)
            finally:
                producer.stop()
                keeper.stop()
            self._say("comparing both books")
            self.outcome.repeated = client.repeated
            self._compare(stage, keeper, producer)
        return self.outcome

    def _work(self, stage: Stage, network: Network, producer: Producer, client: Client) -> None:
        """Billing goes on from blow to blow, so that the last event is told before the last blow."""
        spare = {name: deque(told) for name, told in self._history.spare.items()}
        day = BadDay(stage, network, producer, client, spare, self._chance, self.outcome, self._watch)
        day.begin()
        parts, events = max(1, len(self._blows)), len(self._history.emissions)
        for number in range(parts):
            producer.allow(events * (number + 1) // parts - events * number // parts)
            if number == int(parts * _LATE):
                day.map_late_service()
            if number < len(self._blows):
                if self._blows[number].boundary is not None:
                    self._catch_up(stage)
                day.strike(number, self._blows[number], self._acts[number])
            self._look(stage)
        day.end()

    def _catch_up(self, stage: Stage) -> None:
        """Wait until the fleet is not far behind, so that it comes in time to the invoice that a blow is aimed at."""
        deadline = time.monotonic() + _CATCH_UP
        while time.monotonic() < deadline:
            now = self._look(stage)
            if now.open + now.outbox < _BEHIND:
                return
            time.sleep(_LOOK)

    def _look(self, stage: Stage) -> Row[Any]:
        """See how far things are, and start again what has ended although nobody killed it."""
        for name in stage.crew.fallen():
            self.outcome.fell[name] += 1
            stage.crew.start(name)
        with stage.database.transaction(ALL_TENANTS) as connection:
            seen = connection.execute(_PROGRESS).one()
        self.outcome.done = seen.done
        self._say("")
        return seen

    def _settle(self, stage: Stage, producer: Producer, keeper: Bookkeeper) -> None:
        """Wait until all is settled, or nothing has moved for long."""
        self._say("waiting until all is settled")
        before, moved = None, time.monotonic()
        asked: dict[UUID, datetime] = {}
        while time.monotonic() - moved < PATIENCE:
            if producer.failure is not None:
                raise producer.failure
            if keeper.failure is not None:
                raise keeper.failure
            if keeper.done and not asked:
                asked = self._ask(stage)
            read = bool(asked) and self._answered(stage, asked)
            now = self._look(stage)
            still = now.open or now.outbox or now.unlettered
            if read and now.applied == self.outcome.events and not still:
                return
            if now != before:
                before, moved = now, time.monotonic()
            time.sleep(_LOOK)
        self._say(f"nothing has moved for {PATIENCE:g} s")

    def _ask(self, stage: Stage) -> dict[UUID, datetime]:
        """Have every company read what its bookkeeper did last; since when, by company."""
        with stage.database.transaction(ALL_TENANTS) as connection:
            companies = [tenant.company_id for tenant in stage.tenants.values()]
            return {company_id: schedule.ask(connection, company_id, "chaos") for company_id in companies}

    def _answered(self, stage: Stage, asked: dict[UUID, datetime]) -> bool:
        with stage.database.transaction(ALL_TENANTS) as connection:
            return all(
                schedule.answer(connection, company_id, since) is not None
                for company_id, since in asked.items()
            )

    def _compare(self, stage: Stage, keeper: Bookkeeper, producer: Producer) -> None:
        self.outcome.acknowledged = len(producer.acknowledged)
        self.outcome.received = sum(len(keeper.received(name)) for name in stage.tenants)
        books = {
            name: evidence.books(stage.arena, tenant.realm, tenant.company_id, keeper.received(name))
            for name, tenant in stage.tenants.items()
        }
        with stage.database.transaction(ALL_TENANTS) as connection:
            ledger = evidence.ledger(connection)
        self.outcome.findings = checker.check(self._history, ledger, books, producer.acknowledged)

    def _say(self, what: str) -> None:
        self._watch(what, self.outcome)
