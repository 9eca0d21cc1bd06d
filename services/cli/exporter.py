"""The fleet's figures for Prometheus: taken when they are asked for, so they are never stale, by any scheduler.

What a process itself does (messages handled, events published) it counts itself, wherever it runs.
https://prometheus.github.io/client_python/collector/custom/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.cli import figures
from services.cli.figures import Figures
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.psa import gauges

log = structlog.get_logger()

STATES = ("queued", "running", "waiting", "scheduled", "failed")
COMPANY_STATES = ("active", "expired", "disconnected")


class Exporter(Collector):
    """Looks into the database at each scrape; when it cannot be reached, says just that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Nothing beforehand: registering must not need the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all figures, those that are zero too."""
        try:
            with self._database.transaction(ALL_TENANTS) as connection:
                found, owed = figures.look(connection), gauges.look(connection)
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            log.warning("figures_unavailable", error=type(error).__name__)
            yield _one("algasync_database_up", "1 while the database answers", 0)
            return
        yield _one("algasync_database_up", "1 while the database answers", 1)
        yield from families(found)
        yield from gauges.families(owed)


def install(database: Database) -> None:
    """Add the figures to this process' `/metrics`."""
    REGISTRY.register(Exporter(database))


def families(found: Figures) -> Iterator[Metric]:
    """The figures as Prometheus wants them."""
    yield _one(
        "algasync_outbox_unpublished", "Events that no broker has confirmed", found.outbox["unpublished"]
    )
    yield _one(
        "algasync_outbox_oldest_seconds",
        "Age of the oldest event that no broker has confirmed",
        found.outbox["oldest_unpublished"],
    )
    yield _one(
        "algasync_outbox_under_way",
        "Billing events published whose outcome is not recorded",
        found.outbox["under_way"],
    )
    yield _one(
        "algasync_outbox_under_way_oldest_seconds",
        "Age of the oldest of them",
        found.outbox["oldest_under_way"],
    )
    yield _many(
        "algasync_operations",
        "Unfinished operations",
        "state",
        dict.fromkeys(STATES, 0) | dict(found.operations),
    )
    yield _many("algasync_operations_waiting", "Waiting operations", "condition", found.waits)
    yield _one(
        "algasync_operations_oldest_due_seconds",
        "How long the oldest operation has been due and not sent",
        found.oldest_due,
    )
    sent = {queue: number for queue, (number, _) in found.sent.items()}
    ages = {queue: age for queue, (_, age) in found.sent.items()}
    yield _many("algasync_commands_untaken", "Commands sent that no worker has taken", "queue", sent)
    yield _many("algasync_commands_untaken_oldest_seconds", "Age of the oldest of them", "queue", ages)
    yield _many("algasync_operations_done", "Operations that succeeded in five minutes", "kind", found.done)
    yield _many(
        "algasync_freshness_seconds",
        "Event taken over to done, over five minutes",
        "quantile",
        found.freshness,
    )
    exceptions = GaugeMetricFamily(
        "algasync_exceptions", "Exceptions that need a person", labels=["type", "state"]
    )
    oldest = GaugeMetricFamily(
        "algasync_exceptions_oldest_seconds", "Age of the oldest", labels=["type", "state"]
    )
    for labels, (number, age) in found.exceptions.items():
        exceptions.add_metric(list(labels), number)
        oldest.add_metric(list(labels), age)
    yield exceptions
    yield oldest
    yield _many(
        "algasync_letters",
        "Dead letters",
        "state",
        dict.fromkeys(("open", "replayed"), 0) | dict(found.letters),
    )
    yield _many(
        "algasync_companies",
        "QuickBooks companies",
        "state",
        dict.fromkeys(COMPANY_STATES, 0) | dict(found.companies),
    )
    scopes = dict.fromkeys(("fleet", "tenant", "company", "kind"), 0)
    yield _many("algasync_pauses", "Stop switches that are on", "scope", scopes | dict(found.pauses))
    yield _one("algasync_token_days", "Days until the first authorization ends", found.token_days)
    yield _one(
        "algasync_limiter_wait_seconds", "Longest wait for a call slot of a company", found.limiter["longest"]
    )
    yield _one(
        "algasync_limiter_resting", "Companies that rest because QuickBooks said so", found.limiter["resting"]
    )
    yield _one("algasync_metered_reads_month", "Metered reads of this month", found.reads)
    yield _one("algasync_feed_overdue_seconds", "How late the latest poll is", found.feed["overdue"])
    yield _one(
        "algasync_feed_behind_seconds", "Age of the oldest cursor of an active company", found.feed["behind"]
    )
    yield _one(
        "algasync_feed_incomplete", "Companies whose last cycle saw only a part", found.feed["incomplete"]
    )
    violations = dict.fromkeys(("lease_expired", "waits_for_nothing", "condition_met"), 0)
    yield _many(
        "algasync_liveness_violations",
        "Operations that break the liveness rule",
        "violation",
        violations | dict(found.violations),
    )


def _one(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)


def _many(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
