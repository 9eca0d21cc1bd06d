"""The history of a document in both systems: every step, who did it, and what was known at any moment.

It is read from the timeline alone, which is append-only and chained by hash, so what it says of last March is what
was written last March. Events add what billing said in full, as long as they are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from messages.money import to_decimal
from services.ledger import timeline
from services.ledger.timeline import Entry

_HEAD = text(
    """SELECT position, encode(hash, 'hex') FROM timeline_head
        WHERE tenant_id = :tenant AND subject_kind = :kind AND subject_id = :id"""
)
_EVENT = text("SELECT type, data, occurred_at FROM event WHERE event_id = :event_id AND tenant_id = :tenant")
_RELATED = text(
    """SELECT kind, document_id, number FROM document
        WHERE tenant_id = :tenant AND (kind, document_id) <> (:kind, :id) AND state <> 'placeholder' AND (
              (kind = 'payment' AND data -> 'allocations'
                 @> jsonb_build_array(jsonb_build_object('invoice_id', CAST(:id AS text))))
           OR (kind = 'credit_application' AND (data ->> 'invoice_id' = :id OR data ->> 'source_id' = :id)))
        ORDER BY kind, document_id LIMIT 200"""
)
_BY_KIND = text(
    """SELECT tenant_id, subject_kind, subject_id FROM timeline_head
        WHERE subject_kind = :kind AND subject_id = :id ORDER BY tenant_id LIMIT 20"""
)
_BY_NUMBER = text(
    """SELECT tenant_id, kind, document_id FROM document
        WHERE state <> 'placeholder' AND (number = :named OR document_id = :named)
        ORDER BY tenant_id, kind, document_id LIMIT 20"""
)
_BY_QUICKBOOKS = text(
    """SELECT tenant_id, kind, document_id FROM link WHERE external_id = :named AND external_type = :type
        ORDER BY tenant_id, kind, document_id LIMIT 20"""
)

_ENDED = frozenset({"succeeded", "adopted", "skipped", "discarded"})
_OVER = frozenset({"exception_resolved", "exception_ignored"})
_THERE = frozenset({"succeeded", "adopted", "step_done", "linked"})
_GONE = {"void_invoice": "voided", "void_credit_memo": "voided", "reverse_payment": "voided"}


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the timeline, with what it says in a sentence."""

    entry: Entry
    sentence: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What was known at a moment.

    `billing`: what billing had said last (`type`, `sequence`, `data` while the event is kept). `quickbooks`: what
    QuickBooks had answered last about this document, empty before the first time. `operations`: what was owed and not
    finished, by operation id, and how far it had come. `exceptions`: what waited for a person, by exception id.
    """

    billing: dict[str, Any] = field(default_factory=dict)
    quickbooks: dict[str, Any] = field(default_factory=dict)
    operations: dict[str, str] = field(default_factory=dict)
    exceptions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """A document's history up to `as_of` (or now). `intact`: nothing was changed, removed or cut off since written."""

    tenant_id: str
    kind: str
    document_id: str
    as_of: datetime | None
    intact: bool
    steps: list[Step]
    moment: Moment
    related: list[tuple[str, str, str | None]]  # kind, id and number of payments and credits that touch it


def of_document(
    connection: Connection, tenant: str, kind: str, document_id: str, *, as_of: datetime | None = None
) -> History | None:
    """The history of a document, or None when nothing ever happened to it."""
    values = {"tenant": tenant, "kind": kind, "id": document_id}
    entries = timeline.read(connection, tenant, kind, document_id)
    if not entries:
        return None
    head = connection.execute(_HEAD, values).one_or_none()
    whole = head is not None and tuple(head) == (entries[-1].position, entries[-1].hash)
    unbroken = [entry.position for entry in entries] == list(range(1, len(entries) + 1))
    shown = [entry for entry in entries if as_of is None or entry.at <= as_of]
    return History(
        tenant,
        kind,
        document_id,
        as_of,
        whole and unbroken and all(entry.intact for entry in entries),
        [Step(entry, sentence(entry)) for entry in shown],
        _known(connection, tenant, shown),
        [(row.kind, row.document_id, row.number) for row in connection.execute(_RELATED, values)],
    )


def find(connection: Connection, named: str) -> Sequence[tuple[str, str, str]]:
    """Documents (tenant, kind, id) meant by `kind/id`, a number, an id, or QuickBooks' `Invoice:145`."""
    kind, slash, document_id = named.partition("/")
    if slash:
        row = connection.execute(_BY_KIND, {"kind": kind, "id": document_id})
        return [(one[0], one[1], one[2]) for one in row]
    type_, colon, external_id = named.partition(":")
    if colon:
        found = connection.execute(_BY_QUICKBOOKS, {"type": type_, "named": external_id})
    else:
        found = connection.execute(_BY_NUMBER, {"named": named})
    return [(one[0], one[1], one[2]) for one in found]


def sentence(entry: Entry) -> str:
    """What an entry says, for a person; details that programs need stay in the entry."""
    told = entry.details
    doing = str(told.get("operation", "")).replace("_", " ")
    match entry.action:
        case "calling":
            again = f", try {told['try']}" if told.get("try", 1) > 1 else ""
            return f"asked QuickBooks to {doing}{again}"
        case "read_back":
            return f"asked QuickBooks whether {doing} had taken effect"
        case "succeeded" | "step_done":
            return f"QuickBooks did it: {doing}{_there(told)}"
        case "adopted":
            return f"found done in QuickBooks already: {doing}{_there(told)}"
        case "waiting":
            return f"waits: {told.get('reason', '')}"
        case "failed":
            return f"{doing} failed: {told.get('what', told.get('code', ''))}"
        case "will_retry":
            return f"will try again: {told.get('reason') or told.get('code', '')}"
        case "looked_again":
            return f"decides anew after a look: {told.get('reason', '')}"
        case "skipped" | "discarded" | "moved" | "replayed":
            return f"{doing or 'operation'} {entry.action}: {told.get('reason', '')}"
        case "exception_opened":
            return f"needs a person: {told.get('title', told.get('code', ''))}"
        case action if "sequence" in told:
            return f"billing said: {_spaced(action)} (event {told['sequence']}){_amount(told)}"
        case action:
            said = next(
                (str(told[name]) for name in ("reason", "note", "resolution", "text") if told.get(name)), ""
            )
            return f"{action.replace('_', ' ')}{': ' + said if said else ''}"


def _known(connection: Connection, tenant: str, entries: Iterable[Entry]) -> Moment:
    """Fold entries, oldest first, into what they left known."""
    moment = Moment()
    said: Entry | None = None
    for entry in entries:
        told, action = entry.details, entry.action
        if "sequence" in told and "event_id" in told:
            said = entry
            moment.operations.update(dict.fromkeys(told.get("operations", ()), "opened"))
        operation = told.get("operation_id")
        if action in _ENDED and operation:
            moment.operations.pop(operation, None)
        elif operation and not action.startswith("exception_"):
            moment.operations[operation] = action
        if action in _THERE and "quickbooks_id" in told:
            moment.quickbooks.clear()
            moment.quickbooks.update(_answer(entry))
        elif action == "unlinked":
            moment.quickbooks.clear()
        exception = str(told.get("exception_id", ""))
        if action in {"exception_opened", "exception_reopened"}:
            moment.exceptions[exception] = str(told.get("title") or moment.exceptions.get(exception, ""))
        elif action in _OVER:
            moment.exceptions.pop(exception, None)
    if said is not None:
        moment.billing.update(_event(connection, tenant, said))
    return moment


def _answer(entry: Entry) -> dict[str, Any]:
    told = entry.details
    names = ("quickbooks_id", "number", "total", "currency", "company")
    done = str(told.get("operation", ""))
    return {name: told[name] for name in names if told.get(name) is not None} | {
        "state": _GONE.get(done, "there"),
        "since": entry.at.isoformat(),
        "by": done or entry.action,
    }


def _event(connection: Connection, tenant: str, said: Entry) -> dict[str, Any]:
    known: dict[str, Any] = {
        "said": said.action,
        "sequence": said.details["sequence"],
        "event_id": said.details["event_id"],
        "at": said.at.isoformat(),
    }
    row = connection.execute(_EVENT, {"event_id": UUID(known["event_id"]), "tenant": tenant}).one_or_none()
    return known | ({"type": row.type, "data": row.data} if row is not None else {})


def _there(told: dict[str, Any]) -> str:
    named = [f"id {told['quickbooks_id']}"] if told.get("quickbooks_id") else []
    named += [f"number {told['number']}"] if told.get("number") else []
    named += [f"{told['total']} {told.get('currency', '')}".strip()] if told.get("total") is not None else []
    return f" ({', '.join(named)})" if named else ""


def _amount(told: dict[str, Any]) -> str:
    amount, currency = told.get("total", told.get("amount")), told.get("currency")
    return f", {to_decimal(amount, currency)} {currency}" if isinstance(amount, int) and currency else ""


def _spaced(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
