"""What may be forgotten of what came in, a little at a time: polls, certificates, versions that were replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, text

from services.inbound.poll import KIND

KEEP_POLLS: Final = timedelta(days=2)  # their certificates stay
KEEP_EMPTY: Final = timedelta(days=35)  # certificates of cycles in which nothing had changed
KEEP: Final = timedelta(days=400)  # a fiscal year and its closing
BATCH: Final = 5000  # rows a run, so that no run holds many locks

_POLLS = text(
    """DELETE FROM operation WHERE operation_id IN (
         SELECT operation_id FROM operation
          WHERE kind = :kind AND finished_at < clock_timestamp() - CAST(:polls AS interval)
          ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED)"""
)
_CYCLES = text(
    """DELETE FROM poll_cycle WHERE (company_id, number) IN (
         SELECT company_id, number FROM poll_cycle
          WHERE finished_at < clock_timestamp() - CAST(:empty AS interval)
            AND (NOT outcomes ? 'new' AND resolution = '[]'
                 OR finished_at < clock_timestamp() - CAST(:keep AS interval))
          ORDER BY finished_at LIMIT :batch)"""
)
# The newest version of an object stays: it is judged again when something around it changes.
_CHANGES = text(
    """DELETE FROM quickbooks_change WHERE change_id IN (
         SELECT c.change_id FROM quickbooks_change c
          WHERE c.seen_at < clock_timestamp() - CAST(:keep AS interval)
            AND NOT EXISTS (SELECT FROM quickbooks_object o
                             WHERE (o.company_id, o.entity, o.external_id) = (c.company_id, c.entity, c.external_id)
                               AND o.change_id = c.change_id)
          ORDER BY c.seen_at LIMIT :batch)"""
)


def forget(connection: Connection) -> dict[str, int]:
    """Delete one batch of each (scope: all tenants); returns how many."""
    values = {"kind": KIND, "polls": KEEP_POLLS, "empty": KEEP_EMPTY, "keep": KEEP, "batch": BATCH}
    return {
        "polls": connection.execute(_POLLS, values).rowcount,
        "cycles": connection.execute(_CYCLES, values).rowcount,
        "changes": connection.execute(_CHANGES, values).rowcount,
    }
