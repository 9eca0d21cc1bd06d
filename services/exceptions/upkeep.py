"""Keeping letters and exceptions in step with the ledger: what is done is closed, what is missing is rebuilt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
import uuid_utils
from sqlalchemy import Connection, Row, text

from messages import commands
from services.exceptions import desk, poison
from services.exceptions.desk import ACTOR

log = structlog.get_logger()

GRACE = timedelta(minutes=2)

_DONE = text(
    """UPDATE letter l SET state = 'resolved', closed_at = clock_timestamp(), closed_by = :actor,
              close_reason = done.reason
         FROM (SELECT x.letter_id, coalesce('the operation is ' || o.state, 'the event was taken over') AS reason
                 FROM letter x
                 LEFT JOIN operation o ON o.operation_id = x.operation_id AND o.finished_at IS NOT NULL
                 LEFT JOIN event e ON e.event_id = x.event_id AND e.tenant_id = x.tenant_id
                WHERE x.state IN ('open', 'replayed')
                  AND (o.operation_id IS NOT NULL OR (e.event_id IS NOT NULL AND x.code <> 'id_taken'))) done
        WHERE l.letter_id = done.letter_id AND l.state IN ('open', 'replayed')"""
)
# Sent again, taken over by nobody, and the outbox does not answer for it any more: somebody must look.
_LOST = text(
    """SELECT l.letter_id, l.tenant_id, l.type, l.code, l.message, l.event_id, l.queue, l.exception_id FROM letter l
        WHERE l.state = 'replayed' AND l.event_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM event e WHERE e.event_id = l.event_id)
          AND NOT EXISTS (SELECT FROM outbox_event o WHERE o.event_id = l.event_id)
        ORDER BY l.letter_id LIMIT :limit FOR UPDATE OF l SKIP LOCKED"""
)
_REOPEN = text(
    """UPDATE letter SET state = 'open', closed_at = NULL, closed_by = NULL, close_reason = NULL,
              exception_id = :exception_id
        WHERE letter_id = :letter_id"""
)
# The trouble of a finished operation is over; so is that of an event that was taken over after all. Ids are cast before
# they are joined: a cast may tell what it failed on, so with row-level security no index is asked for its result.
_OVER = text(
    """WITH unsettled AS MATERIALIZED (
         SELECT exception_id, tenant_id, operation_id, code,
                CASE WHEN entity_kind = 'event' AND entity_id ~ '^[0-9a-f-]{36}$' THEN entity_id::uuid END AS event_id
           FROM exception
          WHERE state IN ('open', 'in_progress') AND type IN ('accounting_sync_export_error', :poison)
       )
       SELECT e.exception_id, coalesce('the operation is ' || o.state, 'the event was taken over') AS resolution
         FROM unsettled e
         LEFT JOIN operation o ON o.operation_id = e.operation_id AND o.finished_at IS NOT NULL
         LEFT JOIN event v ON v.event_id = e.event_id AND v.tenant_id = e.tenant_id
        WHERE o.operation_id IS NOT NULL OR (v.event_id IS NOT NULL AND e.code <> 'id_taken')
        ORDER BY e.exception_id LIMIT :limit"""
)
_LETTERLESS = text(
    """WITH failed AS MATERIALIZED (
         SELECT operation_id, tenant_id, company_id, attempt, queue, kind, operation_id::text AS subject,
                coalesce(reason_code, 'failed') AS code, coalesce(reason, '') AS message
           FROM operation WHERE state = 'failed' AND updated_at <= clock_timestamp() - CAST(:grace AS interval)
       )
       SELECT o.operation_id, o.tenant_id, o.company_id, o.attempt, o.queue, o.kind, o.code, o.message,
              (SELECT exception_id FROM exception e
                WHERE e.operation_id = o.operation_id AND e.state <> 'resolved'
                ORDER BY e.state = 'ignored', e.created_at DESC LIMIT 1) AS exception_id
         FROM failed o
        WHERE NOT EXISTS (SELECT FROM letter l WHERE l.subject = o.subject AND l.attempt = o.attempt)
        ORDER BY o.operation_id LIMIT :limit"""
)
_REBUILD = text(
    """INSERT INTO letter (letter_id, tenant_id, subject, attempt, queue, type, reason, code, message, body,
                           operation_id, exception_id, company_id)
       VALUES (:letter_id, :tenant_id, CAST(:operation_id AS text), :attempt, :queue, :kind, 'rebuilt', :code,
               :message, :body, :operation_id, :exception_id, :company_id)
       ON CONFLICT (subject, attempt) DO NOTHING"""
)


def sweep(connection: Connection, *, limit: int = 1000) -> Mapping[str, int]:
    """Close letters and exceptions whose work is done (scope: all tenants); returns how many of each.

    Most are closed at once, where the work ends; this finds the rest, e.g. an event that arrived after all. A
    replayed event that went missing on its way is open again.
    """
    letters = connection.execute(_DONE, {"actor": ACTOR}).rowcount
    over = connection.execute(_OVER, {"poison": desk.POISON, "limit": limit}).all()
    closed = [desk.resolve_one(connection, one.exception_id, one.resolution, ACTOR) for one in over]
    lost = connection.execute(_LOST, {"limit": limit}).all()
    for one in lost:
        _reopen(connection, one)
    done = {"letters": letters, "exceptions": sum(closed), "reopened": len(lost)}
    if any(done.values()):
        log.info("exceptions_swept", **done)
    return done


def rebuild(connection: Connection, *, limit: int = 10_000, grace: timedelta = GRACE) -> int:
    """Write the letters that failed operations should have and have not, e.g. after the broker lost its disk.

    Returns how many. `grace` is how long a letter may be on its way; the original of a rebuilt one takes its place.
    """
    missing = connection.execute(_LETTERLESS, {"limit": limit, "grace": grace}).mappings().all()
    rows = [
        dict(one)
        | {
            "letter_id": str(uuid_utils.uuid7()),
            "body": commands.encode(
                commands.Command(operation_id=one["operation_id"], attempt=one["attempt"])
            ),
        }
        for one in missing
    ]
    if rows:
        connection.execute(_REBUILD, rows)
        log.warning("letters_rebuilt", letters=len(rows))
    return len(rows)


def _reopen(connection: Connection, lost: Row[Any]) -> None:
    exception_id = lost.exception_id
    if exception_id is None and lost.tenant_id is not None:
        details = {"letter_id": str(lost.letter_id), "queue": lost.queue}
        subject = desk.Subject(lost.tenant_id, "event", str(lost.event_id), direction="fleet")
        exception_id = desk.report(
            connection, subject, poison.problem(lost.code, lost.message, lost.type, details)
        )
    connection.execute(_REOPEN, {"letter_id": lost.letter_id, "exception_id": exception_id})
