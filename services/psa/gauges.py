"""What destinations are owed, fail at and how old it is, looked up when Prometheus asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Connection, text

_KINDS: Final = ("webhook", "algapsa", "mail")
_STATES: Final = ("active", "paused", "disabled")

_OWED = text(
    """SELECT s.kind, sum(d.pending) AS pending, sum(d.failed) AS failed,
              coalesce(extract(epoch FROM clock_timestamp() - min(d.oldest)), 0) AS oldest
         FROM subscription s
         JOIN (SELECT subscription_id, count(*) AS pending, 0 AS failed, min(created_at) AS oldest
                 FROM delivery WHERE state = 'pending' GROUP BY subscription_id
                UNION ALL
               SELECT subscription_id, 0, count(*), NULL
                 FROM delivery WHERE state = 'failed' GROUP BY subscription_id) d USING (subscription_id)
        WHERE s.state <> 'deleted' GROUP BY s.kind"""
)
_DESTINATIONS = text(
    """SELECT kind, state, count(*) AS number, count(*) FILTER (WHERE failures > 0) AS failing
         FROM subscription WHERE state <> 'deleted' GROUP BY kind, state"""
)


@dataclass(frozen=True, slots=True)
class Owed:
    """Figures by kind of destination; `destinations` by kind and state, `oldest` in seconds."""

    pending: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, float] = field(default_factory=dict)
    oldest: Mapping[str, float] = field(default_factory=dict)
    failing: Mapping[str, float] = field(default_factory=dict)
    destinations: Mapping[tuple[str, str], float] = field(default_factory=dict)


def look(connection: Connection) -> Owed:
    """Read the figures (scope: all tenants)."""
    owed = connection.execute(_OWED).all()
    found = connection.execute(_DESTINATIONS).all()
    return Owed(
        pending={row.kind: float(row.pending) for row in owed},
        failed={row.kind: float(row.failed) for row in owed},
        oldest={row.kind: float(row.oldest) for row in owed},
        failing={row.kind: float(row.failing) for row in found if row.state == "active"},
        destinations={(row.kind, row.state): float(row.number) for row in found},
    )


def families(found: Owed) -> Iterator[Metric]:
    """The figures as Prometheus wants them, those that are zero too."""
    for name, meaning, values in (
        ("algasync_deliveries_pending", "Deliveries that are owed", found.pending),
        ("algasync_deliveries_oldest_seconds", "Age of the oldest delivery that is owed", found.oldest),
        ("algasync_deliveries_failed", "Deliveries that were given up and not replayed", found.failed),
        ("algasync_destinations_failing", "Active destinations whose last attempt failed", found.failing),
    ):
        family = GaugeMetricFamily(name, meaning, labels=["kind"])
        for kind in _KINDS:
            family.add_metric([kind], values.get(kind, 0))
        yield family
    destinations = GaugeMetricFamily(
        "algasync_destinations", "Destinations by kind and state", labels=["kind", "state"]
    )
    for kind in _KINDS:
        for state in _STATES:
            destinations.add_metric([kind, state], found.destinations.get((kind, state), 0))
    yield destinations
