"""What the handlers of outbound operations share: refusals in words, a look at an object, an adopted answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from services.exceptions import fault_words
from services.ledger import documents
from services.ledger.operations import Operation
from services.ledger.ports import Found, Look, Prepared, Problem, Send
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import closed_books, words
from services.outbound.books import Books
from services.outbound.closed_books import Instead
from services.quickbooks import body, calls
from services.quickbooks.call import Call
from services.quickbooks.errors import QuickBooksError, Refused
from services.quickbooks.fault_codes import NOT_FOUND, STALE
from services.quickbooks.reply import Reply

DUPLICATE_NUMBER = "6140"
"""Intuit's code for a number in use."""


def sent(operation: Operation) -> dict[str, Any]:
    """The body of the stored call."""
    assert operation.call is not None
    wire: dict[str, Any] = body.load(Call.from_json(operation.call).body)
    return wire


def asked(reply: Reply) -> dict[str, Any]:
    """The body of the call that a reply answers."""
    wire: dict[str, Any] = body.load(reply.call.body)
    return wire


def decided(operation: Operation, choice: str) -> bool:
    """Whether somebody chose that, of what the operation's exception offered."""
    return bool((operation.payload.get("decision") or {}).get("choice") == choice)


def present(look: Look, entity: str, id_: str) -> dict[str, Any] | None:
    """The object as QuickBooks has it now, raw; None when it is deleted. One metered read."""
    try:
        return dict(look(calls.read(entity, id_)).data[entity])
    except Refused as refusal:
        if refusal.fault.code == NOT_FOUND:
            return None
        raise


def as_it_is(operation: Operation, look: Look) -> Found:
    """The object as it is, if the change has certainly not been made; else its SyncToken says whether it was."""
    wire, call = sent(operation), operation.call
    assert call is not None
    raw = present(look, call["entity"], wire["Id"])
    if raw is None or (operation.called_at is not None and raw["SyncToken"] != wire["SyncToken"]):
        return Found()
    return Found(seen={"entity": call["entity"], "id": wire["Id"], "object": raw})


def as_answer(operation: Operation, found: Reply, raw: Mapping[str, Any]) -> Reply:
    """The reply that the lost call would have had, from what was found in QuickBooks."""
    assert operation.call is not None
    call = Call.from_json(operation.call)
    data = {call.entity: raw}
    return Reply(call, found.status, body.dump(data), data, found.intuit_tid, found.time)


def looking_first(prepared: Prepared, books: Books) -> Prepared:
    """Ask for what is to be created first, while a restored backup may have forgotten that it was."""
    return replace(prepared, look_first=True) if books.look_first and isinstance(prepared, Send) else prepared


class OutboundHandler:
    """A handler of `services.ledger.ports.Handler` without `prepare` and `settle`."""

    kind: str
    queue = "export"
    needs_auto_sync = True
    act = "export"  # in a sentence: QuickBooks refused to <act> invoice INV-1042
    redatable = False  # whether a person may choose another date for it
    by_hand = closed_books.BY_HAND  # what a person does where the books are closed and nothing is offered

    def instead(self, operation: Operation) -> Instead | None:
        """What may stand in the open period instead of a change in the closed one; by default nothing."""
        return None

    def find(self, operation: Operation, look: Look) -> Found:
        """Changing, voiding and deleting may be repeated: the SyncToken guards them. Creating overrides this."""
        return Found()

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """Read the object that a change was refused for, when it is not what we thought it to be."""
        wire = sent(operation)
        if "Id" not in wire or refusal.fault.code not in {STALE, NOT_FOUND}:
            return None
        assert operation.call is not None
        entity = operation.call["entity"]
        return {"entity": entity, "id": wire["Id"], "object": present(look, entity, wire["Id"])}

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """Say what QuickBooks did not accept, in its words and ours."""
        document = documents.get(
            connection, operation.tenant_id, operation.document_kind, operation.document_id
        )
        fault = refusal.fault
        if fault is not None and fault.code in closed_books.REFUSALS:
            assert operation.company_id is not None
            return closed_books.refused(
                connection,
                operation.company_id,
                document,
                self.act,
                redatable=self.redatable,
                instead=self.instead(operation),
                by_hand=self.by_hand,
            )
        code = fault.code if fault is not None else ""
        said = (fault.detail or fault.message) if fault is not None else str(refusal)
        plain = fault_words.of_fault(fault) if fault is not None else fault_words.UNEXPLAINED
        return Problem(
            type=EXPORT_ERROR,
            code=f"quickbooks_{code}" if code else "quickbooks_refused",
            cause=f"quickbooks:{code}:{operation.document_kind}:{operation.document_id}",
            title=f"QuickBooks refused to {self.act} {words.label(document)}",
            happened=f"{plain.happened} Its own words: {said}",
            why=plain.why,
            fix=plain.fix,
            details={"code": code, "intuit_tid": refusal.intuit_tid, "said": said, "place": plain.place},
            **words.facts(document),
        )
