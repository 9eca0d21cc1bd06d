"""What may be forgotten of what came in, a little at a time: polls, certificates, versions that were replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from services.database.slices import Slices
from services.inbound.poll import KIND

KEEP_POLLS: Final = timedelta(days=2)  # their certificates stay
KEEP_EMPTY: Final = timedelta(days=35)  # certificates of cycles in which nothing had changed
KEEP: Final = timedelta(days=400)  # a fiscal year and its closing
BATCH: Final = 5000  # polls a run, so that no run holds many locks
LOOK: Final = 10_000  # certificates and versions a run looks at; most of the old ones stay

_POLLS = text(
    """DELETE FROM operation WHERE operation_id IN (
         SELECT operation_id FROM operation
          WHERE kind = :kind AND finished_at < statement_timestamp() - CAST(:polls AS interval)
          ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED)"""
)
_OLD_CYCLES = text(
    """SELECT finished_at, operation_id, NOT outcomes ? 'new' AND resolution = '[]'
              OR finished_at < statement_timestamp() - CAST(:keep AS interval) AS over
         FROM poll_cycle
        WHERE finished_at < statement_timestamp() - CAST(:empty AS interval)
          AND (finished_at, operation_id) > (CAST(:finished_at AS timestamptz), :operation_id)
        ORDER BY finished_at, operation_id LIMIT :size"""
)
_CYCLES = text("DELETE FROM poll_cycle WHERE operation_id = ANY (:ids)")
# The newest version of an object stays: it is judged again when something around it changes.
_OLD_CHANGES = text(
    """SELECT c.seen_at, c.change_id, NOT EXISTS (
                SELECT FROM quickbooks_object o
                 WHERE (o.company_id, o.entity, o.external_id) = (c.company_id, c.entity, c.external_id)
                   AND o.change_id = c.change_id) AS over
         FROM quickbooks_change c
        WHERE c.seen_at < statement_timestamp() - CAST(:keep AS interval)
          AND (c.seen_at, c.change_id) > (CAST(:seen_at AS timestamptz), :change_id)
        ORDER BY c.seen_at, c.change_id LIMIT :size"""
)
_CHANGES = text("DELETE FROM quickbooks_change WHERE change_id = ANY (:ids)")


class Retention:
    """Forgets by the clock; remembers between two runs what it has looked at."""

    def __init__(self) -> None:
        self._cycles = Slices(_OLD_CYCLES, {"finished_at": "-infinity", "operation_id": UUID(int=0)}, LOOK)
        self._changes = Slices(_OLD_CHANGES, {"seen_at": "-infinity", "change_id": 0}, LOOK)

    def forget(self, connection: Connection) -> dict[str, int]:
        """Delete some of each (scope: all tenants); returns how many."""
        polls = {"kind": KIND, "polls": KEEP_POLLS, "batch": BATCH}
        cycles = [
            row.operation_id for row in self._cycles.next(connection, keep=KEEP, empty=KEEP_EMPTY) if row.over
        ]
        changes = [row.change_id for row in self._changes.next(connection, keep=KEEP) if row.over]
        return {
            "polls": connection.execute(_POLLS, polls).rowcount,
            "cycles": connection.execute(_CYCLES, {"ids": cycles}).rowcount if cycles else 0,
            "changes": connection.execute(_CHANGES, {"ids": changes}).rowcount if changes else 0,
        }
