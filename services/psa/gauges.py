"""What destinations wait for, fail at and how old it is, for `/metrics` of the scheduler."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge
from sqlalchemy import Connection, text

_KINDS: Final = ("webhook", "algapsa", "mail")
_STATES: Final = ("active", "paused", "disabled")

PENDING = Gauge("algasync_deliveries_pending", "Deliveries that are owed", ["kind"])
OLDEST = Gauge("algasync_deliveries_oldest_seconds", "Age of the oldest delivery that is owed", ["kind"])
FAILED = Gauge("algasync_deliveries_failed", "Deliveries that were given up and not replayed", ["kind"])
FAILING = Gauge("algasync_destinations_failing", "Active destinations whose last attempt failed", ["kind"])
DESTINATIONS = Gauge("algasync_destinations", "Destinations by kind and state", ["kind", "state"])

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


def refresh(connection: Connection) -> None:
    """Look, and set every figure, those that are zero too (scope: all tenants)."""
    owed = {row.kind: row for row in connection.execute(_OWED)}
    for kind in _KINDS:
        row = owed.get(kind)
        PENDING.labels(kind).set(row.pending if row else 0)
        FAILED.labels(kind).set(row.failed if row else 0)
        OLDEST.labels(kind).set(float(row.oldest) if row else 0)
    found = {(row.kind, row.state): row for row in connection.execute(_DESTINATIONS)}
    for kind in _KINDS:
        for state in _STATES:
            row = found.get((kind, state))
            DESTINATIONS.labels(kind, state).set(row.number if row else 0)
            if state == "active":
                FAILING.labels(kind).set(row.failing if row else 0)
