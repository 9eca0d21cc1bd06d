"""Carrying out acts: each lasts as long as a `with` block, and counts only if the fleet has felt it."""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Final

import requests
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.cli.chaos import acts, clock, crowd, transactions
from services.cli.chaos.acts import Act
from services.cli.chaos.client import Client
from services.cli.chaos.history import Emission
from services.cli.chaos.network import Network
from services.cli.chaos.outcome import Outcome
from services.cli.chaos.producer import Producer
from services.cli.ear import Ear
from services.cli.stage import Stage, Tenant

_FELT_WITHIN: Final = 30.0  # seconds
_BILL_EVERY: Final = 0.4  # seconds, while an act waits to be felt
_LOOK: Final = 0.1  # seconds
_HTTP_STALL: Final = 3.0  # seconds: longer than a call may take
_AMQP_STALLS: Final = (2.0, 11.0)  # seconds: shorter and longer than the relay's patience with confirms
_FULL: Final = 2.0  # seconds beyond the first refusal
_TRANSACTION: Final = 5.0  # seconds: longer than a lease
_LATE: Final = 2  # events that a late transaction emits
_SKEWED: Final = ("workers", "relay", "dispatcher", "scheduler", "api")
_AHEAD: Final = (-86_400, -3_600, -420, 420, 3_600, 86_400)  # seconds
_SKEW_TOLERANCE: Final = 120.0  # seconds
_DRAIN: Final = 15.0  # seconds
_STATE: Final = text("SELECT state FROM company WHERE company_id = :id")


class Troublemaker:
    """Does to a stage what nobody's death explains. `spare` are invoices that make work for an act to meet."""

    def __init__(
        self,
        stage: Stage,
        network: Network,
        producer: Producer,
        client: Client,
        spare: Mapping[str, deque[Emission]],
        chance: random.Random,
        outcome: Outcome,
    ) -> None:
        self._stage = stage
        self._crew = stage.crew
        self._network = network
        self._producer = producer
        self._client = client
        self._spare = spare
        self._chance = chance
        self._outcome = outcome
        self._amqp_stalls = cycle(_AMQP_STALLS)
        self._skewed = cycle(_SKEWED)
        self._missed = False
        self._url = stage.crew.settings["DATABASE_URL"]
        self._clock = stage.crew.folder / "clock"
        self._clock.mkdir()
        (self._clock / "sitecustomize.py").write_bytes(Path(clock.__file__).read_bytes())

    @contextmanager
    def lasting(self, act: Act) -> Iterator[None]:
        """Do it, wait until the fleet has met it, and keep it up until the block ends."""
        tenant = self.richest()
        bill = _Billing(lambda: self._bill(tenant), acts.budget(act))
        self._missed = False
        trouble: AbstractContextManager[None] = getattr(self, f"_{act}")(tenant, bill)
        with trouble:
            (self._outcome.not_felt if self._missed else self._outcome.acts)[act] += 1
            yield

    def richest(self) -> Tenant:
        """The tenant with most to spare."""
        return self._stage.tenants[max(self._spare, key=lambda name: len(self._spare[name]))]

    # --- the network ----------------------------------------------------------------------------------------

    @contextmanager
    def _http_cut(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        self._felt("http_connections_cut", lambda: sum(one.cut() for one in self._network.http), bill)
        yield

    @contextmanager
    def _http_stall(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        quickbooks, before = self._network.quickbooks, self._network.quickbooks.held
        try:
            for one in self._network.http:
                one.stall(answers=True)
            self._felt("http_held_back", lambda: quickbooks.held - before, bill, _HTTP_STALL)
            yield
        finally:
            for one in self._network.http:
                one.flow()

    @contextmanager
    def _amqp_stall(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        workers, senders = self._network.amqp
        before = senders.held
        try:
            workers.stall(answers=True)
            senders.stall(answers=True)
            self._felt("amqp_held_back", lambda: senders.held - before, bill, next(self._amqp_stalls))
            yield
        finally:
            workers.flow()
            senders.flow()

    # --- servers that take no more --------------------------------------------------------------------------

    @contextmanager
    def _queue_full(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        """Calls hang, so that commands are sent again; then no worker reaches the broker any more."""
        relay, dispatcher = self._ear("relay"), self._ear("dispatcher")
        workers, quickbooks, before = (
            self._network.workers,
            self._network.quickbooks,
            self._network.quickbooks.held,
        )
        try:
            quickbooks.stall()
            for _ in range(acts.budget(Act.QUEUE_FULL) // 2):
                bill.one()
            self._wait(lambda: quickbooks.held - before > 1)
            workers.stall(answers=True)
            workers.cut()
            quickbooks.flow()
            with crowd.queues_full(self._stage.node, "intake", "export"):
                self._felt("nacks_to_relay", lambda: _sum(relay, "refused_by_broker", "events"), bill, _FULL)
                self._felt(
                    "nacks_to_dispatcher", lambda: _sum(dispatcher, "commands_not_confirmed", "count"), bill
                )
                yield
        finally:
            quickbooks.flow()
            workers.flow()

    @contextmanager
    def _postgresql_full(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        log = Ear(self._stage.server.log)
        with crowd.postgresql_full(self._url) as ours:
            self._felt("refused_by_postgresql", lambda: log.count("too many clients") - ours, bill, _FULL)
            yield
        self._stage.database.engine.dispose()  # its connections were taken away, too

    @contextmanager
    def _broker_full(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        log = Ear(self._stage.node.log)
        with crowd.broker_full(self._stage.node, *self._network.amqp):
            self._felt("refused_by_broker", lambda: log.count("connection limit"), bill, _FULL)
            yield

    @contextmanager
    def _long_transaction(self, tenant: Tenant, bill: _Billing) -> Iterator[None]:
        began, late = time.monotonic(), self._take(tenant.name, _LATE)
        with (
            transactions.late_commit(self._url, late, self._producer),
            transactions.rows_locked(self._url, tenant.name, tenant.company_id) as locks,
        ):
            self._felt("sessions_held_up", locks.waiting, bill)
            yield
            time.sleep(max(0.0, began + _TRANSACTION - time.monotonic()))
        self._outcome.evidence["committed_late"] += len(late)

    # --- clocks and tokens ----------------------------------------------------------------------------------

    @contextmanager
    def _clock_skew(self, _tenant: Tenant, bill: _Billing) -> Iterator[None]:
        role, ahead = next(self._skewed), self._chance.choice(_AHEAD)
        settings = self._crew.of_role.setdefault(role, {})
        path = filter(None, (str(self._clock), os.environ.get("PYTHONPATH")))
        settings |= {"PYTHONPATH": os.pathsep.join(path), clock.SETTING: str(ahead)}
        self._crew.drain(role, _DRAIN)
        ear = self._ear(role)
        self._crew.start(role)
        self._felt("lines_under_wrong_clocks", lambda: sum(_skewed(ear, ahead)), bill)
        yield

    @contextmanager
    def _access_expired(self, tenant: Tenant, bill: _Billing) -> Iterator[None]:
        def refreshes() -> int:
            return int(self._control("GET", "/counters")["oauth"].get("refreshes", 0))

        before = refreshes()
        self._control("POST", f"/companies/{tenant.realm}/tokens", {"action": "expire_access"})
        self._felt("refreshes", lambda: refreshes() - before, bill)
        yield

    @contextmanager
    def _token_revoked(self, tenant: Tenant, bill: _Billing) -> Iterator[None]:
        def expired() -> int:
            try:
                with self._stage.database.transaction(tenant.name) as connection:
                    state = connection.execute(_STATE, {"id": tenant.company_id}).scalar_one()
            except DBAPIError:
                return 0
            return int(state == "expired")

        self._control("POST", f"/companies/{tenant.realm}/tokens", {"action": "revoke"})
        try:
            self._felt("companies_expired", expired, bill)
            yield
        finally:
            self._client.reconnect(tenant.name, tenant.realm)

    # --- helpers --------------------------------------------------------------------------------------------

    def _felt(self, evidence: str, count: Callable[[], int], bill: _Billing, longer: float = 0.0) -> None:
        """Wait until it is more than nothing, and so many seconds longer, and note it.

        The act is missed when it takes too long to be felt.
        """
        seen = 0

        def felt() -> bool:
            nonlocal seen
            seen = count()
            return seen > 0 or bill.now_and_then()

        self._wait(felt)
        if longer:
            time.sleep(longer)
            seen = count()
        self._missed = self._missed or seen <= 0
        self._outcome.evidence[evidence] += max(0, seen)

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _FELT_WITHIN
        while not condition() and time.monotonic() < deadline:
            time.sleep(_LOOK)

    def _bill(self, tenant: Tenant) -> None:
        """Bill an invoice of this tenant, or of another one when it has none to spare."""
        for emission in self._take(tenant.name, 1) or self._take(self.richest().name, 1):
            self._producer.emit(emission)

    def _take(self, tenant: str, number: int) -> list[Emission]:
        spare = self._spare[tenant]
        return [spare.popleft() for _ in range(min(number, len(spare)))]

    def _ear(self, name: str) -> Ear:
        return Ear(self._crew.log(name))

    def _control(self, method: str, path: str, body: object = None) -> dict[str, dict[str, int]]:
        answer = requests.request(method, self._stage.arena.control + path, json=body, timeout=30)
        answer.raise_for_status()
        return dict(answer.json())


class _Billing:
    """Bills at most `budget` times."""

    def __init__(self, bill: Callable[[], None], budget: int) -> None:
        self._bill = bill
        self._left = budget
        self._next = 0.0

    def one(self) -> None:
        """Bill once more, if that is left."""
        if self._left:
            self._left -= 1
            self._bill()

    def now_and_then(self) -> bool:
        """Bill if the last time was some time ago; False, for whoever waits."""
        if time.monotonic() >= self._next:
            self.one()
            self._next = time.monotonic() + _BILL_EVERY
        return False


def _sum(ear: Ear, event: str, field: str) -> int:
    return sum(int(line[field]) for line in ear.said(event))


def _skewed(ear: Ear, ahead: float) -> Iterator[bool]:
    """Of each line, whether it was written under a clock that is so far ahead."""
    now = datetime.now(UTC)
    for line in ear.said():
        if "timestamp" in line:
            off = (datetime.fromisoformat(line["timestamp"]) - now).total_seconds() - ahead
            yield abs(off) < _SKEW_TOLERANCE
