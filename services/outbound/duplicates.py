"""Payments that a bookkeeper may have entered in QuickBooks before billing sent its own: held, and asked about.

Same customer and amount within five days, and known only from QuickBooks. The other direction is inbound's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, text

from services.ledger.documents import Document
from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import words

WINDOW: Final = timedelta(days=5)

DIFFERENT: Final = {
    "choice": "different",
    "label": "It is another payment: record it in QuickBooks, too",
    "needs": ["reason"],
}

_ALIKE = text(
    """SELECT external_id, date, facts ->> 'reference' AS reference, state FROM psa_payment
        WHERE company_id = :company AND customer_id = :customer AND amount = :amount AND currency = :currency
          AND billing_payment_id IS NULL AND date BETWEEN :first AND :last
          AND (state = 'told' OR (state = 'held' AND code = 'likely_duplicate'))
        ORDER BY date, external_id LIMIT 5"""
)


def check(
    connection: Connection, company_id: UUID, document: Document, customer: str, dated: date
) -> Problem | None:
    """The problem when QuickBooks has what may be the same payment."""
    values = {
        "company": company_id,
        "customer": customer,
        "amount": document.total,
        "currency": document.currency,
        "first": dated - WINDOW,
        "last": dated + WINDOW,
    }
    found = connection.execute(_ALIKE, values).all()
    return _problem(document, found) if found else None


def _problem(document: Document, found: Sequence[Row[Any]]) -> Problem:
    named = ", ".join(
        f"Payment {one.external_id} of {one.date}" + (f", reference {one.reference}" if one.reference else "")
        for one in found
    )
    return Problem(
        type=EXPORT_ERROR,
        code="likely_duplicate",
        cause=f"duplicate:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} looks like one that is in QuickBooks already",
        happened=f"Same customer, same amount, within five days: {named}.",
        why="Recording it again would count the same money twice, if it is the same.",
        fix=f"If it is the same money, {_same(document, found)}, and this item is settled by itself. "
        "If not, choose that it is a different one.",
        details={"quickbooks_ids": [one.external_id for one in found], "choices": [DIFFERENT]},
        **words.facts(document),
    )


def _same(document: Document, found: Sequence[Row[Any]]) -> str:
    """What links the two: billing has the one it was told of twice; one that is held waits to be said what it is."""
    if all(one.state == "held" for one in found):
        return f"say so on the item of that payment in QuickBooks (choice same:{document.document_id}): they are linked"
    return "reverse this payment in billing as keyed in error: billing has it from QuickBooks"
