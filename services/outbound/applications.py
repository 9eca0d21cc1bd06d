"""Credit applied to invoices in QuickBooks: a Payment of zero for a credit note, a line on the Payment of a prepayment.

https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from messages import validate
from messages.credits import CreditApplied
from messages.money import to_decimal
from services.ledger import links
from services.ledger.links import Link
from services.outbound import allocations, dossiers
from services.outbound.allocations import Amounts, Target
from services.outbound.dossiers import Dossier, Reference, target

_EVENT = "com.algapsa.billing.credit.applied.v1"
SOURCES = {"credit_note": "credit_note", "prepayment": "invoice"}
"""Sources whose credit QuickBooks can apply, and the kind of document that they are."""


def read(dossier: Dossier) -> CreditApplied:
    """The application as billing described it."""
    data = validate(_EVENT, dossier.document.data)
    assert isinstance(data, CreditApplied)
    return data


def involved(applied: CreditApplied) -> list[Reference]:
    """The invoice and the source of the credit."""
    return [("invoice", applied.invoice_id), (SOURCES[applied.source_kind], applied.source_id)]


def share(applied: CreditApplied, invoice: Dossier, memo: Dossier | None = None) -> dict[Target, Decimal]:
    """What the application puts on the invoice, and uses of the credit memo."""
    amount = to_decimal(applied.amount, applied.currency)
    return {target(one): amount for one in (invoice, memo) if one is not None}


def of_zero(
    customer: str, dated: date, amounts: Amounts, currency: dict[str, Any], note: str
) -> dict[str, Any]:
    """The body of the Payment that ties a credit memo to an invoice. It is no cash."""
    return {
        "CustomerRef": {"value": customer},
        "TxnDate": dated.isoformat(),
        "TotalAmt": Decimal(0),
        **currency,
        "Line": allocations.lines(amounts),
        "PrivateNote": note,
    }


def on_payment(connection: Connection, tenant: str, payment: Link) -> dict[Target, Decimal]:
    """What credit applications of ours put on a Payment of money."""
    found = [
        ("credit_application", link.document_id)
        for link in links.of_object(connection, payment.company_id, "Payment", payment.external_id)
        if link.kind == "credit_application" and link.state == "synced"
    ]
    if not found:
        return {}
    applied = [read(one) for one in dossiers.load(connection, tenant, found).values()]
    invoices = dossiers.load(connection, tenant, [("invoice", one.invoice_id) for one in applied])
    amounts: dict[Target, Decimal] = {}
    for one in applied:
        amounts = allocations.added(amounts, share(one, invoices["invoice", one.invoice_id]))
    return amounts
