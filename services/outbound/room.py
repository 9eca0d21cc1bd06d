"""Room on a document for money and credit: what billing took off it earlier has to be gone before more is put on it.

Payments and credit applications are documents of their own, and steps are in order within one document only. Billing
frees an invoice and pays it again in that order; without waiting for it QuickBooks refuses the second payment, or takes
it in unapplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection

from services.database.statement import Statement
from services.ledger.documents import Document
from services.ledger.operations import Operation
from services.ledger.ports import Condition, Hold, Look, Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import allocations, voids, words
from services.outbound.allocations import Amounts
from services.outbound.dossiers import Dossier, target
from services.quickbooks import calls, query
from services.quickbooks.errors import Refused

REFUSALS: Final = frozenset({"620", "6000"})
"""Intuit's codes for more on a transaction than is open of it: paid already, and a rule of the books."""

# Only steps that are older: whoever waits for older ones only can never wait in a circle. A void waits for what is on
# its document, so it is none of them. Index `operation_changing`.
_MAKING = Statement(
    """SELECT o.operation_id FROM operation o JOIN operation mine ON mine.operation_id = :id
        WHERE o.tenant_id = mine.tenant_id AND o.revision > 1
          AND o.state IN ('queued', 'running', 'waiting', 'scheduled') AND o.created_at < mine.created_at
          AND o.kind IN ('reverse_payment', 'unapply_credit', 'export_payment', 'export_invoice', 'export_credit_memo')
          AND (o.document_kind, o.document_id) <> (mine.document_kind, mine.document_id)
          AND EXISTS (SELECT FROM jsonb_array_elements(coalesce(mine.payload -> 'involves', '[]')
                                || jsonb_build_array(jsonb_build_array(mine.document_kind, mine.document_id))) AS needed
                       WHERE needed = jsonb_build_array(o.document_kind, o.document_id)
                          OR o.payload -> 'involves' @> jsonb_build_array(needed))"""
)


def hold(connection: Connection, operation: Operation) -> Hold | None:
    """Wait for the earlier, unfinished steps that take something off the documents an operation is about."""
    making = [
        Condition("step", str(id_)) for (id_,) in _MAKING.all(connection, {"id": operation.operation_id})
    ]
    return Hold(making, "waiting for what is being taken off the documents it refers to") if making else None


def seen(wire: Mapping[str, Any], refusal: Refused, look: Look) -> dict[str, Any]:
    """`open`: how much is open of each invoice a Payment is for, by its id in QuickBooks. One metered read."""
    ids = [id_ for type_, id_ in allocations.read(wire) if type_ == "Invoice"]
    rows: list[Mapping[str, Any]] = []
    for select in query.select("Invoice").each_in("Id", ids):
        rows += look(calls.query(select)).data["QueryResponse"].get("Invoice") or ()
    left = {str(raw["Id"]): Decimal(str(raw.get("Balance") or 0)) for raw in rows}
    return {"open": left, "said": refusal.fault.detail or refusal.fault.message}


def short(
    document: Document, shares: Sequence[tuple[Dossier, Decimal]], seen: Mapping[str, Any], before: Amounts
) -> Problem | None:
    """The problem of the first invoice of which less is open than the payment puts on it; `before` is on it already."""
    for invoice, amount in shares:
        there = target(invoice)
        left = seen["open"].get(there[1])
        if left is not None and amount > (room := left + before.get(there, Decimal(0))):
            return _short(document, invoice, amount, room, seen["said"])
    return None


def _short(document: Document, invoice: Dossier, amount: Decimal, room: Decimal, said: str) -> Problem:
    return Problem(
        type=EXPORT_ERROR,
        code="invoice_settled",
        cause=voids.cause(invoice.document.kind, invoice.document.document_id),
        title=f"{words.title(document)} is more than is open in QuickBooks",
        happened=f"It puts {amount} {document.currency} on {words.label(invoice.document)}, of which {room} are open. "
        f"QuickBooks' own words: {said}",
        why="Something else settles the invoice in QuickBooks; what billing takes off it is waited for.",
        fix="Take what settles the invoice off it in QuickBooks, then retry; or correct the payment in billing. When "
        "billing reverses or moves what is on it, this goes on by itself.",
        details={"open": str(room), "said": said, "invoice_id": invoice.document.document_id},
        **words.facts(document),
    )
