"""What each billing event asks of QuickBooks. Every type has an answer here: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from messages import EventData
from messages.invoices import InvoiceCorrected, InvoiceFinalized
from services.ledger.documents import Description
from services.ledger.operations import Plan
from services.ledger.ports import Effect
from services.outbound import books

Rule = Callable[[Connection, str, Any], Effect]


def _invoice(connection: Connection, tenant: str, invoice: InvoiceFinalized | InvoiceCorrected) -> Effect:
    company_id, condition = books.choose(connection, tenant, invoice.target_company, invoice.client.id)
    return Effect(
        Description(
            state="finalized",
            number=invoice.number,
            client_id=invoice.client.id,
            client_name=invoice.client.name,
            currency=invoice.currency,
            total=invoice.total,
            document_date=invoice.invoice_date,
            data=invoice.plain(),
        ),
        [
            Plan(
                kind="export_invoice",
                queue="export",
                company_id=company_id,
                company_condition=condition,
                supersedes=frozenset({"export_invoice"}),
            )
        ],
        {"number": invoice.number, "total": invoice.total, "currency": invoice.currency},
    )


def _unsupported(connection: Connection, tenant: str, data: EventData) -> Effect:
    """No effect of ours yet: an operation that fails at once, with the recipe, so that a person does it."""
    company_id, condition = books.choose(connection, tenant, None, "")
    client = getattr(data, "client", None)
    return Effect(
        Description(client_id=getattr(client, "id", None), client_name=getattr(client, "name", None)),
        [
            Plan(
                kind="unsupported",
                queue="export",
                company_id=company_id,
                company_condition=condition,
                payload={"event": type(data).__name__, "data": data.plain()},
            )
        ],
    )


_RULES: Mapping[type[EventData], Rule] = {
    InvoiceFinalized: _invoice,
    InvoiceCorrected: _invoice,
}


class Effects:
    """Implements `services.ledger.ports.Planner` for all billing events."""

    def effect(self, connection: Connection, tenant: str, data: EventData) -> Effect:
        """Look up the rule of the event's type."""
        return _RULES.get(type(data), _unsupported)(connection, tenant, data)
