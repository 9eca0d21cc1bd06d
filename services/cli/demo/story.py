"""What the demonstration does, step by step; how it is shown is the narrator's business."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import text

from services.api import keys
from services.cli.demo import billing, company
from services.cli.demo.audit import Findings, audit
from services.cli.demo.billing import TENANT, UNMAPPED
from services.cli.demo.company import Bookkeeper, Psa
from services.cli.demo.psa_books import PsaBooks
from services.cli.demo.view import Snapshot, look
from services.cli.local_fleet import LocalFleet
from services.database import Database, Role

PATIENCE = 90.0  # seconds for one step of the story
GLANCE = 0.1  # seconds between two looks at the state

_LETTERS = text(
    """SELECT count(*) FILTER (WHERE state = 'open') AS open, count(*) FILTER (WHERE replays > 0) AS replayed
         FROM letter WHERE tenant_id = :tenant"""
)


class Narrator(Protocol):
    """Shows where things stand."""

    def say(self, sentence: str) -> None:
        """A new step begins."""

    def show(self, snapshot: Snapshot, expected: int) -> None:
        """The state has been looked at."""


class StoryError(RuntimeError):
    """The demonstration did not get where it should; the message says where it stopped."""


@dataclass(slots=True)
class Ending:
    """How it ended."""

    findings: Findings
    exceptions_open: int
    dead_letters_replayed: int
    payments_received: int

    @property
    def well(self) -> bool:
        """Every document once and to the cent, and nothing left for a person."""
        return self.findings.clean and self.exceptions_open == 0


@dataclass(slots=True)
class Story:
    """One run on a fleet that is up."""

    fleet: LocalFleet
    narrator: Narrator
    count: int
    seed: int

    def run(self) -> Ending:
        """Connect, map, bill, see one fail, mend it, and audit the books. Raises `StoryError`."""
        with Database(
            self.fleet.database_url, Role.FLEET, pool_size=2, application="algasync demo"
        ) as database:
            return self._run(database)

    def _run(self, database: Database) -> Ending:
        psa = Psa(self.fleet.api_url, _key(database))
        self.narrator.say("Connecting the sandbox company through Intuit's pages")
        name = company.connect(psa, self.fleet.control_url)
        bookkeeper = Bookkeeper(self.fleet.sandbox_url, self.fleet.control_url, company.REALM)
        self.narrator.say(f"Connected to {name}. Mapping clients, services, tax and terms")
        company.set_up(psa, bookkeeper)
        books = PsaBooks(self.fleet.database_url)
        try:
            new = self._bill(books)
            billed = books.billed()
            self.narrator.say(f"{new} invoices finalized in billing; {len(billed)} in all are on their way")
            self._mend(database, psa, bookkeeper, len(billed))
            self._wait(
                database, lambda seen: seen.links == len(billed), len(billed), "all invoices in QuickBooks"
            )
            self.narrator.say("Asking the QuickBooks company itself what arrived")
            findings = audit(self.fleet.sandbox_url, company.REALM, bookkeeper.token, billed)
            paid = self._receive(database, psa, bookkeeper, billed)
            seen = self._wait(database, lambda seen: not seen.exceptions, len(billed), "no open exception")
            return Ending(findings, len(seen.exceptions), self._letters(database)[1], paid)
        finally:
            books.close()

    def _bill(self, books: PsaBooks) -> int:
        """A new month's batch; an interrupted one is finished first, because its numbers are the same again."""
        known = len(books.billed())
        batch = known if known % self.count == 0 else known - known % self.count
        month: list[dict[str, Any]] = list(
            billing.invoices(self.count, self.seed + batch, datetime.now(UTC).date(), first=batch + 1)
        )
        return books.finalize(month)

    def _mend(self, database: Database, psa: Psa, bookkeeper: Bookkeeper, expected: int) -> None:
        """One service was never mapped: its invoice fails, becomes a dead letter, and is replayed once mapped."""
        seen = self._wait(
            database,
            lambda seen: bool(seen.exceptions) or seen.links == expected,
            expected,
            "the invoice with the unmapped service to fail",
        )
        if not seen.exceptions:
            return  # mapped in an earlier run
        self._wait_for_letter(database, expected)
        title, happened, _ = seen.exceptions[0]
        self.narrator.say(f"{title}: {happened}")
        self.narrator.say(f"Mapping {UNMAPPED.service_id}; the dead letter is replayed with it")
        if not company.map_services(psa, bookkeeper, [UNMAPPED.service_id]):
            raise StoryError("setting the mapping started nothing again: see `algasync dead-letters list`")

    def _wait_for_letter(self, database: Database, expected: int) -> None:
        self._wait(
            database,
            lambda _: self._letters(database)[0] > 0,
            expected,
            "the failed invoice's dead letter to be filed",
        )

    def _receive(
        self, database: Database, psa: Psa, bookkeeper: Bookkeeper, billed: list[dict[str, Any]]
    ) -> int:
        """The other direction: money that a bookkeeper receives in QuickBooks settles the invoice in billing.

        Returns how many payments arrived.
        """
        open_ = (one for one in billed if one["currency"] == "USD" and company.due(psa, one["id"]))
        invoice = next(open_, None)
        if invoice is None:
            return 0  # earlier runs received them all
        self.narrator.say(f"A bookkeeper receives the money of {invoice['number']} in QuickBooks")
        bookkeeper.receive(invoice["number"])
        psa.send("POST", f"/v1/quickbooks/companies/{company.REALM}/sync", {})
        self._wait(
            database,
            lambda _: company.due(psa, invoice["id"]) == 0,
            len(billed),
            f"{invoice['number']} to be settled in billing",
        )
        self.narrator.say(f"Billing heard of it: nothing is open on {invoice['number']} any more")
        return 1

    def _letters(self, database: Database) -> tuple[int, int]:
        with database.transaction(TENANT) as connection:
            row = connection.execute(_LETTERS, {"tenant": TENANT}).one()
        return row.open, row.replayed

    def _wait(
        self, database: Database, reached: Callable[[Snapshot], bool], expected: int, what: str
    ) -> Snapshot:
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = look(database, TENANT)
            self.narrator.show(seen, expected)
            if reached(seen):
                return seen
            if time.monotonic() > deadline:
                raise StoryError(f"waited {PATIENCE:.0f} s for {what}; now: {seen.line}")
            time.sleep(GLANCE)


def _key(database: Database) -> str:
    """A fresh API key for this run; the last run's is of no use to anybody and is revoked."""
    with database.transaction(TENANT) as connection:
        for known in keys.listed(connection, TENANT):
            if known.revoked_at is None:
                keys.revoke(connection, known.key_id, actor="demo")
        scopes = ["accounting:read", "accounting:manage", "events:write"]
        created = keys.create(connection, TENANT, name="demo", scopes=scopes, actor="demo")
    return created.secret
