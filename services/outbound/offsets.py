"""Voiding what lies in a closed period, once somebody decided for it: a document in the open period offsets it.

An invoice is offset by a credit memo over the same lines and tax, a credit memo by an invoice; a payment of zero then
ties the two, as far as both are open. Three calls, one operation: look at what stands there, make the opposite, tie
them. Both documents stay in QuickBooks, each in its own period, and come to nothing together.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import simplejson
from sqlalchemy import Connection, text

from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Done, Fail, Found, Look, Prepared, Problem, Send, Settled
from services.outbound import (
    allocations,
    announcements,
    applications,
    closed_books,
    dossiers,
    marker,
    offset_troubles,
    opposites,
    payment_maker,
    voids,
    words,
)
from services.outbound import books as books_
from services.outbound.books import Books
from services.outbound.closed_books import OFFSET, Instead
from services.outbound.dossiers import Dossier, Reference, target
from services.outbound.export_form import ExportForm
from services.outbound.forms import CREDIT_MEMO, INVOICE, Form
from services.outbound.handler import asked, decided, looking_first, present, sent
from services.quickbooks import calls, query
from services.quickbooks.errors import Refused
from services.quickbooks.fault_codes import NOT_FOUND
from services.quickbooks.reply import Reply

# What stood in QuickBooks is needed by the steps that follow; as text, because a driver's JSON would make floats of it.
_KEEP = text(
    """UPDATE operation SET payload = payload || jsonb_build_object('stands', CAST(:stands AS text))
        WHERE operation_id = :id"""
)


def opposite(kind: str, document_id: str) -> Reference:
    """The name under which the link to what offsets a document is kept."""
    return (f"{kind}_offset", document_id)


def tie(kind: str, document_id: str) -> Reference:
    """The name under which the link to the payment of zero that ties the two is kept."""
    return (f"{kind}_offset_application", document_id)


class Offset(ExportForm):
    """What a void does once somebody chose `offset`; `voided` is the form that lies in the closed period."""

    act = "void"

    def __init__(self, kind: str, voided: Form) -> None:
        made = {INVOICE: CREDIT_MEMO, CREDIT_MEMO: INVOICE}[voided]
        super().__init__(kind, made)
        self._voided = voided.entity
        self._made = made.entity

    def instead(self, operation: Operation) -> Instead:
        """What the exception offers; dated as the void, where that day is open."""
        day = operation.payload.get("date")
        return Instead(
            opposites.NOUNS[self._voided], datetime.date.fromisoformat(day) if day is not None else None
        )

    @staticmethod
    def under_way(operation: Operation) -> bool:
        """Whether the stored call is one of these steps."""
        assert operation.call is not None
        return decided(operation, OFFSET) and operation.call["operation"] in {"read", "create"}

    def concerns(self, operation: Operation, reply: Reply) -> bool:
        """Whether an answer belongs to these steps; not so when what was to be voided is found to be gone."""
        raw = reply.data[reply.call.entity]
        gone = raw.get("status") == "Deleted" or (reply.call.operation == "read" and voids.is_void(raw))
        return decided(operation, OFFSET) and reply.call.operation in {"read", "create"} and not gone

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Look, make, tie; what was done before is known by its link."""
        assert operation.company_id is not None
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(connection, operation.tenant_id, [own, opposite(*own)])
        voided, made = known[own], known[opposite(*own)]
        books = books_.load(connection, operation.company_id, voided.document.client_id or "")
        if made.live:
            return self._tie(connection, operation, voided, made, books, requestid)
        assert voided.link is not None
        seen = operation.seen or {}
        if seen.get("entity") == self._voided and seen["object"] is None:
            return voids.adopt(operation, voids.deleted(voided.link.external_id))
        stands = _stands(operation)
        if stands is None or stands["attempt"] != operation.attempt:
            look = calls.read(self._voided, voided.link.external_id)
            # Kept under an id of its own, so that the call which follows gets another than the one before.
            return Send(replace(look, requestid=requestid))
        if voids.is_void(stands["object"]):
            return voids.adopt(operation, stands["object"])
        return self._make(connection, operation, voided, stands["object"], books, requestid)

    def _make(
        self,
        connection: Connection,
        operation: Operation,
        voided: Dossier,
        stands: Mapping[str, Any],
        books: Books,
        requestid: str,
    ) -> Prepared:
        """The opposite of the form as it stands there, under the day that was decided for."""
        decision = operation.payload["decision"]
        dated = datetime.date.fromisoformat(decision["date"])
        instead = self.instead(operation)
        closed = closed_books.check(books, voided.document, self.act, [dated], instead=instead)
        if closed is not None:
            return Fail(closed)
        own = opposite(operation.document_kind, operation.document_id)
        mark = marker.of(operation.tenant_id, operation.company_id, *own)
        said = f"Voids {words.label(voided.document)} dated {stands['TxnDate']}"
        wire = opposites.build(
            stands,
            self._voided,
            number=mark.replace("AS-", "VD-"),
            dated=dated,
            memo=said,
            note=marker.note(mark, f"{said}, books closed; {decision['actor']}: {decision['reason']}"),
        )
        if wire is None:
            return Fail(offset_troubles.by_hand(voided, stands, instead.noun, dated))
        return looking_first(self._create(connection, operation, wire, requestid), books)

    def _tie(
        self,
        connection: Connection,
        operation: Operation,
        voided: Dossier,
        made: Dossier,
        books: Books,
        requestid: str,
    ) -> Prepared:
        """As much as is open on both. After a refusal QuickBooks was asked how much that is, and who tied them."""
        assert made.link is not None
        seen, there = operation.seen, made.link.snapshot
        pair = (target(voided), target(made))
        mark = marker.of(
            operation.tenant_id, operation.company_id, *tie(operation.document_kind, operation.document_id)
        )
        dated = closed_books.open_day(books, datetime.date.fromisoformat(there["TxnDate"]))

        def call(amounts: allocations.Amounts) -> Any:
            wire = applications.of_zero(
                str(there["CustomerRef"]["value"]),
                dated,
                amounts,
                opposites.currency(there),
                marker.note(mark, f"Ties {words.label(voided.document)} to what voids it"),
            )
            return calls.create("Payment", wire, requestid=requestid)

        if seen is None:
            amount = self._open(operation, made.link)
            return looking_first(Send(call(dict.fromkeys(pair, amount))), books)
        for raw in seen["payments"]:
            already = allocations.read(raw)
            if not Decimal(raw["TotalAmt"]) and set(already) == set(pair):
                return Adopt(call(already), raw)
        left = {entity: opposites.left(entity, raw or {}) for entity, raw in seen["objects"].items()}
        if all(left.values()):
            return Send(call(dict.fromkeys(pair, min(left.values()))))
        if left[self._voided]:
            return Fail(offset_troubles.used_elsewhere(voided, made, left[self._voided], seen["said"]))
        settled = self._ended(connection, operation, voided, made.link, books)
        if settled.problems:
            return Fail(settled.problems[0])
        return Done(
            "settled_otherwise", "it is settled otherwise; what offsets it stays open on the customer"
        )

    def _open(self, operation: Operation, made: Link) -> Decimal:
        """How much the two can be tied for, by what stood there and what was made."""
        stands = _stands(operation)
        assert stands is not None
        return min(opposites.left(self._voided, stands["object"]), made.total or Decimal(0))

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Keep what stands there; link the opposite, and go on to tie it; link the tie, and tell billing."""
        assert operation.company_id is not None
        own = (operation.document_kind, operation.document_id)
        raw = dict(reply.data[reply.call.entity])
        if reply.call.operation == "read":
            kept = simplejson.dumps({"attempt": operation.attempt, "object": raw}, use_decimal=True)
            connection.execute(_KEEP, {"id": operation.operation_id, "stands": kept})
            return Settled({}, again=True)
        known = dossiers.load(connection, operation.tenant_id, [own, opposite(*own)])
        voided = known[own]
        books = books_.load(connection, operation.company_id, voided.document.client_id or "")
        if reply.call.entity == "Payment":
            link = replace(payment_maker.link_of(operation, voided.document, reply), kind=tie(*own)[0])
            links.put(connection, link)
            made = known[opposite(*own)].link
            assert made is not None
            settled = self._ended(connection, operation, voided, made, books)
            elsewhere = payment_maker.landed_elsewhere(voided.document, asked(reply), link.snapshot)
            problems = [*settled.problems, *([elsewhere] if elsewhere is not None else [])]
            return replace(settled, problems=problems)
        made = Link(
            tenant_id=operation.tenant_id,
            company_id=operation.company_id,
            kind=opposite(*own)[0],
            document_id=operation.document_id,
            external_type=self._made,
            external_id=str(raw["Id"]),
            sync_token=str(raw["SyncToken"]),
            number=raw.get("DocNumber"),
            total=Decimal(str(raw["TotalAmt"])),
            currency=voided.document.currency,
            state="synced",
            snapshot=raw,
            operation_id=operation.operation_id,
        )
        links.put(connection, made)
        if self._open(operation, made):
            return Settled(_note(made), again=True)
        return self._ended(connection, operation, voided, made, books)

    def _ended(
        self, connection: Connection, operation: Operation, voided: Dossier, made: Link, books: Books
    ) -> Settled:
        """The books follow the void now. Totals that differ, by a tax computed anew, are reported."""
        assert voided.link is not None
        stands = _stands(operation)
        assert stands is not None
        announcements.synced(connection, operation, voided.document, books, voided.link, "updated")
        total = Decimal(str(stands["object"].get("TotalAmt") or 0))
        differs = offset_troubles.differs(voided, made, total) if total != made.total else None
        return Settled({**_note(made), "company": books.realm_id}, [differs] if differs is not None else [])

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """Whether it is gone; what has the number; both documents and the payments on them."""
        assert operation.call is not None
        if operation.call["operation"] == "read":
            gone = refusal.fault.code == NOT_FOUND
            id_ = str(operation.call["path"]).rsplit("/", 1)[-1]
            return {"entity": self._voided, "id": id_, "object": None} if gone else None
        if operation.call["entity"] != "Payment":
            return super().inspect(operation, refusal, look)
        if refusal.fault.code in closed_books.REFUSALS:
            return None
        objects = {entity: present(look, entity, id_) for entity, id_ in allocations.read(sent(operation))}
        on_it = (objects["Invoice"] or {}).get("LinkedTxn") or ()
        ids = [one["TxnId"] for one in on_it if one["TxnType"] == "Payment"]
        payments: list[Mapping[str, Any]] = []
        for select in query.select("Payment").each_in("Id", ids):
            payments += look(calls.query(select)).data["QueryResponse"].get("Payment") or ()
        said = refusal.fault.detail or refusal.fault.message
        return {"objects": objects, "payments": payments, "said": said}

    def find(self, operation: Operation, look: Look) -> Found:
        """The opposite is looked for by its number, the tie by its marker; a look may simply be repeated."""
        assert operation.call is not None
        if operation.call["operation"] != "create":
            return Found()
        if operation.call["entity"] == "Payment":
            return payment_maker.found(operation, look)
        return super().find(operation, look)

    @staticmethod
    def named(connection: Connection, operation: Operation, said: Problem) -> Problem:
        """A refusal, with the opposite that stands untied, if one does."""
        own = (operation.document_kind, operation.document_id)
        made = dossiers.one(connection, operation.tenant_id, *opposite(*own))
        return offset_troubles.untied(said, made.link) if made.live and made.link is not None else said


def _stands(operation: Operation) -> dict[str, Any] | None:
    """What the look at the voided form showed, and in which attempt."""
    kept = operation.payload.get("stands")
    found: dict[str, Any] | None = None if kept is None else simplejson.loads(kept, use_decimal=True)
    return found


def _note(made: Link) -> dict[str, Any]:
    """For the history of the document."""
    return {
        "offset_by": f"{made.external_type} {made.external_id}",
        "number": made.number,
        "dated": made.snapshot.get("TxnDate"),
        "total": str(made.total),
    }
