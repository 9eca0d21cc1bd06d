"""`algasync bench growth`: whether the fleet's statements cost more when there is ten and a hundred times as much.

A database is filled in steps. After each, everything the fleet does by itself is done for real (relay, intake,
dispatch, a whole export, each of the scheduler's jobs) and the lists of the API are read, each several times; every
statement is explained with its buffers by PostgreSQL just before it runs. No broker: messages are handed on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID, uuid4

import psycopg
import typer
from psycopg.pq import TransactionStatus

from services.cli import console
from services.cli.bench_crowd import GROWING, Size, fill
from services.cli.options import Json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from services.database import Database

REALM: Final = "9341450000050000"
STEPS: Final = (100, 10, 1)  # parts of the full size
REPEATS: Final = 5  # of everything, at each size; the first of them is not counted
FEED: Final = "accounting_event_2"  # partitions by day
_EXPLAINED: Final = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")


def growth(
    operations: Annotated[
        int,
        typer.Option(
            min=10_000, max=10_000_000, help="Operations at the end; outbox rows are twice as many."
        ),
    ] = 100_000,
    companies: Annotated[int, typer.Option(min=100, max=10_000, help="Companies at the end.")] = 1_000,
    json: Json = False,
) -> None:
    """Do everything the fleet does at a hundredth, a tenth and all of a size; print what each cost.

    `buffers` are pages of 8 kB that PostgreSQL looked at, `ms` the time of its statements; both are medians, and the
    ratio is that of the pages at the last two sizes. `walked` names tables that grow and were read from end to end.
    Uses DATABASE_URL (in a database of its own, dropped afterwards) when it is set, else a private PostgreSQL in a
    temporary folder. A million operations take six minutes.

    Example: algasync bench growth --operations 1000000 --json
    """
    from services.cli import logs
    from services.cli.bench_servers import own_database, servers

    logs.configure("console", "error")
    sizes = [Size(operations // part, max(10, companies // part)) for part in STEPS]
    with (
        servers() as found,
        own_database(found.database_url) as url,
        Bench(url, found.api, found.control) as bench,
    ):
        report = compared(sizes, [bench.at(size) for size in sizes])
    if console.mode.json:
        console.result(report)
        return
    console.table(
        ["WHAT", *(f"{size.operations:,}" for size in sizes), "RATIO", "WALKED"],
        (
            [
                row["what"],
                *(f"{one['buffers']:,} / {one['ms']:,} ms" for one in row["at"]),
                row["ratio"],
                ", ".join(row["walked"]),
            ]
            for row in report["costs"]
        ),
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """What one act cost: statements, pages looked at, milliseconds; and growing tables that were read whole."""

    statements: int
    buffers: int
    ms: float
    walked: frozenset[str]


@dataclass(slots=True)
class Watch:
    """Explains every statement of a connection just before it runs, and adds up what PostgreSQL says."""

    statements: int = 0
    buffers: int = 0
    ms: float = 0.0
    walked: set[str] = field(default_factory=set)

    def explain(self, session: psycopg.Connection[Any], query: Any, values: Any) -> None:
        """Run a statement for its plan, and undo it."""
        text = query.decode() if isinstance(query, bytes) else str(query)
        if session.info.transaction_status != TransactionStatus.INTRANS or not text.lstrip().startswith(
            _EXPLAINED
        ):
            return
        explained = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {text}"
        with psycopg.Cursor(session) as cursor:
            cursor.execute("SAVEPOINT explained")
            row = cursor.execute(explained.encode(), values).fetchone()
            cursor.execute("ROLLBACK TO SAVEPOINT explained")
        assert row is not None
        told = row[0][0]
        self.statements += 1
        self.buffers += told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"]
        self.ms += told["Execution Time"]
        self.walked |= {one for one in _walked(told["Plan"]) if one in GROWING or one.startswith(FEED)}

    def cost(self) -> Cost:
        """What was seen since the last time."""
        seen = Cost(self.statements, self.buffers, self.ms, frozenset(self.walked))
        self.statements, self.buffers, self.ms = 0, 0, 0.0
        self.walked.clear()
        return seen


class Bench:
    """A fleet's parts over one database that fills, and everything they do by themselves, in turn."""

    def __init__(self, database_url: str, api: str, control: str) -> None:
        from cryptography.fernet import Fernet
        from psycopg.conninfo import make_conninfo
        from pydantic import SecretStr

        from outbox.relay import OPTIONS
        from services.cli.arena import Arena
        from services.cli.jobs import jobs
        from services.cli.parts import parts
        from services.configuration import Configuration
        from services.connections.vault import Vault
        from services.database import Database, Role, migrate

        migrate(database_url)
        configuration = Configuration(
            database_url=database_url,
            quickbooks_api_url=api,
            quickbooks_token_url=f"{api}/oauth2/v1/tokens/bearer",
            secret_keys=[SecretStr(Fernet.generate_key().decode())],
        )
        self._parts = parts(configuration, threads=1, application="algasync bench")
        self._jobs = jobs(self._parts)
        self._api = Database(database_url, Role.API, pool_size=2, application="algasync bench api")
        self._watch = Watch()
        explaining = _explaining(self._watch)
        for database in (self._parts.database, self._api):
            _watch(database, explaining)
        self._relays = psycopg.connect(
            make_conninfo(database_url, options=OPTIONS), cursor_factory=explaining
        )  # a relay has plans of its own
        self._quiet = Database(database_url, Role.FLEET, pool_size=2, application="algasync bench stage")
        self._tenant = f"bench-{uuid4().hex[:8]}"
        self._arena = Arena(control, self._quiet, Vault.of(configuration))
        self._arena.prepare(limits=False)
        self._company = self._arena.join(self._tenant, REALM)
        self._size = Size(0, 1)
        self._floors: dict[Any, Any] = {}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._relays.close()
        self._parts.close()
        self._api.close()
        self._quiet.close()

    def at(self, size: Size) -> dict[str, Cost]:
        """Grow to this size, and do everything several times; the medians."""
        console.note(f"filling up to {size.operations:,} operations of {size.companies:,} companies ...")
        began = time.monotonic()
        fill(self._quiet, self._tenant, self._company, self._size, size)
        console.note(f"filled in {time.monotonic() - began:.0f} s; measuring ...")
        self._size, self._floors = size, {}
        seen: dict[str, list[Cost]] = {}
        for _ in range(REPEATS):
            for what, cost in self._everything():
                seen.setdefault(what, []).append(cost)
        return {what: _median(costs[1:]) for what, costs in seen.items()}

    # --- what the fleet does ----------------------------------------------------------------------------

    def _everything(self) -> Iterator[tuple[str, Cost]]:
        for acts in (self._relay, self._document, self._jobs_once, self._lists):
            for what, act in acts():
                act()
                yield what, self._watch.cost()

    def _relay(self) -> Iterator[tuple[str, Callable[[], object]]]:
        from outbox import republication, store
        from services.database.statement import driver

        def session(work: Callable[[Any], object]) -> Callable[[], object]:
            def act() -> object:
                with self._relays.transaction():
                    return work(self._relays)

            return act

        def claim(session: Any) -> None:
            streams = [store.Stream(f"t-{number}", "billing") for number in range(1, 10)]
            streams.append(store.Stream(self._tenant, "billing"))
            wanted = [store.Wanted(one, self._floors.get(one, store.START), 100) for one in streams]
            self._floors |= store.claim(session, wanted, 180).passed

        under_way: list[str] = []
        with self._quiet.transaction("*") as connection:
            rows = driver(connection).execute(_UNDER_WAY).fetchall()
            under_way = [str(row[0]) for row in rows]
        yield "relay: notice 20,000 new", session(lambda one: store.discover(one, store.Seen()))
        yield "relay: claim 1,000", session(claim)
        yield "relay: forget what arrived", session(lambda one: store.sweep(one, under_way))
        yield "relay: anything due again", session(lambda one: republication.first_due(one, "-infinity"))

    def _document(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """One invoice from commit to link."""
        from sqlalchemy import text

        import outbox
        from services.cli.bench_invoice import invoice
        from services.ledger import dispatch

        database, name = self._parts.database, f"new-{uuid4().hex}"
        body = b""
        sent: list[dispatch.Command] = []

        def emit() -> None:
            with database.transaction(self._tenant) as connection:
                outbox.emit(
                    connection,
                    self._tenant,
                    "invoice.finalized.v1",
                    name,
                    invoice() | {"id": name, "number": name[:20]},
                )

        def due() -> None:
            with database.transaction("*") as connection:
                sent.extend(dispatch.due(connection, in_flight=8, limit=500))

        def mark() -> None:
            with database.transaction("*") as connection:
                dispatch.sent(connection, sent, resend=_MINUTE)
                connection.rollback()  # or the next round found everybody's hands full

        yield "billing: emit", emit
        with self._quiet.transaction(self._tenant) as connection:
            said = text("SELECT body FROM outbox_event WHERE subject = :name")
            body = connection.execute(said, {"name": name}).scalar_one().encode()
        yield "intake", lambda: self._parts.intake.take_over(body)
        yield "dispatch: what is due", due
        yield "dispatch: mark as sent", mark
        with self._quiet.transaction(self._tenant) as connection:
            opened = text("SELECT operation_id FROM operation WHERE document_id = :name")
            operation_id = connection.execute(opened, {"name": name}).scalar_one()
        yield "take and finish", lambda: self._run(operation_id)

    def _run(self, operation_id: UUID) -> None:
        verdict = self._parts.runner.run(operation_id, 1)
        if verdict.code != "succeeded":
            raise console.Told(f"an export ended as {verdict.code}: {verdict.reason}")

    def _jobs_once(self) -> Iterator[tuple[str, Callable[[], object]]]:
        from services.inbound import schedule

        with self._quiet.transaction("*") as connection:
            schedule.wake(connection, self._company, "request")
        for job in self._jobs:

            def act(do: Callable[[Connection], object] = job.do) -> None:
                with self._parts.database.transaction("*") as connection:
                    do(connection)

            yield f"job: {job.name.replace('_', ' ')}", act

    def _lists(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Pages that people and systems read, of the tenant that has most."""
        from outbox import feed
        from services.cli import figures
        from services.connections import health
        from services.exceptions import causes, exceptions
        from services.ledger import history, operations, sweep
        from services.psa import sync_state

        tenant, one = self._tenant, "inv-2"  # its document that has been there from the beginning

        def read(work: Callable[[Connection], object]) -> Callable[[], object]:
            def act() -> object:
                with self._api.transaction(tenant) as connection:
                    return work(connection)

            return act

        def look(work: Callable[[Connection], object]) -> Callable[[], object]:
            def act() -> object:
                with self._parts.database.transaction("*") as connection:
                    return work(connection)

            return act

        filters = exceptions.Filters(tenant=tenant)
        twenty = [("invoice", f"inv-{2 * number}") for number in range(20)]
        yield "feed: a page", read(lambda c: feed.read(c, tenant, self._size.operations // 2))
        yield "exceptions: a page", read(lambda c: exceptions.page(c, filters))
        yield "exceptions: causes", read(lambda c: causes.page(c, tenant))
        yield "operations: a page", read(lambda c: operations.page(c, tenant))
        yield "timeline of a document", read(lambda c: history.of_document(c, tenant, "invoice", one))
        yield "sync state of 20 documents", read(lambda c: sync_state.of(c, tenant, twenty))
        yield "health of a company", read(lambda c: health.of(c, self._company))
        yield "liveness view", look(sweep.violations)
        yield "metrics", look(figures.look)


_MINUTE: Final = timedelta(minutes=1)
_UNDER_WAY: Final = """
    SELECT event_id FROM outbox_event
     WHERE due_at IS NOT NULL AND published_at IS NOT NULL AND exchange = 'billing' ORDER BY due_at LIMIT 1000"""


def compared(sizes: Sequence[Size], measured: Sequence[dict[str, Cost]]) -> dict[str, Any]:
    """The costs at each size beside each other; `ratio` is that of the buffers, the last size to the one before."""
    return {
        "sizes": [
            {"operations": one.operations, "outbox_rows": 2 * one.operations, "companies": one.companies}
            for one in sizes
        ],
        "costs": [
            {
                "what": what,
                "ratio": round(measured[-1][what].buffers / max(1, measured[-2][what].buffers), 2),
                "walked": sorted(set().union(*(one[what].walked for one in measured[1:]))),
                "at": [
                    {
                        "statements": one[what].statements,
                        "buffers": one[what].buffers,
                        "ms": round(one[what].ms, 2),
                    }
                    for one in measured
                ],
            }
            for what in measured[-1]
        ],
    }


def _explaining(watch: Watch) -> type[psycopg.Cursor[Any]]:
    """A cursor that has every statement explained."""

    class Explaining(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **how: Any) -> Any:
            watch.explain(self.connection, query, params)
            return super().execute(query, params, **how)

    return Explaining


def _watch(database: Database, explaining: type[psycopg.Cursor[Any]]) -> None:
    """Give every connection of the database that cursor."""
    from sqlalchemy import event

    @event.listens_for(database.engine, "connect")
    def hook(session: Any, _: object) -> None:
        session.cursor_factory = explaining
        session.execute("SET statement_timeout = 0")  # what takes too long is to be seen, not refused
        session.commit()


def _walked(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan" and plan["Actual Loops"]:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from _walked(part)


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        round(statistics.median(one.statements for one in costs)),
        round(statistics.median(one.buffers for one in costs)),
        statistics.median(one.ms for one in costs),
        frozenset[str]().union(*(one.walked for one in costs)),
    )
