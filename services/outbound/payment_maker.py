"""What makes Payments in QuickBooks shares: how one is found again, and the problems of money that did not land."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from services.ledger.documents import Document
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Found, Look, Problem
from services.outbound import allocations, troubles, words
from services.outbound.handler import OutboundHandler, as_answer, sent
from services.outbound.marker import bears
from services.quickbooks import calls, query
from services.quickbooks.entities import Payment
from services.quickbooks.reply import Reply

WINDOW = timedelta(days=5)
"""How far a bookkeeper may have moved the date of a payment that is looked for."""


class PaymentMaker(OutboundHandler):
    """A handler that creates a Payment: one of money, or one of zero that applies a credit."""

    queue = "payments_out"
    redatable = True

    def find(self, operation: Operation, look: Look) -> Found:
        """Creating may not be repeated: look for what may be there already."""
        return found(operation, look)


def found(operation: Operation, look: Look) -> Found:
    """Look among the customer's payments around the date for our marker; the amount must agree too."""
    wire = sent(operation)
    if "Id" in wire:
        return Found()
    day = date.fromisoformat(wire["TxnDate"])
    select = (
        query.select("Payment")
        .where("CustomerRef", "=", wire["CustomerRef"]["value"])
        .where("TxnDate", ">=", day - WINDOW)
        .where("TxnDate", "<=", day + WINDOW)
    )
    reply = look(calls.query(select))
    mark = wire["PrivateNote"].rsplit(" ", 1)[-1]
    rows = reply.data["QueryResponse"].get("Payment") or ()
    ours = [raw for raw in rows if bears(raw.get("PrivateNote"), mark)]
    for raw in ours:
        if Decimal(raw["TotalAmt"]) == wire["TotalAmt"]:
            return Found(reply=as_answer(operation, reply, raw))
    if not ours:
        return Found()
    return Found(problem=troubles.altered(operation, "Payment", ours[0], wire["TotalAmt"]), altered=True)


def link_of(operation: Operation, document: Document, reply: Reply) -> Link:
    """The link of a document to the Payment that QuickBooks answered."""
    answered = reply.one(Payment)
    assert operation.company_id is not None
    return Link(
        tenant_id=operation.tenant_id,
        company_id=operation.company_id,
        kind=document.kind,
        document_id=document.document_id,
        external_type="Payment",
        external_id=answered.id,
        sync_token=answered.sync_token,
        number=answered.payment_ref_num,
        total=answered.total_amt or Decimal(0),
        currency=document.currency,
        state="synced",
        snapshot=dict(reply.data["Payment"]),
        operation_id=operation.operation_id,
    )


def landed_elsewhere(document: Document, wire: Mapping[str, Any], raw: Mapping[str, Any]) -> Problem | None:
    """The problem when QuickBooks put less of a payment on the documents than it was told, or nothing."""
    wanted, actual = allocations.read(wire), allocations.read(raw)
    if actual == wanted and Decimal(raw["TotalAmt"]) == wire["TotalAmt"]:
        return None
    unapplied = raw.get("UnappliedAmt", 0)
    shares = ", ".join(
        f"{actual.get((kind, id_), Decimal(0))} instead of {amount} on {kind} {id_}"
        for (kind, id_), amount in wanted.items()
        if actual.get((kind, id_)) != amount
    )
    return Problem(
        type="accounting_sync_unmapped_payment",
        code="pushed_payment_unapplied",
        cause=f"unapplied:{document.kind}:{document.document_id}",
        title=f"QuickBooks did not apply {words.label(document)} as billing did",
        happened=f"It is in QuickBooks as Payment {raw['Id']}, with {shares or 'more on it than was sent'}; "
        f"{unapplied} {document.currency} of it are unapplied.",
        why="The documents were settled otherwise in QuickBooks in the meantime.",
        fix="Open the payment in QuickBooks and apply it to the documents it belongs to, then close this item.",
        details={"quickbooks_id": str(raw["Id"]), "unapplied": str(unapplied)},
        **words.facts(document),
    )
