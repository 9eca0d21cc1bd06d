"""What people decide about a failed operation: one of the choices its exception offers, with a reason.

The decision is kept with the operation and in the timeline of its document, and starts the next attempt.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import replays
from services.ledger import timeline
from services.ledger.operations import Operation
from services.refusals import conflict, invalid, missing

_OFFERED = text(
    """SELECT o.tenant_id, o.document_kind, o.document_id, o.state, e.details
         FROM operation o LEFT JOIN exception e
           ON e.operation_id = o.operation_id AND e.state IN ('open', 'in_progress')
        WHERE o.operation_id = :id FOR UPDATE OF o"""
)
_DECIDE = text(
    """UPDATE operation SET payload = payload || jsonb_build_object('decision', CAST(:decision AS jsonb))
        WHERE operation_id = :id"""
)


def decide(
    connection: Connection,
    operation_id: UUID,
    choice: str,
    *,
    actor: str,
    reason: str,
    book_on: date | None = None,
) -> Operation:
    """Go on with an operation as `choice` says; returns it in its new attempt.

    `book_on` is the date in the open period that the choice `redate` needs. Raises `Refusal`.
    """
    row = connection.execute(_OFFERED, {"id": operation_id}).first()
    if row is None:
        raise missing(f"there is no operation {operation_id}")
    offered: dict[str, Any] = {
        one["choice"]: one for one in ((row.details or {}).get("choices") or ()) if row.state == "failed"
    }
    if choice not in offered:
        names = ", ".join(offered) or "nothing"
        raise conflict(
            "not_offered",
            f"operation {operation_id} is {row.state} and offers {names}, not {choice!r}",
            field="choice",
        )
    if not reason.strip():
        raise invalid("reason", "reason is empty; say in a few words why, it stays in the document's history")
    if "date" in offered[choice]["needs"]:
        book_on = _open(book_on, row.details.get("closed_through"))
    decision = {
        "choice": choice,
        "date": book_on.isoformat() if book_on else None,
        "actor": actor,
        "reason": reason.strip(),
    }
    connection.execute(_DECIDE, {"id": operation_id, "decision": json.dumps(decision)})
    timeline.append(
        connection,
        row.tenant_id,
        row.document_kind,
        row.document_id,
        actor,
        "decided",
        {"operation_id": str(operation_id), **decision},
    )
    return replays.again(connection, operation_id, actor, f"{choice}: {reason.strip()}")


def _open(book_on: date | None, closed_through: str | None) -> date:
    if book_on is None:
        raise invalid("date", "date is missing; name a day in the open period", code="required")
    if closed_through is not None and book_on <= date.fromisoformat(closed_through):
        raise invalid(
            "date", f"date is {book_on}, and the books are closed through {closed_through}; name a later day"
        )
    return book_on
