"""What people decide about a failed operation: one of the choices its exception offers, with a reason.

The decision is kept with the operation and in the timeline of its document, and starts the next attempt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import replays
from services.ledger import timeline
from services.ledger.operations import Operation
from services.refusals import conflict, invalid, missing

LONGEST_REASON = 1000

_OFFERED = """SELECT o.tenant_id, o.operation_id, o.kind, o.document_kind, o.document_id, o.state, o.attempt,
                     e.exception_id, e.code, e.title, e.happened, e.why, e.fix, e.details
                FROM operation o LEFT JOIN exception e
                  ON e.operation_id = o.operation_id AND e.state IN ('open', 'in_progress')
                     AND o.state = 'failed' AND jsonb_typeof(e.details -> 'choices') = 'array'
               WHERE o.operation_id = :id ORDER BY e.exception_id DESC LIMIT 1"""
_SEEN = text(_OFFERED)
_LOCKED = text(f"{_OFFERED} FOR UPDATE OF o")
_DECIDE = text(
    """UPDATE operation SET payload = payload || jsonb_build_object('decision', CAST(:decision AS jsonb))
        WHERE operation_id = :id"""
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to go on; `needs` are the facts to give with it: reason, and date for a day in the open period.

    `default_date` is the day that is taken when none is given; without it one must be given.
    """

    choice: str
    label: str
    needs: tuple[str, ...]
    default_date: date | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """An operation, what stands in its way, and the choices there are; none unless it failed and offers some."""

    operation_id: UUID
    tenant_id: str
    kind: str
    document_kind: str
    document_id: str
    state: str
    exception_id: UUID | None
    code: str | None
    title: str | None
    happened: str | None
    why: str | None
    fix: str | None
    closed_through: date | None
    choices: Sequence[Choice]


def offered(connection: Connection, operation_id: UUID) -> Offer:
    """What can be decided about an operation now. Changes nothing. Raises `Refusal` when there is no such one."""
    return _offer(connection, operation_id, _SEEN)


def check(
    connection: Connection, operation_id: UUID, choice: str, *, reason: str, book_on: date | None = None
) -> Offer:
    """What `decide` would go on with, refused exactly as there. Changes nothing."""
    offer = offered(connection, operation_id)
    _checked(offer, choice, reason, book_on)
    return offer


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

    `book_on` is the date in the open period that the choices `redate` and `offset` need. Raises `Refusal`, and then
    nothing has changed: of two people who decide at once, the second learns that it is decided.
    """
    offer = _offer(connection, operation_id, _LOCKED)
    book_on = _checked(offer, choice, reason, book_on)
    decision = {
        "choice": choice,
        "date": book_on.isoformat() if book_on else None,
        "actor": actor,
        "reason": reason.strip(),
    }
    connection.execute(_DECIDE, {"id": operation_id, "decision": json.dumps(decision)})
    timeline.append(
        connection,
        offer.tenant_id,
        offer.document_kind,
        offer.document_id,
        actor,
        "decided",
        {"operation_id": str(operation_id), "about": offer.code, **decision},
    )
    return replays.again(connection, operation_id, actor, f"{choice}: {reason.strip()}")


def _offer(connection: Connection, operation_id: UUID, query: Any) -> Offer:
    row = connection.execute(query, {"id": operation_id}).first()
    if row is None:
        raise missing(f"there is no operation {operation_id}")
    details = row.details or {}
    through = details.get("closed_through")
    return Offer(
        operation_id=row.operation_id,
        tenant_id=row.tenant_id,
        kind=row.kind,
        document_kind=row.document_kind,
        document_id=row.document_id,
        state=row.state,
        exception_id=row.exception_id,
        code=row.code,
        title=row.title,
        happened=row.happened,
        why=row.why,
        fix=row.fix,
        closed_through=date.fromisoformat(through) if through else None,
        choices=[_choice(one) for one in details.get("choices") or ()],
    )


def _choice(raw: dict[str, Any]) -> Choice:
    day = raw.get("default_date")
    return Choice(raw["choice"], raw["label"], tuple(raw["needs"]), date.fromisoformat(day) if day else None)


def _checked(offer: Offer, choice: str, reason: str, book_on: date | None) -> date | None:
    """The date to book under, if the choice needs one. Raises `Refusal` naming the field."""
    chosen = next((one for one in offer.choices if one.choice == choice), None)
    if chosen is None:
        names = ", ".join(one.choice for one in offer.choices) or "nothing"
        raise conflict(
            "not_offered",
            f"operation {offer.operation_id} is {offer.state} and offers {names}, not {choice!r}",
            field="choice",
        )
    if not reason.strip():
        raise invalid("reason", "reason is empty; say in a few words why, it stays in the document's history")
    if len(reason) > LONGEST_REASON:
        raise invalid("reason", f"reason has {len(reason)} characters, {LONGEST_REASON} at most")
    if "date" in chosen.needs:
        return _open(book_on or chosen.default_date, offer.closed_through)
    if book_on is not None:
        raise invalid("date", f"{choice!r} takes no date; leave it out", code="not_needed")
    return None


def _open(book_on: date | None, closed_through: date | None) -> date:
    if book_on is None:
        raise invalid("date", "date is missing; name a day in the open period", code="required")
    if closed_through is not None and book_on <= closed_through:
        raise invalid(
            "date", f"date is {book_on}, and the books are closed through {closed_through}; name a later day"
        )
    return book_on
