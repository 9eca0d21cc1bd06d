"""What people do to an exception: start on it, assign it, comment, ignore it with a reason, reopen it.

Every act names who did it and stands in the timeline of the document. Retrying is in `replays`.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from services.exceptions import announcements, desk
from services.refusals import Refusal, conflict, invalid

_START = text(
    "UPDATE exception SET state = 'in_progress' WHERE exception_id = :exception_id AND state = 'open'"
)
_ASSIGN = text(
    """UPDATE exception SET assignee = :assignee
        WHERE exception_id = :exception_id AND state IN ('open', 'in_progress')"""
)
_IGNORE = text(
    """UPDATE exception SET state = 'ignored', resolution = :reason, closed_at = clock_timestamp()
        WHERE exception_id = :exception_id AND state IN ('open', 'in_progress')"""
)
_REOPEN = text(
    """UPDATE exception SET state = 'open', resolution = NULL, closed_at = NULL, last_seen_at = clock_timestamp()
        WHERE exception_id = :exception_id AND state IN ('resolved', 'ignored')"""
)


def start(connection: Connection, exception_id: UUID, actor: str) -> None:
    """Say that somebody works on it. Raises `Refusal` unless it is open."""
    found = desk.seen(connection, exception_id)
    if not desk.change(connection, found, actor, "exception_started", {}, _START, {}):
        raise _not_so(connection, exception_id, "only an open one can be started")


def assign(connection: Connection, exception_id: UUID, assignee: str | None, actor: str) -> None:
    """Give it to somebody, or to nobody. Raises `Refusal` when it is closed."""
    if assignee is not None:
        assignee = _said("assignee", assignee)
    found, facts = desk.seen(connection, exception_id), {"assignee": assignee}
    if not desk.change(connection, found, actor, "exception_assigned", facts, _ASSIGN, facts):
        raise _not_so(connection, exception_id, "reopen it before assigning it")


def comment(connection: Connection, exception_id: UUID, words: str, actor: str) -> None:
    """Add a comment, in any state. Raises `Refusal`."""
    found = desk.seen(connection, exception_id)
    facts = {"comment": _said("comment", words)}
    announcements.note(connection, found, actor, "exception_comment", facts)


def ignore(connection: Connection, exception_id: UUID, reason: str, actor: str) -> None:
    """Accept it as it is, with a reason. The same trouble again is counted and stays ignored.

    A failed operation behind it stays failed, so its document goes no further until it is retried or
    discarded. Raises `Refusal` when it is closed.
    """
    found, facts = desk.seen(connection, exception_id), {"reason": _said("reason", reason)}
    if not desk.change(connection, found, actor, "exception_ignored", facts, _IGNORE, facts):
        raise _not_so(connection, exception_id, "only an open one can be ignored")
    announcements.closed(connection, exception_id)


def reopen(connection: Connection, exception_id: UUID, reason: str, actor: str) -> None:
    """Put a closed one back on the list. Raises `Refusal` when it is open already."""
    found, facts = desk.seen(connection, exception_id), {"reason": _said("reason", reason)}
    try:
        done = desk.change(connection, found, actor, "exception_reopened", facts, _REOPEN, {})
    except IntegrityError as error:
        raise conflict(
            "newer_open",
            f"exception {exception_id} stays closed: {found.entity_kind} {found.entity_id} has a newer open one;"
            " work on that",
        ) from error
    if not done:
        raise _not_so(connection, exception_id, "only a closed one can be reopened")
    announcements.opened(connection, exception_id)


def _not_so(connection: Connection, exception_id: UUID, rule: str) -> Refusal:
    state = desk.seen(connection, exception_id).state
    return conflict(f"exception_{state}", f"exception {exception_id} is {state}; {rule}")


def _said(field: str, words: str) -> str:
    """What somebody wrote, which must say something and must be text that the database keeps."""
    if not words.strip():
        raise invalid(field, f"{field} is empty; say it in a few words")
    if "\0" in words:
        raise invalid(field, f"{field} holds a NUL character; remove it")
    return words.strip()
