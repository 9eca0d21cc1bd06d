"""Credit that settles invoices in QuickBooks without the PSA having applied it, as the PSA was told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

State = Literal["told", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Applied:
    """One credit on one invoice; `amount` is in minor units and counts while it is told."""

    tenant_id: str
    company_id: UUID
    application_id: str
    payment_id: str
    credit_type: str
    credit_id: str
    invoice_id: str
    state: State
    currency: str
    amount: int
    date: date


_COLUMNS = """tenant_id, company_id, application_id, payment_id, credit_type, credit_id, invoice_id, state, currency,
              amount, date"""
_OF_PAYMENT = text(
    f"SELECT {_COLUMNS} FROM psa_credit WHERE company_id = :company AND payment_id = :payment FOR UPDATE"  # noqa: S608 - constant columns
)
_PUT = text(
    f"""INSERT INTO psa_credit ({_COLUMNS})
       VALUES (:tenant_id, :company_id, :application_id, :payment_id, :credit_type, :credit_id, :invoice_id, :state,
               :currency, :amount, :date)
       ON CONFLICT (company_id, application_id) DO UPDATE
          SET state = excluded.state, amount = excluded.amount, date = excluded.date, updated_at = clock_timestamp()"""  # noqa: S608 - constant columns
)


def of_payment(connection: Connection, company_id: UUID, payment_id: str) -> dict[str, Applied]:
    """What was told of the credits that a payment in QuickBooks applies, by our name of each."""
    rows = connection.execute(_OF_PAYMENT, {"company": company_id, "payment": payment_id})
    return {row.application_id: Applied(*row) for row in rows}


def put(connection: Connection, applied: Applied) -> None:
    """Write down what was told."""
    connection.execute(
        _PUT,
        {
            "tenant_id": applied.tenant_id,
            "company_id": applied.company_id,
            "application_id": applied.application_id,
            "payment_id": applied.payment_id,
            "credit_type": applied.credit_type,
            "credit_id": applied.credit_id,
            "invoice_id": applied.invoice_id,
            "state": applied.state,
            "currency": applied.currency,
            "amount": applied.amount,
            "date": applied.date,
        },
    )
