"""The sweep: finds what breaks the liveness invariant and mends it, counting every repair.

In a healthy fleet it finds nothing but leases of workers that died.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, text

from services.database.slices import Slices

log = structlog.get_logger()

REPAIRED = Counter("algasync_liveness_repaired_total", "Operations the sweep set going again", ["violation"])

_VIOLATIONS = text("SELECT violation, count(*) FROM liveness_violation GROUP BY violation")
# The intent stays as it was written: whoever takes it next makes the very same call.
_EXPIRED = text(
    """UPDATE operation SET state = 'queued', outcome = 'unknown', lease_token = NULL, lease_until = NULL,
              dispatched_at = NULL, due_at = clock_timestamp(), updated_at = clock_timestamp(),
              reason_code = CASE reason_code WHEN 'read_back' THEN reason_code ELSE 'lease_expired' END,
              reason = 'the worker that held it stopped'
        WHERE operation_id IN (SELECT operation_id FROM operation
                                WHERE state = 'running' AND lease_until < clock_timestamp()
                                ORDER BY lease_until LIMIT :limit FOR UPDATE SKIP LOCKED)"""
)
_WAITING = text(
    """SELECT operation_id FROM operation WHERE state = 'waiting' AND operation_id > :operation_id
        ORDER BY operation_id LIMIT :size"""
)
_STALE_WAITS = text(
    """DELETE FROM wait w USING operation o
        WHERE o.operation_id = ANY (:ids) AND o.state = 'waiting' AND w.operation_id = o.operation_id
          AND condition_met(w.tenant_id, w.condition, w.key)"""
)
_FORGOTTEN = text(
    """UPDATE operation o SET state = 'queued', due_at = clock_timestamp(), dispatched_at = NULL,
              reason_code = NULL, reason = NULL, updated_at = clock_timestamp()
        WHERE o.operation_id IN (SELECT x.operation_id FROM operation x
                                  WHERE x.operation_id = ANY (:ids) AND x.state = 'waiting' AND x.company_id IS NOT NULL
                                    AND NOT EXISTS (SELECT FROM wait w WHERE w.operation_id = x.operation_id)
                                  ORDER BY x.operation_id FOR UPDATE SKIP LOCKED)"""
)
LIMIT: Final = 1000  # leases a run
LOOK: Final = 1000  # waiting operations a run looks at, of which there may be very many
EVERYTHING: Final = 2**31 - 1


def violations(connection: Connection) -> dict[str, int]:
    """How many rows break the liveness invariant now, by kind; empty when all is well."""
    return {violation: count for violation, count in connection.execute(_VIOLATIONS)}


class Sweep:
    """Sweeps by the clock; remembers between two runs which waiting operations it has looked at."""

    def __init__(self, *, look: int = LOOK) -> None:
        self._waiting = Slices(_WAITING, {"operation_id": UUID(int=0)}, look)

    def run(self, connection: Connection) -> Mapping[str, int]:
        """Mend leases that ended, and the next waiting operations; returns how many of each violation."""
        expired = connection.execute(_EXPIRED, {"limit": LIMIT}).rowcount
        ids = {"ids": [row.operation_id for row in self._waiting.next(connection)]}
        mended = {
            "lease_expired": expired,
            "condition_met": connection.execute(_STALE_WAITS, ids).rowcount if ids["ids"] else 0,
            "waits_for_nothing": connection.execute(_FORGOTTEN, ids).rowcount if ids["ids"] else 0,
        }
        for violation, number in mended.items():
            REPAIRED.labels(violation).inc(number)
        if any(mended.values()):
            log.warning("liveness_repaired", **mended)
        return mended


def sweep(connection: Connection) -> Mapping[str, int]:
    """Mend every violation there is (of leases up to `LIMIT`); returns what was mended."""
    return Sweep(look=EVERYTHING).run(connection)
