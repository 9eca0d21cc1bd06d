"""`algasync bench capacity`: how many companies a fleet carries, simulated from what a document was measured to cost.

Every company bills its invoices at once, at a moment of the same hour that chance chooses. All that have work share
what workers, database, dispatcher and threads can do, as the dispatcher's rounds share it; nobody gets more than Intuit
lets a company have. The most companies are looked for with which nearly every invoice is still there in time.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Final

import typer

from services.cli import console
from services.cli.bench_runs import percentile
from services.cli.options import Json

HOUR: Final = 3_600  # seconds
PARTS: Final = 20  # of a company's invoices, whose waits are looked at
USED: Final = 0.85  # of the cores
POLL: Final = 900  # seconds between two polls of a company; each costs at most what a document does


@dataclass(frozen=True, slots=True)
class Fleet:
    """Cores, and milliseconds of CPU that a document costs them; `threads` of all workers, `latency` of Intuit (s)."""

    worker_cores: float
    database_cores: float
    worker_ms: float
    database_ms: float
    dispatcher_ms: float
    threads: int
    latency: float
    measured: float = float("inf")  # documents a second of a fleet whose parts share their cores

    def limits(self) -> dict[str, float]:
        """Documents a second that each part bears; the smallest is what the fleet bears."""
        return {
            "workers": USED * self.worker_cores * 1_000 / self.worker_ms,
            "database": USED * self.database_cores * 1_000 / self.database_ms,
            "dispatcher": USED * 1_000 / self.dispatcher_ms,
            "threads": self.threads / (self.latency + self.worker_ms / 1_000),
            "measured": self.measured,
        }


def capacity(
    worker_cores: Annotated[float, typer.Option(min=0.1, help="Cores that workers have to themselves.")] = 4,
    database_cores: Annotated[float, typer.Option(min=0.1, help="Cores of PostgreSQL.")] = 4,
    worker_ms: Annotated[float, typer.Option(min=0.1, help="CPU a document of the workers.")] = 7.0,
    database_ms: Annotated[float, typer.Option(min=0.1, help="CPU a document of PostgreSQL.")] = 6.5,
    dispatcher_ms: Annotated[float, typer.Option(min=0.01, help="CPU a document of the dispatcher.")] = 0.2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of all worker processes.")] = 256,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that Intuit takes to answer.")] = 0.3,
    measured: Annotated[
        float | None,
        typer.Option(min=0.1, help="Documents a second that `bench fleet` said of all on one machine."),
    ] = None,
    calls: Annotated[float, typer.Option(min=1, help="Calls a minute that a company is let have.")] = 400,
    invoices: Annotated[int, typer.Option(min=PARTS, help="Invoices of a company, all at once.")] = 400,
    within: Annotated[float, typer.Option(min=1, help="Seconds in which 99 % must be in QuickBooks.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the moments at which companies bill.")] = 1,
    json: Json = False,
) -> None:
    """Simulate the busiest hour of a month; the costs are those of docs/performance.md unless others are given.

    Example: algasync bench capacity --worker-cores 16 --database-cores 16 --threads 1024 --json
    """
    fleet = Fleet(
        worker_cores,
        database_cores,
        worker_ms,
        database_ms,
        dispatcher_ms,
        threads,
        latency,
        measured if measured is not None else float("inf"),
    )
    carried = most(fleet, calls / 60, invoices, within, seed)
    found = waits(fleet, carried, calls / 60, invoices, seed)
    limits = fleet.limits()
    report: dict[str, Any] = {
        "companies": carried,
        "documents_per_second": round(min(limits.values()), 1),
        "bounded_by": min(limits, key=lambda name: limits[name]),
        "limits_per_second": {name: round(value, 1) for name, value in limits.items() if isfinite(value)},
        "freshness_p50_s": round(percentile(found, 50), 1),
        "freshness_p99_s": round(percentile(found, 99), 1),
        "invoices_of_a_company": invoices,
        "within_seconds": within,
        "seed": seed,
    }
    if json:
        console.result(report)
    else:
        console.facts((name.replace("_", " "), value) for name, value in report.items())


def most(fleet: Fleet, rate: float, invoices: int, within: float, seed: int) -> int:
    """The most companies of whose invoices 99 % are there `within` seconds; 0 when not even one company's are."""
    few, many = 0, 1
    while percentile(waits(fleet, many, rate, invoices, seed), 99) <= within:
        few, many = many, many * 2
    while many - few > max(1, few // 100):
        middle = (few + many) // 2
        if percentile(waits(fleet, middle, rate, invoices, seed), 99) <= within:
            few = middle
        else:
            many = middle
    return few


def waits(fleet: Fleet, companies: int, rate: float, invoices: int, seed: int) -> list[float]:
    """Seconds from billing to QuickBooks, of every twentieth part of each company's invoices, in any order.

    `rate`: documents a second that one company may have. All that are busy get the same in a second, so one curve of
    what each has got since the hour began tells of all of them.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    billed = sorted(chance.uniform(0, HOUR) for _ in range(companies))
    bears = max(0.0, min(fleet.limits().values()) - companies / POLL)
    got, begun, done = [0.0], list[float](), list[float]()
    while len(begun) < companies or done:
        second = len(got) - 1
        while len(begun) < companies and billed[len(begun)] < second + 1:
            begun.append(got[-1])
            heapq.heappush(done, got[-1] + invoices)
        got.append(got[-1] + (min(rate, bears / len(done)) if done else 0.0))
        while done and done[0] <= got[-1]:
            heapq.heappop(done)
        if second > 100 * HOUR:
            return [float("inf")]  # it never catches up
    return [
        max(1.0, bisect_left(got, start + invoices * part / PARTS) - moment) + fleet.latency
        for start, moment in zip(begun, billed, strict=True)
        for part in range(1, PARTS + 1)
    ]
