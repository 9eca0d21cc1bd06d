"""Billing: emits the history, event by event, through every outage of the database and of the API."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.exc import DBAPIError

import outbox
from services.cli.chaos.client import Client
from services.cli.chaos.history import Emission
from services.database import Database

_REST: Final = 0.2  # seconds between two tries while the database is away
_THROUGH_API: Final = 3  # every third event comes through the API, the others in billing's own transactions


class Producer(threading.Thread):
    """Emits as many events as it is allowed to. An event is repeated under its id until its commit is certain."""

    def __init__(self, database: Database, client: Client, emissions: Sequence[Emission]) -> None:
        super().__init__(name="producer", daemon=True)
        self._database = database
        self._client = client
        self._emissions = emissions
        self._allowed = threading.Semaphore(0)
        self._stopped = threading.Event()
        self.acknowledged: dict[UUID, int] = {}
        """What the API has acknowledged: the event, and the number among its document's that it was told."""
        self.failure: Exception | None = None
        """What ended it, other than having nothing left to emit."""

    def allow(self, number: int) -> None:
        """Let it emit so many events more."""
        self._allowed.release(number) if number else None

    def stop(self) -> None:
        """End it, whatever is left."""
        self._stopped.set()
        self._client.stop()
        self._allowed.release()
        self.join()

    def run(self) -> None:
        """Emit until nothing is left."""
        try:
            for emission in self._emissions:
                self._allowed.acquire()
                if self._stopped.is_set():
                    return
                if emission.event_id.int % _THROUGH_API:
                    self.emit(emission)
                elif (number := self._client.emit(emission)) is not None:
                    self.acknowledged[emission.event_id] = number
        except Exception as error:
            self.failure = error

    def emit(self, emission: Emission) -> None:
        """Emit one event in a transaction of billing's own. Any thread may call this."""
        while not self._stopped.is_set():
            try:
                with self._database.transaction(emission.tenant) as connection:
                    outbox.emit(
                        connection,
                        emission.tenant,
                        emission.type,
                        emission.subject,
                        emission.data,
                        event_id=emission.event_id,
                    )
            except DBAPIError:
                self._stopped.wait(_REST)  # it may be committed or not: the same id brings the same answer
            else:
                return
