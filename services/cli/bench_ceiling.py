"""`algasync bench ceiling`: how much of Intuit's call limit one company gets, and whether Intuit ever says 429.

Threads create invoices as fast as they may, each call as a worker makes it: a slot reserved in a transaction, slept
for, then the real client over HTTP. The sandbox enforces Intuit's limits over sliding windows and answers after 300 ms.
What counts is what arrived there: its request log is read, and of all sliding minutes the emptiest is reported.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from services.cli import bench_runs, console
from services.cli.bench_runs import Runs
from services.cli.console import FAILED, Told
from services.cli.options import Json

if TYPE_CHECKING:
    from uuid import UUID

    from services.connections.clients import Clients
    from services.database import Database

REALM: Final = 9341450000000043  # of the first run
ACTOR: Final = "bench"
LATENCY: Final = 0.3  # seconds
MINUTE: Final = 60.0  # seconds
CUSTOMER, ITEM = "2", "3"  # ids in the books of a fresh sandbox company


def ceiling(
    seconds: Annotated[int, typer.Option(min=61, max=3_600, help="How long calls are made, a run.")] = 90,
    threads: Annotated[
        int, typer.Option(min=1, max=64, help="Calls in flight at most, as the dispatcher allows a company.")
    ] = 8,
    runs: Runs = 2,
    json: Json = False,
) -> None:
    """Saturate one company at share 100 %, with Intuit's limits enforced and 300 ms latency.

    `fraction_of_limit` is the emptiest sliding minute's part of 500 calls (of the runs the median), `answers_429` how
    many calls were refused (in all runs). Each run has a company of its own. They take three minutes.
    Uses DATABASE_URL (in a tenant of its own) when it is set, else a private PostgreSQL in a temporary folder.

    Example: algasync bench ceiling --json
    """
    from services.cli import logs
    from services.cli.bench_servers import servers
    from services.connections.limiter import CALLS

    logs.configure("console", "warning")
    with servers() as found:
        measured = [
            _run(found.database_url, found.api, found.control, seconds, threads, number)
            for number in range(runs)
        ]
    report = bench_runs.report(measured, sums=("answers_429", "failures")) | {
        "limit_per_minute": CALLS,
        "seconds": seconds,
        "threads": threads,
        "latency_seconds": LATENCY,
    }
    if json:
        console.result(report)
    else:
        bench_runs.show(report)
    if report["failures"]:
        raise Told(f"calls failed: {report['failures']}", code="calls_failed", exit_code=FAILED)


def sliding(moments: Sequence[float], window: float) -> tuple[int, int]:
    """The fewest and the most of the sorted moments in any window that begins with one and lies within them.

    Raises ValueError when they span less than one window.
    """
    counts = [
        bisect_left(moments, first + window) - place
        for place, first in enumerate(moments)
        if first + window <= moments[-1]
    ]
    if not counts:
        raise ValueError(f"the moments span less than {window} s")
    return min(counts), max(counts)


def _run(
    database_url: str, api: str, control: str, seconds: int, threads: int, number: int
) -> dict[str, Any]:
    import requests

    from services.cli.arena import Arena
    from services.configuration import Configuration
    from services.connections.application import Application
    from services.connections.clients import Clients
    from services.connections.intuit import Intuit
    from services.connections.limiter import CALLS
    from services.connections.vault import Vault, new_key
    from services.database import Database, Role, migrate
    from services.exceptions.attention import ConnectionAttention
    from services.mapping import settings

    migrate(database_url)
    vault, tenant, realm = Vault([new_key()]), f"bench-{uuid4().hex[:8]}", str(REALM + number)
    configuration = Configuration(
        quickbooks_api_url=api,
        quickbooks_authorize_url=f"{api}/connect/oauth2",
        quickbooks_token_url=f"{api}/oauth2/v1/tokens/bearer",
        quickbooks_revoke_url=f"{api}/v2/oauth2/tokens/revoke",
    )
    intuit = Intuit(configuration, Application(redirect_uri="http://127.0.0.1/callback"), vault)
    with Database(database_url, Role.FLEET, pool_size=threads + 4, application="algasync bench") as database:
        arena = Arena(control, database, vault)
        arena.prepare(limits=True)
        company_id = arena.join(tenant, realm)
        with database.transaction(tenant) as connection:
            settings.put(
                connection, tenant, settings.of_company(company_id), "limiter_share", 1.0, actor=ACTOR
            )
        arena.trouble("latency", realm=realm, seconds=LATENCY)
        console.note(f"{threads} threads create invoices for {seconds} s ...")
        clients, cpu = Clients(database, intuit, ConnectionAttention(), tenant), time.process_time()
        try:
            failures = _saturate(database, clients, tenant, company_id, seconds, threads)
        finally:
            clients.close()
        cpu = time.process_time() - cpu
        answer = requests.get(f"{control}/requests", params={"realm": realm, "limit": "1000000"}, timeout=60)
        answer.raise_for_status()
    made = [row for row in answer.json() if row["entity"] == "Invoice"]
    moments = sorted(row["at"] for row in made if row["status"] == 200)
    fewest, most = sliding(moments, MINUTE)
    return {
        "fraction_of_limit": round(fewest / CALLS, 4),
        "answers_429": sum(row["status"] == 429 for row in made),
        "emptiest_minute": fewest,
        "busiest_minute": most,
        "busiest_second": sliding(moments, 1)[1],
        "calls": len(moments),
        "failures": dict(failures),
        "cpu_ms_per_call": round(1_000 * cpu / max(1, len(moments)), 2),
    }


def _saturate(
    database: Database, clients: Clients, tenant: str, company_id: UUID, seconds: int, threads: int
) -> Counter[str]:
    """Make calls from all threads until the time is over; what failed, by kind."""
    from services.connections.limiter import HORIZON
    from services.quickbooks import calls
    from services.quickbooks.errors import QuickBooksError

    body = {
        "CustomerRef": {"value": CUSTOMER},
        "Line": [
            {
                "Amount": 10,
                "DetailType": "SalesItemLineDetail",
                "SalesItemLineDetail": {"ItemRef": {"value": ITEM}},
            }
        ],
    }
    end, failures, guard = time.monotonic() + seconds, Counter[str](), threading.Lock()

    def work(_: int) -> None:
        while time.monotonic() < end:
            with database.transaction(tenant) as connection:
                slot = clients.reserve(connection, company_id)
            time.sleep(min(slot, HORIZON))
            if slot > HORIZON:  # a 429 pauses the company: no slot was taken
                continue
            try:
                clients.execute(company_id, calls.create("Invoice", body, requestid=uuid4().hex))
            except QuickBooksError as failure:
                with guard:
                    failures[type(failure).__name__] += 1

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return failures
