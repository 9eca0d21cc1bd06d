"""Closed books: nothing is written into a period that the company has closed, before somebody decides how.

The closing date is known from the company's preferences, read daily and whenever QuickBooks refuses for it.
Who decides otherwise gives a reason (`decisions`): another date for a new document, or a document in the open period
that offsets the one in the closed period (`offsets`). Waiting needs no decision: once the books are open again, what
rests on them is retried (`reopen`).
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/preferences
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import replays
from services.ledger.documents import Document
from services.ledger.operations import Operation
from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import words
from services.outbound.books import Books

REFUSALS = frozenset({"6200", "6210"})
"""Intuit's codes for a closed period, without and with a password."""

OFFSET: Final = "offset"
"""The choice of a document in the open period that offsets the one in the closed period."""

BY_HAND: Final = (
    "Enter a document dated {day} by hand that has the same effect, and discard this item with a note"
)
"""What a person does where nothing is offered; `{day}` is filled in."""

_READ_AGAIN = text("UPDATE company SET facts_read_at = NULL WHERE company_id = :company")
_OPEN_AGAIN = text(
    """SELECT o.operation_id FROM exception e JOIN operation o USING (operation_id)
         JOIN company c ON c.company_id = o.company_id
        WHERE e.code = 'books_closed' AND e.state IN ('open', 'in_progress') AND o.state = 'failed'
          AND c.facts_read_at > e.last_seen_at
          AND coalesce((e.details ->> 'dated')::date
                       > (c.preferences #>> '{AccountingInfoPrefs,BookCloseDate}')::date, true)
        ORDER BY o.operation_id LIMIT :limit FOR UPDATE OF o SKIP LOCKED"""
)


@dataclass(frozen=True, slots=True)
class Instead:
    """A document that may stand in for a change of one in the closed period: what it is, and the day it would bear."""

    noun: str  # a credit memo
    wished: date | None = None


def dated(operation: Operation, document_date: date) -> tuple[date, str | None]:
    """The date to book under and a note about it: the document's own, unless somebody decided for another."""
    decision = operation.payload.get("decision") or {}
    if decision.get("choice") != "redate":
        return document_date, None
    said = f"Dated {document_date} in billing, books closed; {decision['actor']}: {decision['reason']}"
    return date.fromisoformat(decision["date"]), said


def kept(books: Books, document_date: date, there: str | None) -> date | None:
    """The date a document was given in QuickBooks because its own lies in the closed period; None when it was not."""
    through = books.closed_through
    if through is None or there is None or document_date > through:
        return None
    given = date.fromisoformat(there)
    return given if given > through else None


def open_day(books: Books, wished: date) -> date:
    """The day that is wished, if it is open; else the first that is."""
    return wished if books.closed_through is None else max(wished, books.closed_through + timedelta(days=1))


def check(
    books: Books,
    document: Document,
    act: str,
    dates: Sequence[date | str | None],
    *,
    redatable: bool = False,
    instead: Instead | None = None,
    by_hand: str = BY_HAND,
) -> Problem | None:
    """The problem when one of these dates lies in the closed period of the company.

    It offers another date to what is `redatable`, and the document that would stand in; else it says what to do
    `by_hand`.
    """
    through = books.closed_through
    if through is None:
        return None
    known = [date.fromisoformat(one) if isinstance(one, str) else one for one in dates if one is not None]
    closed = [one for one in known if one <= through]
    if not closed:
        return None
    choices = _choices(redatable, instead, through)
    return _problem(books.company_id, document, act, min(closed), through, choices, by_hand)


def refused(
    connection: Connection,
    company_id: UUID,
    document: Document,
    act: str,
    *,
    redatable: bool,
    instead: Instead | None = None,
    by_hand: str = BY_HAND,
) -> Problem:
    """The problem when QuickBooks says so itself: what we know of the closing date is out of date."""
    connection.execute(_READ_AGAIN, {"company": company_id})
    choices = _choices(redatable, instead, None)
    return _problem(company_id, document, act, document.document_date, None, choices, by_hand)


def reopen(connection: Connection, *, limit: int = 1000) -> int:
    """Retry what failed for closed books and would not fail for them any more; returns how many operations.

    For all tenants, by the clock: companies read their preferences daily, and again after such a failure.
    """
    found = list(connection.execute(_OPEN_AGAIN, {"limit": limit}).scalars())
    for operation_id in found:
        replays.again(connection, operation_id, "algasync", "the books are open again")
    return len(found)


def _choices(redatable: bool, instead: Instead | None, through: date | None) -> list[dict[str, Any]]:
    """What is offered, each with what it needs; `default_date` is the day that is taken when none is given."""
    choices: list[dict[str, Any]] = []
    if redatable:
        choices.append(
            {
                "choice": "redate",
                "label": "Book it under a date in the open period",
                "needs": ["date", "reason"],
            }
        )
    if instead is not None:
        first = through + timedelta(days=1) if through is not None else None
        day = max(instead.wished or first, first) if first is not None else None
        choices.append(
            {
                "choice": OFFSET,
                "label": f"Enter {instead.noun} in the open period that offsets it",
                "needs": ["date", "reason"],
                "default_date": day.isoformat() if day is not None else None,
            }
        )
    return choices


def _problem(
    company_id: UUID,
    document: Document,
    act: str,
    dated: date | None,
    through: date | None,
    choices: list[dict[str, Any]],
    by_hand: str,
) -> Problem:
    until = f"through {through}" if through else "for that date"
    offered = {one["choice"]: one for one in choices}
    if OFFSET in offered:
        day = offered[OFFSET]["default_date"]
        fix = f"{offered[OFFSET]['label']}, with a reason" + (
            f" (dated {day} unless you say otherwise)" if day else ""
        )
    elif offered:
        fix = "Choose a date in the open period, with a reason"
    else:
        fix = by_hand.format(day=through + timedelta(days=1) if through else "in the open period")
    return Problem(
        type=EXPORT_ERROR,
        code="books_closed",
        cause=f"books_closed:{company_id}",
        title=f"The books are closed: cannot {act} {words.label(document)}",
        happened=f"It concerns {dated}, and the books in QuickBooks are closed {until}. Nothing was changed.",
        why="A closed period has been reported and maybe filed; changing it would change those figures.",
        fix=f"{fix}; or open the books in QuickBooks: this item is then retried by itself.",
        details={
            "dated": str(dated) if dated else None,
            "closed_through": str(through) if through else None,
            "choices": choices,
        },
        **words.facts(document),
    )
