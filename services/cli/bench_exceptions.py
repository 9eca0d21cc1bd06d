"""`algasync bench exceptions`: how a long exception list behaves, and whether working it off slows anybody else.

One tenant has thousands of failed operations with exceptions and dead letters, most of one cause. Pages are read and
everything is retried as the API does it, in its role and one transaction each, while another tenant's work is timed
beside it: once with nothing going on, then during the replay.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID, uuid4

import typer

from services.cli import bench_runs, console
from services.cli.bench_runs import Runs
from services.cli.options import Json

if TYPE_CHECKING:
    from services.database import Database
    from services.exceptions.exceptions import Filters, Sort

ACTOR: Final = "bench"
CAUSE: Final = "mapping:item:bench:svc"
PAUSE: Final = 0.2  # seconds between two pieces of the other tenant's work
PAGES: Final = 30  # reads of each kind of page

_SEED: Final = """
    WITH made AS (
      SELECT n, gen_random_uuid() AS operation_id, gen_random_uuid() AS exception_id, 'inv-' || n AS document_id
        FROM generate_series(1, :number) n
    ), documents AS (
      INSERT INTO document (tenant_id, kind, document_id, number, client_id, client_name, currency, total, state,
                            applied_sequence)
      SELECT :tenant, 'invoice', document_id, 'B-' || n, 'cl-' || n % 300, 'Client ' || n % 300, 'USD', n * 100,
             'finalized', 1 FROM made
    ), operations AS (
      INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, document_kind, document_id, revision,
                             state, reason_code, reason)
      SELECT operation_id, :tenant, :company, 'export_invoice', 'export', 'invoice', document_id, 1, 'failed',
             'missing_item_mapping', 'svc is not mapped' FROM made
    ), exceptions AS (
      INSERT INTO exception (exception_id, tenant_id, type, entity_kind, entity_id, company_id, cause, code, title,
                             happened, why, fix, client_id, amount, currency, operation_id, created_at)
      SELECT exception_id, :tenant, 'accounting_sync_export_error', 'invoice', document_id, :company,
             CASE WHEN n % 10 = 0 THEN 'other:' || n ELSE :cause END, 'missing_item_mapping',
             'Invoice B-' || n || ' of Client ' || n % 300 || ' cannot be exported', 'Line 1: svc is not mapped.',
             'QuickBooks sells items only.', 'Map it.', 'cl-' || n % 300, n * 100, 'USD', operation_id,
             clock_timestamp() - n * interval '1 minute' FROM made
    )
    INSERT INTO letter (letter_id, tenant_id, subject, queue, type, reason, code, message, body, operation_id,
                        company_id)
    SELECT gen_random_uuid(), :tenant, operation_id::text, 'export', 'export_invoice', 'rejected',
           'missing_item_mapping', 'svc is not mapped', '{}', operation_id, :company FROM made"""
_COMPANY: Final = """
    INSERT INTO company (tenant_id, environment, realm_id, name, country, home_currency, state, is_default,
                         connected_by)
    VALUES (:tenant, 'sandbox', :tenant, 'Bench', 'US', 'USD', 'active', true, 'bench') RETURNING company_id"""
# What other tenants have had before: the list must be found among it.
_OTHERS: Final = """
    INSERT INTO exception (exception_id, tenant_id, type, entity_kind, entity_id, state, closed_at, cause, code, title,
                           happened, why, fix, amount, currency, created_at)
    SELECT gen_random_uuid(), 'bench-other-' || n % 20, 'accounting_sync_export_error', 'invoice', 'inv-' || n,
           'resolved', clock_timestamp(), 'mapping:item:x:' || n, 'missing_item_mapping', 'Invoice ' || n,
           'Line 1: svc is not mapped.', 'QuickBooks sells items only.', 'Map it.', n * 100, 'USD',
           clock_timestamp() - n * interval '1 minute'
      FROM generate_series(1, 4 * :number) n"""
_FAIL_AGAIN: Final = "UPDATE operation SET state = 'failed' WHERE tenant_id = :tenant AND state = 'queued'"


def exceptions(
    number: Annotated[
        int, typer.Option("--exceptions", min=100, max=100_000, help="How long the list is.")
    ] = 10_000,
    runs: Runs = 1,
    json: Json = False,
) -> None:
    """Read a long exception list, retry all of it, release a cause; time another tenant's work meanwhile.

    Uses DATABASE_URL (in tenants of its own) when it is set, else a private PostgreSQL in a temporary folder.
    `first_page_ms` is the slowest 99th percentile of all filters and orders. Each run has a list of its own, and that
    of the runs before it around it; it takes most of a minute.

    Example: algasync bench exceptions --json
    """
    from services.cli import logs
    from services.cli.bench_servers import database

    logs.configure("console", "warning")
    with database() as url:
        measured = [_run(url, number) for _ in range(runs)]
    report = bench_runs.report(measured) | {"exceptions": number}
    if json:
        console.result(report)
    else:
        bench_runs.show(report)


def _run(url: str, number: int) -> dict[str, Any]:
    from services.database import Database, Role, migrate

    migrate(url)
    run = uuid4().hex[:8]
    tenant, bystander = f"bench-{run}", f"beside-{run}"
    with (
        Database(url, Role.FLEET, pool_size=4, application="algasync bench") as fleet,
        Database(url, Role.API, pool_size=4, application="algasync bench api") as api,
    ):
        console.note(f"making {number} exceptions ...")
        company_id = _seed(fleet, tenant, number)
        beside = _Beside(fleet, bystander, _company(fleet, bystander))
        pages = _pages(api, tenant, company_id, number)
        idle = beside.alone()
        console.note("retrying all of them ...")
        cpu = time.process_time()
        with beside.working():
            seconds, retried = _retry_all(api, tenant)
        cpu = time.process_time() - cpu
        during = beside.told()
        _fail_again(fleet, tenant)
        console.note("releasing the widest cause ...")
        released = _release(api, fleet, tenant)
        plans = _plans(api, tenant)
    return {
        "first_page_ms": max(one["p99"] for one in pages.values()),
        "pages_ms": pages,
        "replay_seconds": seconds,
        "replay_cpu_seconds": round(cpu, 2),
        "replayed": retried,
        "replayed_per_second": round(retried / seconds, 1),
        **released,
        "beside_idle_ms": idle,
        "beside_replay_ms": during,
        "sequential_scans": plans,
    }


def _company(fleet: Database, tenant: str) -> UUID:
    from sqlalchemy import text

    with fleet.transaction(tenant) as connection:
        company_id: UUID = connection.execute(text(_COMPANY), {"tenant": tenant}).scalar_one()
    return company_id


def _seed(fleet: Database, tenant: str, number: int) -> UUID:
    from sqlalchemy import text

    company_id = _company(fleet, tenant)
    values = {"tenant": tenant, "company": company_id, "number": number, "cause": CAUSE}
    with fleet.transaction(tenant) as connection:
        connection.execute(text(_SEED), values)
    with fleet.transaction("*") as connection:
        connection.execute(text(_OTHERS), values)
    _analyze(fleet)
    return company_id


def _analyze(fleet: Database) -> None:
    """What autovacuum does within a minute of such a change."""
    from services.database import Database, Role

    with Database(fleet.url, Role.OWNER, pool_size=1) as owner, owner.engine.connect() as connection:
        free = connection.execution_options(isolation_level="AUTOCOMMIT")
        free.exec_driver_sql(
            "VACUUM ANALYZE algasync.exception, algasync.operation, algasync.letter, algasync.document"
        )


def _pages(api: Database, tenant: str, company_id: UUID, number: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the first page for each kind of question, counts included."""
    from services.exceptions import causes
    from services.exceptions import exceptions as listed
    from services.exceptions.exceptions import Filters

    def page(filters: Filters, sort: Sort = "newest") -> Callable[[], object]:
        def read() -> object:
            with api.transaction(tenant) as connection:
                return listed.page(connection, filters, sort=sort, limit=50)

        return read

    def widest() -> object:
        with api.transaction(tenant) as connection:
            return causes.page(connection, tenant)

    ours = Filters(tenant=tenant)
    questions = {
        "newest": page(ours),
        "oldest": page(ours, "oldest"),
        "last_seen": page(ours, "seen"),
        "amount": page(ours, "amount"),
        "everything": page(Filters(tenant=tenant, states=())),
        "company": page(Filters(tenant=tenant, company_id=company_id, direction="outbound")),
        "client": page(Filters(tenant=tenant, client_id="cl-7")),
        "cause": page(Filters(tenant=tenant, cause=CAUSE)),
        "amounts": page(Filters(tenant=tenant, amount_from=50_000, amount_to=60_000)),
        "search": page(Filters(tenant=tenant, search=f"B-{number}")),
        "causes": widest,
    }
    return {name: _percentiles([_timed(read) for _ in range(PAGES)]) for name, read in questions.items()}


def _retry_all(api: Database, tenant: str) -> tuple[float, int]:
    """Retry everything that is open, page by page, each in a transaction of its own."""
    from services.exceptions import bulk, replays
    from services.exceptions import exceptions as listed
    from services.exceptions.exceptions import Filters

    started, done, after = time.perf_counter(), 0, None
    while True:
        with api.transaction(tenant) as connection:
            page = listed.page(connection, Filters(tenant=tenant), after=after, limit=500)
        results = bulk.each(
            lambda: api.transaction(tenant),
            [one.exception_id for one in page.exceptions],
            lambda connection, one: replays.retry(connection, one, ACTOR, "bench"),
        )
        done += sum(one.done for one in results)
        after = page.after
        if after is None:
            return round(time.perf_counter() - started, 2), done


def _fail_again(fleet: Database, tenant: str) -> None:
    from sqlalchemy import text

    with fleet.transaction(tenant) as connection:
        connection.execute(text(_FAIL_AGAIN), {"tenant": tenant})
    _analyze(fleet)


def _release(api: Database, fleet: Database, tenant: str) -> dict[str, float]:
    """The mend's own transaction, then the fleet's part."""
    from services.exceptions import causes

    started = time.perf_counter()
    with api.transaction(tenant) as connection:
        released = len(causes.release(connection, tenant, CAUSE, ACTOR))
    mended, done = time.perf_counter(), 0
    while more := causes.work_off(fleet):
        done += more
    return {
        "release_transaction_ms": round((mended - started) * 1000, 1),
        "release_seconds": round(time.perf_counter() - mended, 2),
        "released": done,
        "to_release": released,
    }


def _plans(api: Database, tenant: str) -> list[str]:
    """Tables of the list that any page reads from end to end; empty when every plan uses its index."""
    from sqlalchemy import text

    from services.exceptions import causes
    from services.exceptions import exceptions as listed
    from services.exceptions.exceptions import Filters

    scans = text(
        "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname IN ('exception', 'letter')"
    )
    with api.transaction(tenant) as connection:
        before = {row.relname: row.seq_scan for row in connection.execute(scans)}
        orders: tuple[Sort, ...] = ("newest", "oldest", "seen", "amount")
        for sort in orders:
            page = listed.page(connection, Filters(tenant=tenant), sort=sort, limit=1)
            listed.show(connection, page.exceptions[0].exception_id)
        causes.preview(connection, tenant, "other:10")
        after = {row.relname: row.seq_scan for row in connection.execute(scans)}
    return sorted(name for name in after if after[name] != before.get(name, 0))


class _Beside:
    """Another tenant that goes on working: a document billed, an operation opened, a page of its own list."""

    def __init__(self, fleet: Database, tenant: str, company_id: UUID) -> None:
        self._fleet = fleet
        self._tenant = tenant
        self._company_id = company_id
        self._times: list[float] = []

    def alone(self) -> dict[str, float]:
        """Work with nothing else going on; milliseconds."""
        self._times = [_timed(self._work) for _ in range(10 * PAGES)]
        return self.told()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work at an even pace while the block runs."""
        self._times, over = [], threading.Event()

        def work() -> None:
            while not over.wait(PAUSE):
                self._times.append(_timed(self._work))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def told(self) -> dict[str, float]:
        """Milliseconds a piece of work took."""
        return _percentiles(self._times)

    def _work(self) -> None:
        from services.exceptions import exceptions as listed
        from services.exceptions.exceptions import Filters
        from services.ledger import dispatch, documents, operations, timeline
        from services.ledger.operations import Plan

        name = f"inv-{uuid4().hex}"
        with self._fleet.transaction(self._tenant) as connection:
            documents.claim(connection, self._tenant, "invoice", name)
            plan = Plan("export_invoice", "export", self._company_id)
            operations.insert(connection, self._tenant, "invoice", name, plan, revision=1)
            timeline.append(connection, self._tenant, "invoice", name, ACTOR, "opened", {})
            listed.page(connection, Filters(tenant=self._tenant), limit=50)
        with self._fleet.transaction("*") as connection:
            dispatch.due(connection, in_flight=8, limit=100)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def _percentiles(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}
