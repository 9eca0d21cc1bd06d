"""What each billing event asks of QuickBooks. Every type has an answer here: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from messages import EventData
from messages.credits import CreditNoteFinalized
from messages.invoices import Document, InvoiceCorrected, InvoiceFinalized
from services.ledger.documents import Description
from services.ledger.operations import Plan
from services.ledger.ports import Effect
from services.outbound import books

Rule = Callable[[Connection, str, Any], Effect]


def _form(kind: str) -> Rule:
    """A document of billing is exported, whole; a later revision takes the place of one that was not sent yet."""

    def rule(connection: Connection, tenant: str, document: Document) -> Effect:
        company_id, condition = books.choose(connection, tenant, document.target_company, document.client.id)
        return Effect(
            Description(
                state="finalized",
                number=document.number,
                client_id=document.client.id,
                client_name=document.client.name,
                currency=document.currency,
                total=document.total,
                document_date=document.invoice_date,
                data=document.plain(),
            ),
            [
                Plan(
                    kind=kind,
                    queue="export",
                    company_id=company_id,
                    company_condition=condition,
                    supersedes=frozenset({kind}),
                )
            ],
            {"number": document.number, "total": document.total, "currency": document.currency},
        )

    return rule


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
    InvoiceFinalized: _form("export_invoice"),
    InvoiceCorrected: _form("export_invoice"),
    CreditNoteFinalized: _form("export_credit_memo"),
}


class Effects:
    """Implements `services.ledger.ports.Planner` for all billing events."""

    def effect(self, connection: Connection, tenant: str, data: EventData) -> Effect:
        """Look up the rule of the event's type."""
        return _RULES.get(type(data), _unsupported)(connection, tenant, data)
