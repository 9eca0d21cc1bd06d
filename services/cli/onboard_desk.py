"""What every step of `algasync onboard` works with: servers, the open run, the reading with its progress."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.cli import console
from services.cli.console import USAGE, Told

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.connections.clients import Clients
    from services.database import Database
    from services.onboarding.golive import Waiting
    from services.onboarding.runs import Run


@dataclass(frozen=True, slots=True)
class Desk:
    """A person at the wizard."""

    database: Database
    clients: Clients
    run: Run
    actor: str

    def release(self, connection: Connection, tenant: str, cause: str) -> None:
        """Start again what failed for a missing link."""
        from services.onboarding.releases import Releases

        Releases(self.actor, "the wizard linked what it lacked")(connection, tenant, cause)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction of the tenant."""
        with self.database.transaction(self.run.tenant_id) as connection:
            yield connection


@contextmanager
def at_desk(
    tenant: str,
    company: str | None,
    actor: str | None,
    *,
    start: bool = True,
    refresh: bool = False,
    read: bool = True,
    entities: Sequence[str] = (),
) -> Iterator[Desk]:
    """Take the company's run up, or open one, and read what is not read yet; `entities` instead of the usual.

    Without `start` the newest run will do, whatever its state, and nothing is read. `refresh` reads all again.
    """
    from services.cli import wiring
    from services.configuration import configuration
    from services.connections.clients import Clients
    from services.exceptions.attention import ConnectionAttention
    from services.onboarding import runs

    with (
        wiring.fleet_database() as database,
        closing(Clients(database, wiring.intuit(configuration()), ConnectionAttention(), tenant)) as clients,
    ):
        with database.transaction(tenant) as connection:
            company_id = wiring.chosen_company(connection, tenant, company).company_id
            known = [] if start else runs.listed(connection, tenant, company_id)
            run = known[0] if known else runs.start(connection, tenant, company_id, str(actor))
            if refresh:
                run = runs.refresh(connection, run.run_id)
        desk = Desk(database, clients, run, str(actor))
        if start and read:
            read_books(desk, entities)
        yield desk


def go_live(desk: Desk, cutover: date, waiting: str, *, auto_sync: bool = True) -> int:
    """The last step; returns how many documents were marked as handled."""
    from services.onboarding import golive
    from services.outbound.handlers import HANDLERS

    if waiting not in ("export", "handled"):
        said = f"say export or handled, not {waiting!r}"
        raise Told(said, code="invalid_value", field="--waiting", exit_code=USAGE)
    return golive.go_live(
        desk.database,
        desk.run,
        HANDLERS,
        cutover=cutover,
        decision="export" if waiting == "export" else "handled",
        actor=desk.actor,
        auto_sync=auto_sync,
    )


def rows(path: Path) -> list[dict[str, Any]]:
    """The PSA's list from a file: a JSON array of objects, or CSV whose header names the fields."""
    try:
        written = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() != ".json":
            return list(csv.DictReader(written.splitlines(), strict=True))
        found = json.loads(written)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise ValueError("it is no array of objects")
        return found
    except (ValueError, csv.Error, OSError) as unreadable:
        said = f"{path} cannot be read: {unreadable}"
        raise Told(said, code="unreadable", field=str(path), exit_code=USAGE) from None


def standing(desk: Desk) -> dict[str, Any]:
    """Where the run stands."""
    from services.onboarding import customer_matches, customers, history, history_matches, runs

    found = {
        "customers": customer_matches.count(customers.plan(desk.database, desk.run)),
        "history": history_matches.count(history.match(desk.database, desk.run)),
    }
    with desk.transaction() as connection:
        read = list(runs.readings(connection, desk.run.run_id).values())
        return {"run": desk.run, "reading": read, **found, "did": runs.summary(connection, desk.run.run_id)}


def counted(counts: dict[str, int]) -> str:
    """Counts in one line."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def summed(one: Waiting) -> str:
    """What waits, in one line."""
    from messages.money import to_decimal

    side = "before the cutover" if one.before_cutover else "from the cutover on"
    amount = f"{to_decimal(one.total, one.currency)} {one.currency}" if one.currency else "no amount"
    return f"{one.documents} x {one.kind} wait {side}: {amount} ({one.oldest} to {one.newest})"


def read_books(desk: Desk, entities: Sequence[str] = ()) -> None:
    """Read what is not read yet, with a bar for each list on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from services.onboarding import reading
    from services.onboarding.runs import Reading

    bars: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=console.mode.json) as progress:

        def show(now: Reading) -> None:
            if now.entity not in bars:
                bars[now.entity] = progress.add_task(f"Reading {now.entity}", total=now.expected)
            progress.update(bars[now.entity], completed=now.taken, total=max(now.expected, now.taken))

        wanted = entities or reading.BOOKS
        reading.read(desk.database, desk.clients, desk.run, wanted, progress=show)
