"""`algasync bench fleet`: many companies at once, from billing's commit to the document in QuickBooks.

Private servers, the sandbox on the same machine, every process of the fleet with its default settings. One after the
other: an idle fleet that gets an invoice now and then (freshness), a loop that makes invoices in the same sandbox one
by one and writes nothing down (the baseline), rounds of a backlog over all companies (throughput, CPU, commits, reads;
medians), and a fleet of which one tenant wants everything and one company hangs (fairness: how fresh the others stay).
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

from services.cli import console
from services.cli.options import Json

if TYPE_CHECKING:
    import psycopg

    from services.cli.stage import Stage, Tenant

ROLES: Final = ("relay", "dispatcher", "scheduler", "collector")
IDLE: Final = 4.0  # seconds in which the polls of a fleet without work are counted
CALM: Final = 60  # invoices of the freshness measurement
ALONE: Final = 200  # invoices of the baseline
FAIR: Final = 100  # invoices of the fairness measurement, spread over
FAIR_SECONDS: Final = 15.0
HUNG: Final = 100  # invoices of the company that hangs
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
    documents: Annotated[int, typer.Option(min=100, help="Invoices in the backlog of a round.")] = 600,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; figures are their medians.")] = 3,
    burst: Annotated[int, typer.Option(min=0, help="Invoices that one tenant queues at once.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the pauses between invoices.")] = 1,
    json: Json = False,
) -> None:
    """Measure a fleet on this machine: documents a second, CPU and commits a document, freshness, fairness.

    Figures are of this machine while nothing else runs on it; PostgreSQL, RabbitMQ and the sandbox share it.

    commits_per_document counts transactions that write, of all processes, from the first document of a round to the
    last. Polls that only look are counted apart, on an idle fleet: idle_polls_per_second. cpu_ms_per_document is the
    CPU time of our own processes, polls included. metered_reads_per_document counts reads of the rounds but for those
    of the scheduler, which polls QuickBooks by the clock.

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
            with Bench(stage, random.Random(seed)) as bench:  # noqa: S311 - repeatable pauses
                report = bench.run(documents, rounds, burst)
    report |= {
        "companies": companies,
        "documents": documents,
        "rounds": rounds,
        "burst": burst,
        "workers": workers,
        "seed": seed,
    }
    if console.mode.json:
        console.result(report)
    else:
        console.facts((name.replace("_", " "), str(value)) for name, value in report.items())


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

    def run(self, documents: int, rounds: int, burst: int) -> dict[str, Any]:
        """All measurements; the report with the keys that scripts rely on."""
        console.note("an idle fleet ...")
        polls = self._idle()
        calm = self._calm()
        console.note("a loop by itself ...")
        alone = self._alone()
        measured = []
        for number in range(1, rounds + 1):
            console.note(f"round {number}: a backlog of {documents} invoices ...")
            measured.append(self._backlog(f"load{number}", documents))
        books = self._books()
        doubled = sum(number - 1 for number in books.values() if number > 1)
        missing = sum(1 for one in self._billed if not books[one])
        console.note(f"a burst of {burst} invoices, a company that hangs, and the others ...")
        fair = self._fair(burst)
        report = _medians(measured)
        return {
            **report,
            "documents_per_second_of_rounds": [one["documents_per_second"] for one in measured],
            "sequential_loop_per_second": round(alone, 1),
            "ratio_to_sequential_loop": round(report["documents_per_second"] / alone, 2),
            "idle_polls_per_second": round(polls, 1),
            "freshness_p50_ms": _milliseconds(statistics.median(calm)),
            "freshness_p99_ms": _milliseconds(_percentile(calm, 99)),
            "fairness_p50_ms": _milliseconds(statistics.median(fair)),
            "fairness_p99_ms": _milliseconds(_percentile(fair, 99)),
            "doubled": doubled,
            "missing": missing,
        }

    # --- the measurements -------------------------------------------------------------------------------

    def _idle(self) -> float:
        """Transactions a second of a fleet that has nothing to do; nearly all of them only look."""
        before, began = self._commits(), time.monotonic()
        time.sleep(IDLE)
        return (self._commits() - before) / (time.monotonic() - began)

    def _alone(self) -> float:
        """Invoices a second of a loop that calls the sandbox and does nothing else."""
        import requests

        realm = f"{9341450000090000}"
        self._stage.arena.open(realm, "Baseline")
        token = self._stage.arena.mint(realm)["access_token"]
        address = f"{self._stage.crew.settings['ALGASYNC_QUICKBOOKS_API_URL']}/v3/company/{realm}/invoice"
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            session.headers["Accept"] = "application/json"
            began = time.monotonic()
            for number in range(ALONE):
                answer = session.post(address, json=_wire(f"ALONE-{number}"), timeout=30)
                answer.raise_for_status()
            return ALONE / (time.monotonic() - began)

    def _calm(self) -> list[float]:
        """Seconds from commit to creation of single invoices, to companies by chance."""
        billed = []
        for number in range(CALM):
            time.sleep(0.05 + self._chance.random() / 10)
            tenant = self._chance.choice(self._tenants)
            self._emit(tenant, "calm", number, number)
            billed.append(Billed(tenant.realm, f"CALM-{number}", time.time()))
        return self._freshness(billed)

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

    def _fair(self, burst: int) -> list[float]:
        """Freshness of a few tenants while another queues everything at once and one company never answers."""
        greedy, hung, *others = self._tenants
        self._stage.arena.trouble("hang_before", realm=hung.realm)
        self._emit(hung, "hung", 1, HUNG)
        queueing = threading.Thread(target=self._queue, args=(greedy, burst), daemon=True)
        queueing.start()
        billed = []
        began = time.monotonic()
        for number in range(FAIR):
            time.sleep(max(0.0, began + number * FAIR_SECONDS / FAIR - time.monotonic()))
            tenant = others[number % min(10, len(others))]
            self._emit(tenant, "fair", number, number)
            billed.append(Billed(tenant.realm, f"FAIR-{number}", time.time()))
        queueing.join()
        return self._freshness(billed)

    def _queue(self, tenant: Tenant, burst: int) -> None:
        """Queue invoices as fast as PostgreSQL takes them, on a connection of its own."""
        with Bench(self._stage, self._chance) as other:
            for first in range(1, burst, 500):
                other._emit(tenant, "burst", first, min(burst, first + 499))

    # --- doing ------------------------------------------------------------------------------------------

    def _emit(self, tenant: Tenant, prefix: str, first: int, last: int) -> None:
        """Emit invoices in one transaction of billing."""
        from psycopg.types.json import Jsonb

        values = {
            "tenant": tenant.name,
            "prefix": prefix,
            "first": first,
            "last": last,
            "data": Jsonb(_invoice()),
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


def _medians(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of each figure; of figures by name, of each name."""
    return {
        name: _medians([one[name] for one in measured])
        if isinstance(value, Mapping)
        else round(statistics.median(one[name] for one in measured), 4)
        for name, value in measured[0].items()
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _wire(number: str) -> dict[str, Any]:
    """The same invoice as QuickBooks takes it."""
    from services.cli.arena import CUSTOMERS, ITEMS

    line = {
        "DetailType": "SalesItemLineDetail",
        "Amount": 135,
        "Description": "Managed workstation",
        "SalesItemLineDetail": {"ItemRef": {"value": ITEMS["svc"]}, "Qty": 3, "UnitPrice": 45},
    }
    return {"DocNumber": number, "CustomerRef": {"value": CUSTOMERS["cl-1"]}, "Line": [line] * 3}


def _invoice() -> dict[str, Any]:
    """An invoice of three lines, all but id and number."""
    lines = [
        {
            "id": f"l{place}",
            "service_id": "svc",
            "description": f"Managed workstation, group {place}",
            "quantity": "3",
            "unit_price": "45.00",
            "net_amount": 13_500,
            "tax_amount": 0,
            "is_taxable": False,
            "is_discount": False,
        }
        for place in (1, 2, 3)
    ]
    return {
        "type": "standard",
        "invoice_date": "2026-10-31",
        "due_date": "2026-11-30",
        "finalized_at": "2026-11-01T08:00:00+00:00",
        "currency": "USD",
        "tax_source": "internal",
        "subtotal": 40_500,
        "discount": 0,
        "tax": 0,
        "total": 40_500,
        "client": {"id": "cl-1", "name": "Cool Cars", "tax_exempt": True},
        "lines": lines,
        "actor": {"type": "system"},
    }
