"""Payments of the PSA that may be the one seen in QuickBooks: same client, same amount, within five days."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

WINDOW: Final = timedelta(days=5)

_ALIKE = text(
    """SELECT d.document_id, d.document_date, d.data ->> 'reference' AS reference, d.data ->> 'method' AS method,
              l.external_id
         FROM document d
         LEFT JOIN link l ON l.tenant_id = d.tenant_id AND l.kind = 'payment' AND l.document_id = d.document_id
          AND l.state IN ('synced', 'drift')
        WHERE d.tenant_id = :tenant AND d.client_id = ANY (CAST(:clients AS text[])) AND d.kind = 'payment'
          AND d.state = 'finalized' AND d.total = :amount AND d.currency = :currency
          AND d.document_date BETWEEN CAST(:date AS date) - CAST(:days AS int)
                                  AND CAST(:date AS date) + CAST(:days AS int)
          AND (l.company_id, l.external_id) IS DISTINCT FROM (CAST(:company AS uuid), :id)
        ORDER BY abs(d.document_date - CAST(:date AS date)), d.document_id LIMIT 5"""
)
_UNSETTLED = text(
    """SELECT operation_id FROM operation
        WHERE tenant_id = :tenant AND document_kind = 'payment' AND document_id = :id
          AND outcome IN ('intended', 'unknown') AND finished_at IS NULL"""
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A payment of the PSA; `external_id` is where it is in QuickBooks already, if it is."""

    payment_id: str
    date: date
    reference: str | None
    method: str | None
    external_id: str | None


def find(
    connection: Connection,
    tenant: str,
    *,
    clients: Collection[str],
    amount: int,
    currency: str,
    dated: date,
    company_id: UUID,
    external_id: str,
) -> list[Candidate]:
    """The candidates, the nearest in time first."""
    if not clients:
        return []
    values = {
        "tenant": tenant,
        "clients": sorted(clients),
        "amount": amount,
        "currency": currency,
        "date": dated,
        "days": WINDOW.days,
        "company": company_id,
        "id": external_id,
    }
    return [Candidate(*row) for row in connection.execute(_ALIKE, values)]


def unsettled(connection: Connection, tenant: str, payment_id: str) -> list[UUID]:
    """Operations that may have brought a payment of the PSA to QuickBooks, and do not know yet."""
    return list(connection.execute(_UNSETTLED, {"tenant": tenant, "id": payment_id}).scalars())
