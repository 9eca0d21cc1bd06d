"""Payments of a linked customer on invoices that we do not know: one exception a customer, closed by itself."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from services.connections.companies import Company
from services.exceptions import desk
from services.inbound.troubles import UNMAPPED, amount
from services.ledger.ports import Problem
from services.psa import payments

CODES: Final = frozenset({"unlinked_invoice", "credit_on_unlinked_invoice"})
"""Why a payment is held until a link is made; other holds have an exception of their own."""

SHOWN: Final = 50
CUSTOMER: Final = "quickbooks_customer"


def refresh(connection: Connection, company: Company, customer_id: str) -> None:
    """Say what is held of a customer as it stands now, or close what was said."""
    subject = desk.Subject(
        tenant=company.tenant_id,
        kind=CUSTOMER,
        id=f"{company.realm_id}/{customer_id}",
        direction="inbound",
        company_id=company.company_id,
    )
    found = payments.page(
        connection,
        company.tenant_id,
        states=("held",),
        company_id=company.company_id,
        customer_id=customer_id,
        limit=10_000,
    )
    waiting = [one for one in found if one.code in CODES]
    if not waiting:
        desk.resolve(connection, subject, UNMAPPED, "no payment of this customer is held any more")
        return
    first = waiting[0]
    name = first.facts.get("customer_name") or f"customer {customer_id}"
    one_currency = {one.currency for one in waiting} == {first.currency}
    total = sum(one.money.amount for one in waiting) if one_currency else None
    sum_ = f" over {amount(total, first.currency)}" if total else ""
    desk.report(
        connection,
        subject,
        Problem(
            type=UNMAPPED,
            code="unlinked_invoice",
            cause=f"unlinked_payments:{company.company_id}:{customer_id}",
            title=f"{len(waiting)} payment{'s' if len(waiting) > 1 else ''} of {name} in QuickBooks"
            f"{sum_} {'pay' if len(waiting) > 1 else 'pays'} invoices that are not linked",
            happened="They were received in QuickBooks on documents that billing does not know by a link.",
            why="Which invoice of billing they pay cannot be told, so nothing was applied.",
            fix="Link the invoices (onboarding, history): the payments then apply by themselves. If they are none of "
            "billing's, ignore this with a reason.",
            details={
                "payments": [
                    {
                        "quickbooks_id": one.external_id,
                        "date": one.money.date.isoformat(),
                        "amount": one.money.amount,
                        "currency": one.currency,
                        "reference": one.facts.get("reference"),
                        "on": [
                            f"{share.quickbooks_type} {share.quickbooks_number or share.quickbooks_id}"
                            for share in one.money.outside
                        ],
                    }
                    for one in waiting[:SHOWN]
                ]
            },
            client_id=first.client_id,
            amount=total,
            currency=first.currency if one_currency else None,
        ),
    )
