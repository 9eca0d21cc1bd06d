"""Dead letters, filed: whose they are, what they mean now, and the exception that shows them to a person.

A letter is keyed by what died: (operation id, attempt), the event's id, or the digest of a body that says
neither. The same letter again is counted, never a second row. What it means is read from the ledger at the
moment of filing, under the lock of its operation, so a late or doubled letter never undoes what was done since.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import Connection, Row, text

from messages import body as bodies
from messages import commands
from messages.catalog import lookup
from messages.errors import BadMessage
from services.exceptions import desk, poison
from services.exceptions.desk import ACTOR
from services.ledger.operations import COLUMNS, Operation, State, from_row
from services.ledger.take import fail

_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('letter' || chr(31) || :subject, 0))")
_OPERATION = text(
    f"SELECT {COLUMNS} FROM operation o WHERE o.operation_id = :id FOR UPDATE"  # noqa: S608 - constant columns
)
_KNOWN = text(
    """SELECT letter_id, state, replays, close_reason FROM letter
        WHERE subject = :subject AND attempt = :attempt FOR UPDATE"""
)
_SAME_EVENT = text(
    "SELECT tenant_id = :tenant AND document_id = :document FROM event WHERE event_id = :event_id"
)
_SAME_PLACE = text(
    """SELECT event_id FROM event WHERE tenant_id = :tenant AND document_id = :document
          AND sequence = :sequence AND document_kind = :kind"""
)
_INSERT = text(
    """INSERT INTO letter
         (letter_id, tenant_id, subject, attempt, queue, type, reason, code, message, body, headers, state,
          replays, operation_id, event_id, exception_id, company_id, closed_at, closed_by, close_reason)
       VALUES
         (:letter_id, :tenant, :subject, :attempt, :queue, :type, :reason, :code, :message, :body,
          CAST(:headers AS jsonb), :state, :replays, :operation_id, :event_id, :exception_id, :company_id,
          CASE WHEN :state <> 'open' THEN clock_timestamp() END, :closed_by, :close_reason)"""
)
_REPEAT = text(
    """UPDATE letter SET occurrences = occurrences + (reason <> 'rebuilt')::integer,
              last_seen_at = clock_timestamp(), queue = :queue,
              reason = :reason, code = :code, message = :message, headers = CAST(:headers AS jsonb),
              state = :state, replays = replays + :replays,
              exception_id = coalesce(:exception_id, exception_id),
              closed_at = CASE WHEN :state = 'open' THEN NULL WHEN state = :state THEN closed_at
                               ELSE clock_timestamp() END,
              closed_by = CASE WHEN state = :state THEN closed_by ELSE :closed_by END,
              close_reason = CASE WHEN state = :state THEN close_reason ELSE :close_reason END
        WHERE letter_id = :letter_id"""
)
# The one that the failure was told to last: what was told while the operation still waited closes by itself.
_JOINED = text(
    """SELECT exception_id FROM exception WHERE operation_id = :id AND state <> 'resolved'
        ORDER BY state = 'ignored', last_seen_at DESC LIMIT 1"""
)
_SEND_AGAIN = text(
    """UPDATE operation SET due_at = clock_timestamp(), dispatched_at = NULL, updated_at = clock_timestamp()
        WHERE operation_id = :id AND state IN ('queued', 'scheduled')"""
)


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as the collector took it from the broker.

    `queue` is where it died (with or without its version), `reason` what the broker says (rejected,
    delivery_limit, expired, maxlen) or `unroutable`. `code` and `message` are what our own check said, when
    the collector knows; else they are found here by reading the body again.
    """

    queue: str
    reason: str
    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a letter ended: its id and state, and the exception that shows it, if it needs somebody."""

    letter_id: UUID
    state: str
    exception_id: UUID | None


@dataclass(frozen=True, slots=True)
class _Reading:
    """Whose a letter is, as far as its body says so."""

    subject: str
    attempt: int = 1
    operation_id: UUID | None = None
    event_id: UUID | None = None
    tenant: str | None = None
    type: str | None = None
    document: str | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a letter means now."""

    state: str
    code: str
    message: str
    exception_id: UUID | None = None
    close_reason: str | None = None
    replays: int = 0


def file(connection: Connection, letter: Letter) -> Filed:
    """File a dead letter in the caller's transaction (scope: all tenants); acknowledge it after the commit.

    A letter of work that is finished is filed as resolved. A letter of unfinished work is sent again, once;
    the second time the operation fails. What nobody can read, or nobody asked for, opens an exception of its
    own when it says whose it is; without a tenant it is on the operators' list only.
    """
    letter = replace(
        letter,
        queue=re.sub(r"\.v\d+$", "", _text(letter.queue, 200)),
        reason=_text(letter.reason, 200),
        code=_text(letter.code, 200) if letter.code else None,
        message=_text(letter.message) if letter.message else None,
    )
    reading = _read(letter)
    connection.execute(_ALONE, {"subject": reading.subject})
    operation = _operation(connection, reading)
    key = {"subject": reading.subject, "attempt": reading.attempt}
    known = connection.execute(_KNOWN, key).one_or_none()
    letter_id = known.letter_id if known else UUID(str(uuid_utils.uuid7()))
    if operation is not None:
        verdict = _of_operation(connection, operation, reading, letter, known)
    else:
        verdict = _of_message(connection, reading, letter, known, letter_id)
    connection.execute(
        _REPEAT if known else _INSERT,
        key
        | {
            "letter_id": letter_id,
            "tenant": operation.tenant_id if operation else reading.tenant,
            "queue": letter.queue,
            "type": operation.kind if operation else reading.type,
            "reason": letter.reason,
            "code": verdict.code,
            "message": verdict.message,
            "body": letter.body,
            "headers": _headers(letter.headers),
            "state": verdict.state,
            "replays": verdict.replays,
            "operation_id": reading.operation_id,
            "event_id": reading.event_id,
            "exception_id": verdict.exception_id,
            "company_id": operation.company_id if operation else None,
            "closed_by": None if verdict.state == "open" else ACTOR,
            "close_reason": verdict.close_reason,
        },
    )
    return Filed(letter_id, verdict.state, verdict.exception_id)


def _of_operation(
    connection: Connection, operation: Operation, reading: _Reading, letter: Letter, known: Row[Any] | None
) -> _Verdict:
    """A command died; the operation it was about says whether that matters."""
    code = letter.code or operation.reason_code or letter.reason
    message = letter.message or operation.reason or f"The command died in {letter.queue}: {letter.reason}."
    if operation.finished:
        return _closed(known, code, message, f"the operation is {operation.state}")
    if operation.attempt > reading.attempt:
        over = f"attempt {reading.attempt} is over; attempt {operation.attempt} followed"
        return _closed(known, code, message, over)
    if operation.state == State.WAITING:
        return _closed(known, code, message, f"the operation waits and is sent when it may: {message}")
    if operation.state == State.FAILED:
        joined = connection.execute(_JOINED, {"id": operation.operation_id}).scalar_one_or_none()
        if joined is None:
            unexplained = poison.unexplained(operation, letter.queue)
            joined = desk.report(connection, desk.about(operation), unexplained)
        return _Verdict("open", code, message, exception_id=joined)
    if operation.dispatched_at is None or known is None or not known.replays:
        # Running (a lease ends by itself), or not sent since: this letter is the first death, told again.
        connection.execute(_SEND_AGAIN, {"id": operation.operation_id})
        sent = 0 if known is not None and known.replays else 1
        return _Verdict("replayed", code, message, close_reason="sent again by itself, once", replays=sent)
    problem = poison.keeps_dying(operation, letter.queue, letter.reason)
    fail(connection, operation, problem, desk.ExceptionDesk())
    opened = connection.execute(_JOINED, {"id": operation.operation_id}).scalar_one()
    return _Verdict("open", problem.code, problem.happened, exception_id=opened)


def _of_message(
    connection: Connection, reading: _Reading, letter: Letter, known: Row[Any] | None, letter_id: UUID
) -> _Verdict:
    """An event died, or a command without an operation, or something that is neither."""
    code, message = _explain(connection, reading, letter)
    if known is not None and known.state == "discarded" and reading.event_id is not None:
        return _closed(known, code, message, "")
    if code == _TAKEN_OVER:
        return _Verdict("resolved", code, message, close_reason=message)
    if reading.event_id is not None and letter.reason == "delivery_limit" and known is None:
        # Its row is still in the outbox, which publishes it again because no outcome is recorded.
        return _Verdict("replayed", code, message, close_reason="published again by itself, once", replays=1)
    if reading.tenant is None:
        return _Verdict("open", code, message)
    entity = ("event", str(reading.event_id)) if reading.event_id else ("message", reading.subject)
    details = {"letter_id": str(letter_id), "queue": letter.queue, "reason": letter.reason}
    problem = poison.problem(code, message, reading.type, details | {"document": reading.document})
    subject = desk.Subject(reading.tenant, *entity, direction="fleet")
    return _Verdict("open", code, message, exception_id=desk.report(connection, subject, problem))


_TAKEN_OVER = "taken_over"


def _explain(connection: Connection, reading: _Reading, letter: Letter) -> tuple[str, str]:
    """A code and a sentence for why a message died, by what the ledger knows and by reading it again."""
    if reading.operation_id is not None:
        return "unknown_operation", f"No operation {reading.operation_id} exists."
    place = {
        "event_id": reading.event_id,
        "tenant": reading.tenant,
        "document": reading.document,
        "sequence": reading.sequence,
        "kind": _kind(reading.type),
    }
    same = connection.execute(_SAME_EVENT, place).scalar_one_or_none()
    if same:
        return _TAKEN_OVER, "the event was taken over"
    if same is False:
        return "id_taken", f"The id {reading.event_id} belongs to another event that was taken over."
    if letter.code is not None and letter.message is not None:
        return letter.code, letter.message
    holder = connection.execute(_SAME_PLACE, place).scalar_one_or_none()
    if holder is not None:
        where = f"sequence {reading.sequence} of {reading.document}"
        return "sequence_taken", f"Event {holder} was taken over as {where}; this one claims it too."
    code, message = poison.explain(letter.queue, letter.reason, letter.body)
    return code, _text(message)  # a body can be wrong in a thousand places


def _kind(type_: str | None) -> str | None:
    try:
        return lookup(type_).kind
    except BadMessage:
        return None


def _closed(known: Row[Any] | None, code: str, message: str, because: str) -> _Verdict:
    """Nothing to do. What somebody decided about the letter before stays as it is."""
    if known is not None and known.state != "open":
        return _Verdict(known.state, code, message, close_reason=known.close_reason)
    return _Verdict("resolved", code, message, close_reason=because)


def _operation(connection: Connection, reading: _Reading) -> Operation | None:
    if reading.operation_id is None:
        return None
    row = connection.execute(_OPERATION, {"id": reading.operation_id}).one_or_none()
    return from_row(row) if row else None


def _read(letter: Letter) -> _Reading:
    """Take from a body that may hold anything what says whose it is. Never raises."""
    digest = f"body:{hashlib.sha256(letter.body).hexdigest()}"
    # A command counts only where commands travel: on the events' exchange anybody may write such a body.
    if letter.queue != "intake":
        try:
            command = commands.parse(letter.body)
        except BadMessage:
            return _Reading(digest)
        return _Reading(str(command.operation_id), command.attempt, operation_id=command.operation_id)
    try:
        plain = bodies.read(letter.body, limit=len(letter.body))
    except BadMessage:
        return _Reading(digest)
    if not isinstance(plain, dict):
        return _Reading(digest)
    event_id, sequence = _uuid(plain.get("id")), plain.get("sequence")
    return _Reading(
        subject=str(event_id) if event_id else digest,
        event_id=event_id,
        tenant=_word(plain.get("tenantid")),
        type=_word(plain.get("type")),
        document=_word(plain.get("subject")),
        sequence=sequence if type(sequence) is int and 0 < sequence < 2**63 else None,
    )


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _word(value: object) -> str | None:
    """An identifier from an unchecked body, or None. `*` would mean every tenant: nobody has that name."""
    if (
        isinstance(value, str)
        and len(value) <= 200
        and value.isprintable()
        and value.strip() not in {"", "*"}
    ):
        return value
    return None


def _text(value: str, longest: int = 2000) -> str:
    """Text that the database takes, whatever came."""
    return value[:longest].encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _headers(headers: Mapping[str, Any]) -> str:
    plain = json.dumps(dict(headers), default=str, ensure_ascii=False)
    return plain.encode("utf-8", "replace").decode().replace("\\u0000", "\\ufffd")
