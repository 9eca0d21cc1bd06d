"""What the ledger may forget, a little at a time: what is long done. Timeline and links are kept seven years."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from services.database.slices import Slices

KEEP_DONE: Final = timedelta(days=400)  # a fiscal year and its closing
BATCH: Final = 2000  # rows a run, so that no run holds many locks
LOOK: Final = 10_000  # events a run looks at; most of the old ones are the last of their document and stay

_OPERATIONS = text(
    """DELETE FROM operation WHERE operation_id IN (
         SELECT operation_id FROM operation
          WHERE finished_at < statement_timestamp() - CAST(:keep AS interval) ORDER BY finished_at LIMIT :batch
            FOR UPDATE SKIP LOCKED)"""
)
# The newest event of a document stays: it says which sequence comes next, should the document be seen again.
_OLD = text(
    """SELECT e.received_at, e.event_id, e.state = 'applied' AND e.sequence <
              (SELECT d.applied_sequence FROM document d
                WHERE (d.tenant_id, d.kind, d.document_id) = (e.tenant_id, e.document_kind, e.document_id)) AS followed
         FROM event e
        WHERE e.received_at < statement_timestamp() - CAST(:keep AS interval)
          AND (e.received_at, e.event_id) > (CAST(:received_at AS timestamptz), :event_id)
        ORDER BY e.received_at, e.event_id LIMIT :size"""
)
_EVENTS = text("DELETE FROM event WHERE event_id = ANY (:ids)")


class Retention:
    """Forgets by the clock; remembers between two runs which old events it has looked at."""

    def __init__(self, *, keep: timedelta = KEEP_DONE, look: int = LOOK) -> None:
        self._keep = keep
        self._old = Slices(_OLD, {"received_at": "-infinity", "event_id": UUID(int=0)}, look)

    def forget(self, connection: Connection) -> dict[str, int]:
        """Delete some of the operations and events that were done longer ago than `keep`; returns how many."""
        done = connection.execute(_OPERATIONS, {"keep": self._keep, "batch": BATCH}).rowcount
        followed = [row.event_id for row in self._old.next(connection, keep=self._keep) if row.followed]
        events = connection.execute(_EVENTS, {"ids": followed}).rowcount if followed else 0
        return {"operations": done, "events": events}
