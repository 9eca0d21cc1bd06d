"""`algasync bench fleet`: many companies at once, from billing's commit to the document in QuickBooks.

Private servers, the sandbox on the same machine, every process of the fleet with its default settings. After a look at
the idle fleet each run measures, one after the other: an invoice now and then (freshness), a loop that makes invoices
in the same sandbox one by one and writes nothing down (a baseline), and a backlog over all companies (throughput, CPU,
commits, reads). Then, as often: a fleet of which one tenant wants everything and one company hangs (fairness: how
fresh the others stay). What an exporter that runs every 15 minutes would have made of the same arrivals is computed.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from services.cli import bench_runs, console
from services.cli.bench_baselines import cycle_freshness, sequential
from services.cli.bench_invoice import invoice
from services.cli.bench_runs import Runs, percentile
from services.cli.options import Json

if TYPE_CHECKING:
    import psycopg

    from services.cli.stage import Stage, Tenant

ROLES: Final = ("relay", "dispatcher", "scheduler", "collector")
IDLE: Final = 4.0  # seconds in which the polls of a fleet without work are counted
CALM: Final = 60  # invoices of a run's freshness measurement
ALONE: Final = 3.0  # seconds of the loop by itself
FAIR: Final = 60  # invoices of a run's fairness measurement, spread over
FAIR_SECONDS: Final = 10.0
HUNG: Final = 100  # invoices of the company that hangs, a run
DEADLINE: Final = 300.0  # seconds for a backlog
LATE: Final = 60.0  # seconds after which an invoice of the fairness measurement counts as missing

_EMIT: Final = """
    SELECT count(*) FROM generate_series(%(first)s::int, %(last)s::int) AS n,
           LATERAL outbox_emit_v1(%(tenant)s, 'invoice.finalized.v1', %(prefix)s || '-' || n,
             %(data)s::jsonb || jsonb_build_object('id', %(prefix)s || '-' || n,
                                                   'number', upper(%(prefix)s) || '-' || n)) AS emitted
"""
_COMMITS: Final = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
# Every transaction that writes, and no other, takes a number; asking for the next one takes none.
_WRITING: Final = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_POLLING: Final = ("changes", "cdc", "CompanyInfo", "Preferences")
"""Words in the requests of the scheduler, which reads what changed in QuickBooks by the clock."""


def fleet(
    companies: Annotated[int, typer.Option(min=4, max=500, help="Companies, one a tenant.")] = 50,
    documents: Annotated[int, typer.Option(min=100, help="Invoices in the backlog of a run.")] = 600,
    runs: Runs = 3,
    burst: Annotated[int, typer.Option(min=0, help="Invoices that one tenant queues at once, a run.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 2,
    latency: Annotated[
        float,
        typer.Option(min=0, max=10, help="Seconds by which the sandbox answers later; Intuit takes 0.3."),
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the pauses between invoices.")] = 1,
    json: Json = False,
) -> None:
    """Measure a fleet on this machine: documents a second, CPU and commits a document, freshness, fairness.

    Figures are of this machine while nothing else runs on it; PostgreSQL, RabbitMQ and the sandbox share it.

    commits_per_document counts transactions that write, of all processes, from the first document of a run to the
    last. Polls that only look are counted apart, on an idle fleet: idle_polls_per_second. cpu_ms_per_document is the
    CPU time of our own processes, polls included. metered_reads_per_document counts reads of the runs but for those
    of the scheduler, which polls QuickBooks by the clock. Freshness includes --latency.

    Baselines of the same run: sequential_loop_per_second is measured. cycle_freshness_* are computed, from the measured
    moments at which documents were committed and the measured time of a create in the loop: every document waits for
    its company's next 15-minute cycle, of which every phase is tried.

    Example: algasync bench fleet --documents 3000 --burst 20000 --json
    """
    from services.cli.stage import open_stage

    names = [f"bench-{number}" for number in range(1, companies + 1)]
    with tempfile.TemporaryDirectory(prefix="algasync-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # root's PostgreSQL runs under another account and must be able to pass
        console.note(f"starting servers and connecting {companies} companies ...")
        with open_stage(Path(folder), names, settings={}, limits=False) as stage:
            ours = [*ROLES, *(f"workers-{number}" for number in range(1, workers + 1))]
            stage.crew.start(*ours)
            stage.crew.ready()
            if latency:
                stage.arena.trouble("latency", seconds=latency)
            with Bench(stage, random.Random(seed)) as bench:  # noqa: S311 - repeatable pauses
                report = bench.run(documents, runs, burst)
    report |= {
        "companies": companies,
        "documents": documents,
        "burst": burst,
        "workers": workers,
        "latency_seconds": latency,
        "seed": seed,
    }
    if console.mode.json:
        console.result(report)
    else:
        bench_runs.show(report)


@dataclass(frozen=True, slots=True)
class Billed:
    """An invoice that was emitted: where it goes, and when its transaction was committed (Unix time)."""

    realm: str
    number: str
    committed: float


class Bench:
    """The measurements, over a stage whose fleet is running."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self._stage = stage
        self._chance = chance
        self._tenants = list(stage.tenants.values())
        self._billed: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Bench:
        import psycopg

        url = self._stage.crew.settings["DATABASE_URL"]
        options = "-c role=algasync_fleet -c search_path=algasync,pg_catalog -c algasync.tenant=*"
        self._session: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, options=options)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def run(self, documents: int, runs: int, burst: int) -> dict[str, Any]:
        """All measurements; the report with the keys that scripts rely on."""
        console.note("an idle fleet ...")
        polls = self._idle()
        measured = [self._once(number, documents) for number in range(1, runs + 1)]
        books = self._books()
        doubled = sum(number - 1 for number in books.values() if number > 1)
        missing = sum(1 for one in self._billed if not books[one])
        console.note(f"bursts of {burst} invoices, a company that hangs, and the others ...")
        self._stage.arena.trouble("hang_before", realm=self._tenants[1].realm)
        fair = [self._fair(number, burst) for number in range(1, runs + 1)]
        report = bench_runs.report([one | other for one, other in zip(measured, fair, strict=True)])
        return report | {"idle_polls_per_second": round(polls, 1), "doubled": doubled, "missing": missing}

    def _once(self, number: int, documents: int) -> dict[str, Any]:
        """A run but for fairness, after which nothing is calm again."""
        console.note(f"run {number}: invoices now and then, a loop by itself, a backlog of {documents} ...")
        billed, calm = self._calm(number)
        create = self._alone(number)
        backlog = self._backlog(f"load{number}", documents)
        cycle = cycle_freshness([(one.realm, one.committed) for one in billed], create)
        p50, p99 = statistics.median(calm), percentile(calm, 99)
        return {
            **backlog,
            "sequential_loop_per_second": round(1 / create, 1),
            "ratio_to_sequential_loop": round(backlog["documents_per_second"] * create, 2),
            "freshness_p50_ms": _milliseconds(p50),
            "freshness_p99_ms": _milliseconds(p99),
            "cycle_freshness_p50_s": round(statistics.median(cycle), 1),
            "cycle_freshness_p99_s": round(percentile(cycle, 99), 1),
            "ratio_to_cycle_p50": round(statistics.median(cycle) / p50),
            "ratio_to_cycle_p99": round(percentile(cycle, 99) / p99),
        }

    # --- the measurements -------------------------------------------------------------------------------

    def _idle(self) -> float:
        """Transactions a second of a fleet that has nothing to do; nearly all of them only look."""
        before, began = self._commits(), time.monotonic()
        time.sleep(IDLE)
        return (self._commits() - before) / (time.monotonic() - began)

    def _alone(self, number: int) -> float:
        """Seconds that one invoice takes in a loop that calls the sandbox and does nothing else."""
        arena, realm = self._stage.arena, f"{9341450000090000 + number}"
        arena.open(realm, "Baseline")
        token = arena.mint(realm)["access_token"]
        api = self._stage.crew.settings["ALGASYNC_QUICKBOOKS_API_URL"]
        return sequential(api, realm, token, ALONE, f"ALONE{number}")

    def _calm(self, run: int) -> tuple[list[Billed], list[float]]:
        """Single invoices, to companies by chance; and how many seconds each took from commit to creation."""
        billed = []
        for number in range(CALM):
            time.sleep(0.05 + self._chance.random() / 10)
            tenant = self._chance.choice(self._tenants)
            self._emit(tenant, f"calm{run}", number, number)
            billed.append(Billed(tenant.realm, f"CALM{run}-{number}", time.time()))
        return billed, self._freshness(billed)

    def _backlog(self, prefix: str, documents: int) -> dict[str, Any]:
        """What a backlog over all companies costs, and how fast it is gone."""
        self._stage.crew.stop("relay")
        share, rest = divmod(documents, len(self._tenants))
        for place, tenant in enumerate(self._tenants):
            self._emit(tenant, prefix, 1, share + (place < rest))
        created, reads, writing = self._created(), self._reads(), self._writing()
        ours, others, began = self._cpu(), self._cpu_of_others(), time.time()
        self._stage.crew.go_on("relay")
        self._await(lambda: self._created() - created >= documents)
        self._await(lambda: not self._unfinished())
        ours, others = _spent(ours, self._cpu()), _spent(others, self._cpu_of_others())
        writing, reads = self._writing() - writing, self._reads() - reads
        seconds = max(self._creations(prefix.upper() + "-").values()) - began
        return {
            "documents_per_second": round(documents / seconds, 1),
            "cpu_ms_per_document": round(sum(ours.values()) * 1000 / documents, 2),
            "commits_per_document": round(writing / documents, 2),
            "metered_reads_per_document": round(reads / documents, 4),
            "seconds": round(seconds, 1),
            "cpu_ms_per_document_by_role": _per_document(ours, documents),
            "cpu_ms_per_document_of_others": _per_document(others, documents),
        }

    def _fair(self, run: int, burst: int) -> dict[str, float]:
        """Freshness of a few tenants while another queues everything at once and one company never answers.

        What the two before have left of the last run only adds to it.
        """
        greedy, hung, *others = self._tenants
        self._emit(hung, f"hung{run}", 1, HUNG)
        queueing = threading.Thread(target=self._queue, args=(greedy, f"burst{run}", burst), daemon=True)
        queueing.start()
        billed = []
        began = time.monotonic()
        for number in range(FAIR):
            time.sleep(max(0.0, began + number * FAIR_SECONDS / FAIR - time.monotonic()))
            tenant = others[number % min(10, len(others))]
            self._emit(tenant, f"fair{run}", number, number)
            billed.append(Billed(tenant.realm, f"FAIR{run}-{number}", time.time()))
        queueing.join()
        fair = self._freshness(billed)
        return {
            "fairness_p50_ms": _milliseconds(statistics.median(fair)),
            "fairness_p99_ms": _milliseconds(percentile(fair, 99)),
        }

    def _queue(self, tenant: Tenant, prefix: str, burst: int) -> None:
        """Queue invoices as fast as PostgreSQL takes them, on a connection of its own."""
        with Bench(self._stage, self._chance) as other:
            for first in range(1, burst, 500):
                other._emit(tenant, prefix, first, min(burst, first + 499))

    # --- doing ------------------------------------------------------------------------------------------

    def _emit(self, tenant: Tenant, prefix: str, first: int, last: int) -> None:
        """Emit invoices in one transaction of billing."""
        from psycopg.types.json import Jsonb

        values = {
            "tenant": tenant.name,
            "prefix": prefix,
            "first": first,
            "last": last,
            "data": Jsonb(invoice()),
        }
        self._session.execute(_EMIT, values)
        for number in range(first, last + 1):
            self._billed[tenant.realm, f"{prefix.upper()}-{number}"] += 1

    def _freshness(self, billed: Sequence[Billed]) -> list[float]:
        """Seconds from commit to creation; what did not come in time counts as `LATE`."""
        prefix = billed[0].number.partition("-")[0]
        wanted = {(one.realm, one.number) for one in billed}
        deadline = time.monotonic() + LATE
        while not wanted <= (found := self._creations(prefix)).keys() and time.monotonic() < deadline:
            time.sleep(0.5)
        return [found.get((one.realm, one.number), one.committed + LATE) - one.committed for one in billed]

    def _await(self, condition: Callable[[], bool]) -> None:
        from deploy.local.process import wait_until

        if not wait_until(condition, DEADLINE):
            raise console.Told(f"the backlog was not done within {DEADLINE:g} s", code="too_slow")

    # --- looking ----------------------------------------------------------------------------------------

    def _created(self) -> int:
        counters = self._stage.arena.all_counters().values()
        return sum(one["creates"].get("Invoice", 0) for one in counters)

    def _reads(self) -> int:
        """Reads that exports made, as the sandbox has counted them."""
        return sum(
            one["metered_reads"]
            - sum(
                number for what, number in one["requests"].items() if any(word in what for word in _POLLING)
            )
            for one in self._stage.arena.all_counters().values()
        )

    def _writing(self) -> int:
        """The number of the next transaction that writes."""
        row = self._session.execute(_WRITING).fetchone()
        assert row is not None
        return int(row[0])

    def _unfinished(self) -> int:
        row = self._session.execute(
            "SELECT count(*) FROM operation WHERE state IN ('queued', 'running', 'waiting', 'scheduled')"
        ).fetchone()
        return int(row[0]) if row else 0

    def _creations(self, prefix: str) -> dict[tuple[str, str], float]:
        """(realm, number) -> when QuickBooks made it, of invoices whose number begins so."""
        return {
            (tenant.realm, change["body"]["DocNumber"]): change["at"]
            for tenant in self._tenants
            for change in self._stage.arena.history(tenant.realm, "Invoice")
            if change["operation"] == "Create" and change["body"]["DocNumber"].startswith(prefix)
        }

    def _books(self) -> Counter[tuple[str, str]]:
        """How often each number is there."""
        return Counter(
            (tenant.realm, raw["DocNumber"])
            for tenant in self._tenants
            for raw in self._stage.arena.objects(tenant.realm)
        )

    def _commits(self) -> int:
        """Commits of the database, as far as its sessions have told."""
        self._session.execute("SELECT pg_stat_clear_snapshot()")
        row = self._session.execute(_COMMITS).fetchone()
        assert row is not None
        return int(row[0])

    def _cpu(self) -> dict[str, float]:
        """CPU seconds of our processes so far, by role."""
        crew = self._stage.crew
        spent: dict[str, float] = {}
        for name in crew.names:
            role = name.split("-")[0]
            spent[role] = spent.get(role, 0.0) + _seconds(crew.pid(name))
        return spent

    def _cpu_of_others(self) -> dict[str, float]:
        """CPU seconds so far of what shares the machine."""
        stage = self._stage
        pids = {"postgresql": stage.server.pid, "rabbitmq": stage.node.pid, "sandbox": stage.sandbox}
        return {name: _seconds(pid) for name, pid in pids.items() if pid is not None}


def _seconds(pid: int) -> float:
    """CPU seconds of a process, its children, and those that it has outlived."""
    import psutil

    process = psutil.Process(pid)
    own = process.cpu_times()
    total: float = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: after[name] - seconds for name, seconds in before.items()}


def _per_document(spent: Mapping[str, float], documents: int) -> dict[str, float]:
    return {name: round(seconds * 1000 / documents, 2) for name, seconds in spent.items()}


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
