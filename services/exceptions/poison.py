"""Words for messages that died without an operation's own explanation: unreadable, unknown, or deadly."""

from __future__ import annotations

from typing import Any

from messages import commands, envelope
from messages.errors import BadMessage
from services.exceptions.desk import POISON
from services.ledger.operations import Operation
from services.ledger.ports import Problem

_FIXES = {
    "unknown_type": "If a newer algasync knows this event, install that and replay the letter. Otherwise "
    "correct the type where it was made, emit it again and discard this letter.",
    "unknown_version": "Install an algasync that knows this version of the event, then replay the letter.",
    "delivery_limit": "Look in the workers' log for this event's id, mend what it says, then replay the letter.",
    "rejected": "Look in the workers' log for this event's id, mend what it says, then replay the letter.",
}
_WHYS = {
    "bad_json": "The body is not JSON that every reader understands alike.",
    "too_large": "No billing document is that large, so something else was sent.",
    "too_deep": "No billing document is nested that deeply, so something else was sent.",
    "not_cloudevents": "Events travel as CloudEvents 1.0 in structured JSON.",
    "invalid_envelope": "An attribute of the envelope is missing or wrong.",
    "invalid_data": "The data breaks the contract of its event type.",
    "unknown_type": "This version of algasync knows no such event.",
    "unknown_version": "This version of algasync knows the message, but not this version of it.",
    "invalid_command": "The body is no command of the dispatcher.",
    "unknown_operation": "The ledger has no such operation: another installation sent it, or a backup is old.",
    "sequence_taken": "Events of a document are numbered, and two different ones claim the same number.",
    "id_taken": "Every event has an id of its own, and another event was taken over under this one.",
    "delivery_limit": "Workers took the message several times and ended before they finished it.",
}


def explain(queue: str, reason: str, body: bytes) -> tuple[str, str]:
    """Why a message died, found by reading it again: a stable code, and a sentence that names the field."""
    if reason == "delivery_limit":
        return reason, f"The message was delivered again and again from {queue} and never finished."
    try:
        if queue == "intake":
            envelope.parse(body)
        else:
            commands.parse(body)
    except BadMessage as bad:
        return bad.reason, str(bad)
    return reason, f"The message can be read, but {queue} gave it back ({reason})."


def problem(code: str, message: str, type_: str | None, details: dict[str, Any]) -> Problem:
    """A message that nobody can take over as it is. `details` holds its letter_id."""
    again = (
        "Correct it where it was made and emit it again, then discard this letter: "
        f"algasync dead-letters discard --id {details['letter_id']} --because ..."
    )
    return Problem(
        type=POISON,
        code=code,
        cause=f"message:{code}:{type_ or 'unknown'}",
        title=f"{f'The event {type_}' if type_ else 'A message'} could not be taken over",
        happened=message,
        why=_WHYS.get(code, "It was refused in a way that algasync has no words for."),
        fix=_FIXES.get(code, again),
        details={name: value for name, value in details.items() if value is not None},
    )


def keeps_dying(operation: Operation, queue: str, reason: str) -> Problem:
    """An operation whose command died twice without an outcome."""
    document = f"{operation.document_kind} {operation.document_id}"
    return Problem(
        type=POISON,
        code=f"command_{reason}",
        cause=f"message:command_{reason}:{operation.kind}",
        title=f"The {operation.kind} of {document} keeps ending its worker",
        happened=f"Its command died twice in {queue} ({reason}) and no worker recorded an outcome.",
        why="A worker that ends before it records anything cannot say why. Nothing was lost or doubled.",
        fix=f"Look in the workers' log for operation {operation.operation_id}, mend what it says, then retry.",
        details={"queue": queue, "reason": reason},
    )


def unexplained(operation: Operation, queue: str) -> Problem:
    """A failed operation that nobody explained; it must not stay out of sight."""
    code = operation.reason_code or "failed"
    return Problem(
        type=POISON,
        code=code,
        cause=f"operation:{code}:{operation.kind}",
        title=f"The {operation.kind} of {operation.document_kind} {operation.document_id} failed",
        happened=operation.reason or f"It was rejected in {queue}.",
        why="It failed, and no exception was open for it.",
        fix="Correct what it says, then retry; or discard it with a reason.",
    )
