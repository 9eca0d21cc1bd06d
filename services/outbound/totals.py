"""Totals on both sides: what billing says, what QuickBooks answered, and which line or rule makes them differ."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from messages.money import to_decimal
from services.ledger.documents import Document
from services.ledger.operations import Operation
from services.ledger.ports import Problem
from services.outbound import words
from services.outbound.forms import Form
from services.outbound.handler import sent
from services.quickbooks.entities import CreditMemo, Invoice, SalesItemLine

DRIFT = "accounting_sync_drift"


def billed(form: Form, document: Document) -> Decimal:
    """The total as billing has it, as QuickBooks writes it on this form."""
    assert document.total is not None
    assert document.currency is not None
    return form.amount(document.total, document.currency)


def asked_for(wire: Mapping[str, Any]) -> Decimal | None:
    """What a body of ours adds up to; None when QuickBooks computes its tax, so that nobody can tell."""
    tax = (wire.get("TxnTaxDetail") or {}).get("TotalTax")
    if tax is None:
        return None
    return sum((Decimal(str(line.get("Amount", 0))) for line in wire["Line"]), Decimal(str(tax)))


def used(form: Form, current: Mapping[str, Any]) -> Decimal:
    """What is paid of an invoice, or applied of a credit memo, in QuickBooks."""
    left = current.get("RemainingCredit" if form.entity == "CreditMemo" else "Balance")
    total = Decimal(str(current.get("TotalAmt") or 0))
    return total - Decimal(str(left)) if left is not None else Decimal(0)


def differs(
    operation: Operation, form: Form, document: Document, answered: Invoice | CreditMemo
) -> Problem | None:
    """The problem when QuickBooks has another total than billing, by as little as a cent."""
    # Billing may have said more since this was sent, so it is compared with what was sent.
    ours, total = asked_for(sent(operation)), answered.total_amt or Decimal(0)
    if ours is None:
        ours = billed(form, document)
    if total == ours:
        return None
    return Problem(
        type=DRIFT,
        code="total_differs",
        cause=f"total_differs:{operation.document_kind}:{operation.document_id}",
        title=f"{words.title(document)} has another total in QuickBooks",
        happened=f"Billing says {ours} {document.currency}, QuickBooks says {total}.",
        why=f"It was exported, but {_rule(operation, form, document, answered)}.",
        fix="Compare the tax set-up of both sides; correct it there and re-export, or accept QuickBooks' figure.",
        details={"ours": str(ours), "quickbooks": str(total), "quickbooks_id": str(answered.id)},
        **words.facts(document),
    )


def _rule(operation: Operation, form: Form, document: Document, answered: Invoice | CreditMemo) -> str:
    """Which line or rule is behind a difference."""
    lines = [line for line in answered.line or () if isinstance(line, SalesItemLine)]
    ours = [line for line in sent(operation).get("Line", ()) if "SalesItemLineDetail" in line]
    for number, (line, wanted) in enumerate(zip(lines, ours, strict=False), start=1):
        if line.amount != wanted["Amount"]:
            said = wanted.get("Description", "")[:40]
            return f"line {number} ({said}) amounts to {line.amount} there instead of {wanted['Amount']}"
    if ours and len(lines) != len(ours):
        return f"it has {len(lines)} lines there instead of {len(ours)}"
    tax = answered.txn_tax_detail.total_tax if answered.txn_tax_detail is not None else None
    due = to_decimal(form.sign * int((document.data or {}).get("tax", 0)), document.currency or "")
    if tax is not None and tax != due:
        return f"QuickBooks computed a tax of {tax} instead of {due}"
    return "QuickBooks adds it up differently"
