"""Second chances: what a replay would do, and doing it. A replay is always a new attempt of the same work.

An operation's letter becomes the next attempt of that operation; an event's letter goes to the outbox again under
its own id and sequence. Every step is judged again under the lock of its operation or letter, so two operators
who replay the same letter make one new attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

from messages import envelope, parse
from messages.errors import BadMessage
from services.database.statement import Statement
from services.exceptions import announcements, archive, desk, exceptions, lifecycle
from services.exceptions.archive import FiledLetter, Filters
from services.ledger import attempts, operations, passing
from services.ledger.attempts import CannotChange
from services.ledger.operations import Operation, State
from services.refusals import conflict

Action = Literal["new_attempt", "emit_again", "discard_operation", "discard_letter", "nothing"]

_LOCK_OPERATION = text("SELECT FROM operation WHERE operation_id = :id FOR UPDATE")
_TAKEN = text("SELECT state FROM event WHERE event_id = :id")
# One round trip for both, because thousands are replayed one after the other.
_LETTERS_SENT = Statement(
    """WITH sent AS (
         UPDATE letter SET state = 'replayed', replays = replays + 1, closed_at = clock_timestamp(),
                closed_by = :actor, close_reason = :reason
          WHERE operation_id = :id AND state = 'open')
       SELECT e.exception_id FROM exception e
        WHERE e.operation_id = :id AND e.state = 'ignored' AND NOT EXISTS (
          SELECT FROM exception n WHERE n.tenant_id = e.tenant_id AND n.type = e.type
             AND n.entity_kind = e.entity_kind AND n.entity_id = e.entity_id AND n.exception_id > e.exception_id)"""
)
_LETTER_CLOSED = text(
    """UPDATE letter SET state = :state, replays = replays + :replays, closed_at = clock_timestamp(),
              closed_by = :actor, close_reason = :reason
        WHERE letter_id = :id"""
)
_LETTERS_DISCARDED = text(
    """UPDATE letter SET state = 'discarded', closed_at = clock_timestamp(), closed_by = :actor,
              close_reason = :reason
        WHERE operation_id = :id AND state IN ('open', 'replayed')"""
)
_EMIT_AGAIN = text("SELECT letter_emit_again(:id)")
_OPERATION_OF = Statement("SELECT operation_id FROM exception WHERE exception_id = :id")
_EVENT_LETTERS = text(
    """SELECT letter_id FROM letter WHERE exception_id = :id AND event_id IS NOT NULL AND state = 'open'
        ORDER BY created_at"""
)


@dataclass(frozen=True, slots=True)
class Step:
    """What a replay or discard of one letter does, or why it does nothing."""

    letter_id: UUID
    tenant: str | None
    subject: str
    action: Action
    explanation: str

    @property
    def acts(self) -> bool:
        """Whether anything changes."""
        return self.action != "nothing"


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry of an exception started: the operation in its new attempt, or the events emitted again."""

    operation: Operation | None
    events: list[UUID]


def plan(connection: Connection, filters: Filters, *, limit: int = 10_000) -> list[Step]:
    """What replaying these letters would do now. Changes nothing."""
    letters = archive.page(connection, filters, limit=limit).letters
    return [_judge(connection, letter) for letter in letters]


def replay(connection: Connection, letter_id: UUID, actor: str, reason: str) -> Step:
    """Replay one letter in the caller's transaction; the step says what was done. Raises `Refusal`."""
    letter = _locked(connection, letter_id)
    step = _judge(connection, letter)
    if step.action == "new_attempt":
        assert letter.operation_id is not None
        again(connection, letter.operation_id, actor, reason)
    elif step.action == "emit_again":
        _emit_again(connection, letter, actor, reason)
    return step


def plan_discard(connection: Connection, filters: Filters, *, limit: int = 10_000) -> list[Step]:
    """What discarding these letters would do now. Changes nothing."""
    letters = archive.page(connection, filters, limit=limit).letters
    return [_judge_discard(connection, letter) for letter in letters]


def discard(connection: Connection, letter_id: UUID, actor: str, reason: str) -> Step:
    """Give one letter up, and the failed operation behind it. Raises `Refusal`."""
    letter = _locked(connection, letter_id)
    step = _judge_discard(connection, letter)
    values = {"actor": actor, "reason": reason}
    if step.action == "discard_operation":
        assert letter.operation_id is not None
        operation = attempts.discard(connection, letter.operation_id, actor, reason)
        connection.execute(_LETTERS_DISCARDED, values | {"id": letter.operation_id})
        desk.settle(connection, operation, f"discarded: {reason}", actor=actor)
    elif step.action == "discard_letter":
        connection.execute(_LETTER_CLOSED, values | {"id": letter_id, "state": "discarded", "replays": 0})
        if letter.exception_id is not None:
            desk.resolve_one(connection, letter.exception_id, f"discarded: {reason}", actor)
        _pass_over(connection, letter, actor, reason)
    return step


def _pass_over(connection: Connection, letter: FiledLetter, actor: str, reason: str) -> None:
    """Let the later events of the document go on without the one that was given up."""
    try:
        event = parse(archive.body(connection, letter.letter_id))
    except BadMessage:
        return  # it never had a place in a document's history
    assert event.sequence is not None  # parse refuses an event without one
    passing.pass_over(
        connection,
        event.tenantid,
        *event.document,
        sequence=event.sequence,
        event_id=event.id,
        actor=actor,
        reason=reason,
    )


def again(connection: Connection, operation_id: UUID, actor: str, reason: str) -> Operation:
    """The next attempt of a failed operation; its letters are sent with it, and its ignored exception reopens.

    Raises `Refusal` unless the operation is failed: whoever comes second learns that somebody was first.
    """
    try:
        operation = attempts.replay(connection, operation_id, actor, reason)
    except CannotChange as first:
        raise conflict("not_failed", str(first)) from first
    sent = {"id": operation_id, "actor": actor, "reason": reason}
    for (exception_id,) in _LETTERS_SENT.all(connection, sent):
        lifecycle.reopen(connection, exception_id, f"retried: {reason}", actor)
    return operation


def retry(connection: Connection, exception_id: UUID, actor: str, reason: str) -> Retried:
    """Try again what an exception is about. Raises `Refusal` when there is nothing to retry."""
    known = _OPERATION_OF.first(connection, {"id": exception_id})
    if known is not None and known[0] is not None:
        return Retried(again(connection, known[0], actor, reason), [])
    found = exceptions.get(connection, exception_id)
    letters = connection.execute(_EVENT_LETTERS, {"id": exception_id}).scalars().all()
    steps = [replay(connection, letter_id, actor, reason) for letter_id in letters]
    sent = [UUID(step.subject) for step in steps if step.acts]
    if not sent:
        why = steps[0].explanation if steps else f"there is nothing to send again: {found.fix}"
        raise conflict("nothing_to_retry", f"exception {exception_id} cannot be retried: {why}")
    return Retried(None, sent)


def obstacle(connection: Connection, exception_id: UUID) -> str | None:
    """Why a retry of an exception would do nothing now; None when it would act. Raises `Refusal`."""
    found = exceptions.get(connection, exception_id)
    if found.operation_id is not None:
        failed = found.operation_state == State.FAILED
        return None if failed else f"its operation is {found.operation_state}; only a failed one is retried"
    letters = connection.execute(_EVENT_LETTERS, {"id": exception_id}).scalars()
    steps = [_judge(connection, archive.get(connection, letter_id)) for letter_id in letters]
    if any(step.acts for step in steps):
        return None
    return steps[0].explanation if steps else f"there is nothing to send again: {found.fix}"


def _judge(connection: Connection, letter: FiledLetter) -> Step:
    if letter.state != "open":
        when = f"{letter.closed_at:%Y-%m-%d %H:%M}" if letter.closed_at else "before"
        return _step(letter, "nothing", f"it was {letter.state} at {when} by {letter.closed_by}")
    if letter.operation_id is not None:
        return _judge_operation(letter, operations.get(connection, letter.operation_id))
    if letter.event_id is None:
        return _step(
            letter, "nothing", "it does not say what it is about; read it with `show`, then discard it"
        )
    if connection.execute(_TAKEN, {"id": letter.event_id}).one_or_none() is not None:
        return _step(letter, "nothing", "the event was taken over since")
    try:
        event = envelope.parse(archive.body(connection, letter.letter_id))
    except BadMessage as bad:
        return _step(letter, "nothing", f"it would fail again, {bad.reason}: {bad}")
    where = f"{event.document.kind} {event.document.id}, sequence {event.sequence}"
    return _step(letter, "emit_again", f"emits {event.entry.routing_key} of {where} again, under its own id")


def _judge_operation(letter: FiledLetter, operation: Operation | None) -> Step:
    if operation is None:
        return _step(letter, "nothing", "the ledger has no such operation; discard it")
    what = f"{operation.kind} of {operation.document_kind} {operation.document_id}"
    if operation.state != State.FAILED:
        now = f"{operation.state} in attempt {operation.attempt}"
        return _step(letter, "nothing", f"{what} is {now}; only a failed one is replayed")
    return _step(letter, "new_attempt", f"{what} starts attempt {operation.attempt + 1}")


def _judge_discard(connection: Connection, letter: FiledLetter) -> Step:
    if letter.state not in {"open", "replayed"}:
        return _step(letter, "nothing", f"it is {letter.state} already")
    operation = operations.get(connection, letter.operation_id) if letter.operation_id else None
    if operation is None:
        return _step(letter, "discard_letter", "the message is given up; nothing else changes")
    what = f"{operation.kind} of {operation.document_kind} {operation.document_id}"
    if operation.state != State.FAILED:
        return _step(letter, "nothing", f"{what} is {operation.state}; only a failed one is discarded")
    if operation.outcome in {"intended", "unknown"}:
        return _step(letter, "nothing", f"{what} may be in QuickBooks: replay it, which first finds out")
    return _step(letter, "discard_operation", f"{what} is given up; later steps of its document go on")


def _emit_again(connection: Connection, letter: FiledLetter, actor: str, reason: str) -> None:
    connection.execute(_EMIT_AGAIN, {"id": letter.letter_id})
    values = {"id": letter.letter_id, "state": "replayed", "replays": 1, "actor": actor, "reason": reason}
    connection.execute(_LETTER_CLOSED, values)
    if letter.exception_id is not None:
        facts = {"letter_id": str(letter.letter_id), "reason": reason}
        found = desk.seen(connection, letter.exception_id)
        announcements.note(connection, found, actor, "letter_replayed", facts)


def _locked(connection: Connection, letter_id: UUID) -> FiledLetter:
    """The letter under lock, its operation first: the order in which workers and the collector lock."""
    seen = archive.get(connection, letter_id)
    if seen.operation_id is not None:
        connection.execute(_LOCK_OPERATION, {"id": seen.operation_id})
    return archive.get(connection, letter_id, lock=True)


def _step(letter: FiledLetter, action: Action, explanation: str) -> Step:
    return Step(letter.letter_id, letter.tenant_id, letter.subject, action, explanation)
