"""Correcting the body of a dead event before it is sent again: who, why, and what exactly changed.

Only what billing said may be corrected, never whose it is or where it stands: id, tenant, document, sequence and type
stay, because others may have taken that very event over. The body as it died is kept.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import simplejson
from sqlalchemy import Connection, text

from messages import envelope
from messages.errors import BadMessage
from services.exceptions import announcements, archive, desk, replays
from services.exceptions.archive import FiledLetter
from services.exceptions.replays import Step
from services.ledger import timeline
from services.refusals import conflict, invalid

IDENTITY: Final = ("id", "tenantid", "subject", "sequence", "type", "source")
"""Attributes of the envelope that stay, unless the body as it died does not have them."""

_AMEND = text(
    """UPDATE letter SET body = :after, event_id = :event_id, tenant_id = :tenant, type = :type
        WHERE letter_id = :id"""
)
_KEEP = text(
    """INSERT INTO letter_amendment (letter_id, tenant_id, actor, reason, before, after)
       VALUES (:id, :tenant, :actor, :reason, :before, :after)"""
)


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a correction changes, line by line, and what sending the event again does."""

    difference: list[str]
    step: Step


def amend(connection: Connection, letter_id: UUID, after: bytes, actor: str, reason: str) -> Amendment:
    """Correct a letter's event and send it again, in the caller's transaction. Raises `Refusal`.

    `after` is the whole message. What would fail again is refused, with the field and what is wrong with it.
    """
    letter = archive.get(connection, letter_id, lock=True)
    _require_open_event(letter)
    before = archive.body(connection, letter_id)
    try:
        event = envelope.parse(after)
    except BadMessage as bad:
        raise invalid("body", f"it would fail again, {bad.reason}: {bad}") from bad
    _require_same(letter, _json(before), simplejson.loads(after))
    difference = _difference(before, after)
    if not difference:
        raise invalid("body", "nothing was changed; to send it again as it is, replay it")
    values = {
        "id": letter_id,
        "after": after,
        "before": before,
        "event_id": event.id,
        "tenant": event.tenantid,
        "type": event.entry.routing_key,
        "actor": actor,
        "reason": reason,
    }
    connection.execute(_AMEND, values)
    connection.execute(_KEEP, values)
    facts = {
        "letter_id": str(letter_id),
        "event_id": str(event.id),
        "reason": reason,
        "difference": difference,
    }
    if letter.exception_id is not None:
        seen = desk.seen(connection, letter.exception_id)
        announcements.note(connection, seen, actor, "event_amended", facts)
    else:
        kind, document_id = event.document
        timeline.append(connection, event.tenantid, kind, document_id, actor, "event_amended", facts)
    return Amendment(difference, replays.replay(connection, letter_id, actor, reason))


def _require_open_event(letter: FiledLetter) -> None:
    if letter.operation_id is not None:
        raise conflict(
            "not_an_event",
            "this letter is a command of ours: correct the document in billing, or what it needs, and replay it",
        )
    if letter.state != "open":
        raise conflict("not_open", f"the letter is {letter.state}; only an open one is corrected")


def _require_same(letter: FiledLetter, before: Any, after: dict[str, Any]) -> None:
    had = before if isinstance(before, dict) else {}
    for name in IDENTITY:
        if had.get(name) is not None and after.get(name) != had[name]:
            raise invalid(
                f"body.{name}",
                f"it was {had[name]!r} and stays so: an event keeps its {name}. If that is what is wrong, emit a new "
                "event and discard this letter",
            )
    if letter.event_id is not None and after.get("id") != str(letter.event_id):
        raise invalid("body.id", f"the event is {letter.event_id} and stays so")
    if letter.tenant_id is not None and after.get("tenantid") != letter.tenant_id:
        raise invalid("body.tenantid", f"the event is of tenant {letter.tenant_id} and stays so")


def _difference(before: bytes, after: bytes) -> list[str]:
    """Lines as `diff -u` shows them, over bodies written one value a line."""
    lines = difflib.unified_diff(
        _lines(before), _lines(after), "as it died", "as it is sent", lineterm="", n=1
    )
    return list(lines)


def _lines(body: bytes) -> list[str]:
    value = _json(body)
    if value is None:
        return body.decode("utf-8", "backslashreplace").splitlines()
    return simplejson.dumps(value, indent=2, use_decimal=True, ensure_ascii=False).splitlines()


def _json(body: bytes) -> Any:
    try:
        return simplejson.loads(body, use_decimal=True)
    except ValueError:
        return None
