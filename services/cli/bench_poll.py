"""`algasync bench poll`: what reading QuickBooks' changes costs: metered reads, counted by the sandbox, and CPU.

Companies of one tenant are polled while nothing happens, while a bookkeeper receives payments, and once after more
changes than one answer of the feed can hold. Scheduler, dispatch and worker are the fleet's own code in one process;
there is no broker.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import requests
import typer

from services.cli import bench_runs, console
from services.cli.bench_runs import Runs
from services.cli.console import FAILED, Told
from services.cli.options import Json

if TYPE_CHECKING:
    from uuid import UUID

    from services.cli.arena import Arena
    from services.cli.bench_servers import Servers
    from services.database import Database
    from services.ledger.runner import Runner

REALM: Final = 9341450000020000
CUSTOMER: Final = "2"  # id in the books of a fresh sandbox company
DAY: Final = 24 * 60  # minutes
THREADS: Final = 4


def poll(
    companies: Annotated[int, typer.Option(min=1, max=500, help="Companies that are polled.")] = 20,
    cycles: Annotated[int, typer.Option(min=1, max=1_000, help="Idle cycles of each, a run.")] = 5,
    payments: Annotated[
        int, typer.Option(min=0, max=1_000, help="Payments received in each meanwhile, a run.")
    ] = 20,
    flood: Annotated[
        int, typer.Option(min=0, max=10_000, help="Payments at once in one of them; an answer holds 1000.")
    ] = 1_200,
    runs: Runs = 3,
    json: Json = False,
) -> None:
    """Poll companies that are idle, busy and flooded, and count what it cost.

    `metered_reads_per_idle_cycle` is counted by the sandbox. Uses DATABASE_URL (in a tenant of its own) when it is set,
    else a private PostgreSQL in a temporary folder. Exit code 1 when a payment did not arrive or a cycle is incomplete.

    Example: algasync bench poll --json
    """
    from services.cli import logs
    from services.cli.bench_servers import servers

    logs.configure("console", "error")
    with servers() as found:
        work = _Work(companies, cycles, payments, flood)
        measured = [_run(found, work, number) for number in range(runs)]
    sums = ("payments_received", "payments_missing", "incomplete_cycles")
    report = bench_runs.report(measured, sums=sums) | {"companies": companies}
    if json:
        console.result(report)
    else:
        bench_runs.show(report)
    if report["incomplete_cycles"] or report["payments_missing"]:
        raise Told("some changes were not read: see the figures", code="changes_missed", exit_code=FAILED)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a run does."""

    companies: int
    cycles: int
    payments: int
    flood: int


@dataclass
class _Bench:
    """One tenant's companies, and the fleet's code around them."""

    database: Database
    runner: Runner
    arena: Arena
    tenant: str
    companies: dict[str, UUID]

    def cycle(self) -> None:
        """One cycle of every company, and everything that it opens."""
        from services.inbound import schedule

        with self.database.transaction(self.tenant) as connection:
            for company_id in self.companies.values():
                schedule.wake(connection, company_id, "request")
            schedule.open_due(connection, limit=len(self.companies))
        self._work()

    def receive(self, realm: str, number: int) -> None:
        """A bookkeeper receives so many payments of a linked customer."""
        body = {"customer": CUSTOMER, "amount": "10.00", "invoices": {}}
        address = f"{self.arena.control}/companies/{realm}/bookkeeper/receive-payment"
        with requests.Session() as session:
            for _ in range(number):
                session.post(address, json=body, timeout=30).raise_for_status()

    @property
    def reads(self) -> int:
        """Metered reads so far, as the sandbox counts them."""
        counted = self.arena.all_counters()
        return sum(int(counted[realm]["metered_reads"]) for realm in self.companies if realm in counted)

    def value(self, query: str) -> int:
        """A number from the tenant's rows."""
        from sqlalchemy import text

        with self.database.transaction(self.tenant) as connection:
            return int(connection.execute(text(query), {"tenant": self.tenant}).scalar_one())

    def _work(self) -> None:
        """Dispatch and run until nothing is due."""
        from services.ledger import dispatch

        with ThreadPoolExecutor(THREADS) as pool:
            while True:
                with self.database.transaction(self.tenant) as connection:
                    commands = dispatch.due(connection, in_flight=8, limit=1_000)
                if not commands:
                    return
                list(pool.map(lambda one: self.runner.run(one.operation_id, one.attempt), commands))


_TOLD = "SELECT count(*) FROM psa_payment WHERE tenant_id = :tenant AND state = 'told'"
_INCOMPLETE = "SELECT count(*) FROM poll_cycle WHERE tenant_id = :tenant AND state <> 'complete'"


def _run(servers: Servers, work: _Work, number: int) -> dict[str, Any]:
    """One run, with companies of its own: the overlap of a flooded feed shows the flood for a while."""
    from services.cli.arena import Arena
    from services.configuration import Configuration
    from services.connections.application import Application
    from services.connections.clients import Clients
    from services.connections.intuit import Intuit
    from services.connections.vault import Vault, new_key
    from services.database import Database, Role, migrate
    from services.exceptions.attention import ConnectionAttention
    from services.exceptions.desk import ExceptionDesk
    from services.inbound.handlers import HANDLERS
    from services.ledger.runner import Runner

    migrate(servers.database_url)
    vault, tenant = Vault([new_key()]), f"bench-{uuid4().hex[:8]}"
    configuration = Configuration(
        quickbooks_api_url=servers.api, quickbooks_token_url=f"{servers.api}/oauth2/v1/tokens/bearer"
    )
    intuit = Intuit(configuration, Application(redirect_uri="http://127.0.0.1/callback"), vault)
    with Database(
        servers.database_url, Role.FLEET, pool_size=THREADS + 4, application="algasync bench"
    ) as database:
        arena = Arena(servers.control, database, vault)
        arena.prepare(limits=False)
        realms = [str(REALM + number * work.companies + place) for place in range(work.companies)]
        joined = {realm: arena.join(tenant, realm, default=realm == realms[0]) for realm in realms}
        clients = Clients(database, intuit, ConnectionAttention(), tenant)
        try:
            runner = Runner(
                database,
                HANDLERS,
                clients,
                ExceptionDesk(),
                lease=timedelta(seconds=configuration.lease_seconds),
                call_within=timedelta(seconds=configuration.call_seconds),
                replay_within=timedelta(hours=configuration.unknown_outcome_hours),
            )
            bench = _Bench(database, runner, arena, tenant, joined)
            bench.cycle()  # where the feeds begin
            return _figures(bench, work)
        finally:
            clients.close()


def _figures(bench: _Bench, work: _Work) -> dict[str, Any]:
    realms = list(bench.companies)
    console.note(f"{work.cycles} idle cycles of {work.companies} companies ...")
    idle = _measured(bench, work.cycles)
    console.note(f"{work.payments} payments received in each, then {work.flood} at once in one ...")
    for realm in realms:
        bench.receive(realm, work.payments)
    busy = _measured(bench, 1)
    bench.receive(realms[0], work.flood)
    full = _measured(bench, 1)
    received, idle_cycles = work.companies * work.payments + work.flood, work.companies * work.cycles
    return {
        "metered_reads_per_idle_cycle": idle.reads / idle_cycles,
        "metered_reads_per_busy_cycle": busy.reads / work.companies,
        "metered_reads_of_the_flooded_cycle": full.reads - (work.companies - 1),
        "metered_reads_a_company_a_day": _reads_a_day(idle.reads / idle_cycles),
        "idle_cycles_per_second": round(idle_cycles / idle.seconds, 1),
        "cpu_ms_per_idle_cycle": round(1_000 * idle.cpu / idle_cycles, 2),
        "payments_per_second": round(received / (busy.seconds + full.seconds), 1),
        "payments_received": received,
        "payments_missing": received - bench.value(_TOLD),
        "incomplete_cycles": bench.value(_INCOMPLETE),
    }


def _reads_a_day(reads_a_cycle: float) -> int:
    from services.mapping.settings import Settings

    return round(DAY / Settings().poll_interval * reads_a_cycle)


@dataclass(frozen=True, slots=True)
class _Cost:
    """What some cycles took."""

    reads: int
    seconds: float
    cpu: float  # seconds, of this process


def _measured(bench: _Bench, cycles: int) -> _Cost:
    reads = bench.reads
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(cycles):
        bench.cycle()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    return _Cost(bench.reads - reads, seconds, cpu)
