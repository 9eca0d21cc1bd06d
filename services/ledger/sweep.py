"""The sweep: finds what breaks the liveness invariant and mends it, counting every repair.

In a healthy fleet it finds nothing but leases of workers that died.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, text

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
_STALE_WAITS = text(
    """DELETE FROM wait w USING operation o
        WHERE o.operation_id = w.operation_id AND o.state = 'waiting'
          AND condition_met(w.tenant_id, w.condition, w.key)"""
)
_FORGOTTEN = text(
    """UPDATE operation o SET state = 'queued', due_at = clock_timestamp(), dispatched_at = NULL,
              reason_code = NULL, reason = NULL, updated_at = clock_timestamp()
        WHERE o.operation_id IN (SELECT x.operation_id FROM operation x
                                  WHERE x.state = 'waiting' AND x.company_id IS NOT NULL
                                    AND NOT EXISTS (SELECT FROM wait w WHERE w.operation_id = x.operation_id)
                                  ORDER BY x.operation_id LIMIT :limit FOR UPDATE SKIP LOCKED)"""
)


def violations(connection: Connection) -> dict[str, int]:
    """How many rows break the liveness invariant now, by kind; empty when all is well."""
    return {violation: count for violation, count in connection.execute(_VIOLATIONS)}


def sweep(connection: Connection, *, limit: int = 1000) -> Mapping[str, int]:
    """Mend up to `limit` violations of each kind; returns what was mended."""
    values = {"limit": limit}
    mended = {
        "lease_expired": connection.execute(_EXPIRED, values).rowcount,
        "condition_met": connection.execute(_STALE_WAITS).rowcount,
        "waits_for_nothing": connection.execute(_FORGOTTEN, values).rowcount,
    }
    for violation, number in mended.items():
        REPAIRED.labels(violation).inc(number)
    if any(mended.values()):
        log.warning("liveness_repaired", **mended)
    return mended
