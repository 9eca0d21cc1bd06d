"""What the ledger may forget, a little at a time: what is long done. Timeline and links are kept seven years."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, text

KEEP_DONE: Final = timedelta(days=400)  # a fiscal year and its closing
BATCH: Final = 2000  # rows a run, so that no run holds many locks

_OPERATIONS = text(
    """DELETE FROM operation WHERE operation_id IN (
         SELECT operation_id FROM operation
          WHERE finished_at < clock_timestamp() - CAST(:keep AS interval) ORDER BY finished_at LIMIT :batch
            FOR UPDATE SKIP LOCKED)"""
)
# The newest event of a document stays: it says which sequence comes next, should the document be seen again.
_EVENTS = text(
    """DELETE FROM event WHERE event_id IN (
         SELECT e.event_id FROM event e
           JOIN document d ON (d.tenant_id, d.kind, d.document_id) = (e.tenant_id, e.document_kind, e.document_id)
          WHERE e.state = 'applied' AND e.received_at < clock_timestamp() - CAST(:keep AS interval)
            AND e.sequence < d.applied_sequence
          ORDER BY e.received_at LIMIT :batch)"""
)


def forget(connection: Connection, *, keep: timedelta = KEEP_DONE, batch: int = BATCH) -> dict[str, int]:
    """Delete one batch of operations and events that were done longer ago than `keep`; returns how many."""
    values = {"keep": keep, "batch": batch}
    return {
        "operations": connection.execute(_OPERATIONS, values).rowcount,
        "events": connection.execute(_EVENTS, values).rowcount,
    }
