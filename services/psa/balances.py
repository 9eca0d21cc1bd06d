"""What is open on an invoice as the PSA sees it: its total, less everything that settled it, by whomever.

Nothing is counted up as events pass: the parts are read where they stand, so a balance cannot drift from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

# A payment of the PSA's own counts as the PSA recorded it, unless QuickBooks changed it since and the PSA was told.
# An application of credit counts until it is taken back, or its counterpart in QuickBooks is gone.
_PARTS = text(
    """
    WITH wanted AS (SELECT unnest(CAST(:invoices AS text[])) AS invoice_id)
    SELECT w.invoice_id, 'payment' AS source, d.document_id AS source_id, NULL::uuid AS company_id,
           (share ->> 'amount')::bigint AS amount
      FROM wanted w
      JOIN document d ON d.tenant_id = :tenant AND d.kind = 'payment' AND d.state = 'finalized'
       AND d.data -> 'allocations' @> jsonb_build_array(jsonb_build_object('invoice_id', w.invoice_id))
     CROSS JOIN LATERAL jsonb_array_elements(d.data -> 'allocations') AS share
     WHERE share ->> 'invoice_id' = w.invoice_id
       AND NOT EXISTS (SELECT FROM psa_payment p
                        WHERE p.tenant_id = :tenant AND p.billing_payment_id = d.document_id
                          AND p.state IN ('told', 'withdrawn') AND p.billing_sequence >= d.applied_sequence)
    UNION ALL
    SELECT w.invoice_id, 'quickbooks_payment', a.payment_id, a.company_id, a.amount
      FROM wanted w
      JOIN psa_allocation a ON a.tenant_id = :tenant AND a.invoice_id = w.invoice_id
      JOIN psa_payment p ON p.company_id = a.company_id AND p.external_id = a.payment_id AND p.state = 'told'
      LEFT JOIN document d ON d.tenant_id = :tenant AND d.kind = 'payment' AND d.document_id = p.billing_payment_id
     WHERE p.billing_payment_id IS NULL OR p.billing_sequence >= d.applied_sequence
    UNION ALL
    SELECT w.invoice_id, 'credit_application', d.document_id, NULL, d.total
      FROM wanted w
      JOIN document d ON d.tenant_id = :tenant AND d.kind = 'credit_application' AND d.state = 'finalized'
       AND d.data ->> 'invoice_id' = w.invoice_id
     WHERE NOT EXISTS (SELECT FROM link l WHERE l.tenant_id = :tenant AND l.kind = 'credit_application'
                          AND l.document_id = d.document_id AND l.state IN ('external_voided', 'deleted'))
    UNION ALL
    SELECT w.invoice_id, 'quickbooks_credit', c.payment_id, c.company_id, c.amount
      FROM wanted w JOIN psa_credit c ON c.tenant_id = :tenant AND c.invoice_id = w.invoice_id AND c.state = 'told'
    """
)
_INVOICES = text(
    """SELECT document_id, number, total, currency, state FROM document
        WHERE tenant_id = :tenant AND kind = 'invoice' AND document_id = ANY (CAST(:invoices AS text[]))"""
)


@dataclass(frozen=True, slots=True)
class Part:
    """Something that settles an invoice; `source` is payment or credit_application of the PSA's own,
    quickbooks_payment or quickbooks_credit told by us, then with QuickBooks' id and the company.
    """

    invoice_id: str
    source: str
    source_id: str
    company_id: UUID | None
    amount: int


@dataclass(frozen=True, slots=True)
class Balance:
    """An invoice and what settled it, in minor units; `total` is None while billing has not described it."""

    invoice_id: str
    number: str | None
    total: int | None
    currency: str | None
    state: str
    parts: tuple[Part, ...]

    @property
    def settled(self) -> int:
        """Sum of all parts."""
        return sum(part.amount for part in self.parts)

    @property
    def due(self) -> int | None:
        """What is open; below 0 when more was put on the invoice than it is worth."""
        return None if self.total is None else self.total - self.settled


def of(connection: Connection, tenant: str, invoices: Collection[str]) -> Mapping[str, Balance]:
    """The balances of invoices; one that nobody has heard of is not in the answer."""
    values = {"tenant": tenant, "invoices": sorted(set(invoices))}
    parts: dict[str, list[Part]] = {}
    for row in connection.execute(_PARTS, values):
        parts.setdefault(row.invoice_id, []).append(Part(*row))
    return {
        row.document_id: Balance(
            row.document_id,
            row.number,
            row.total,
            row.currency,
            row.state,
            tuple(parts.get(row.document_id, ())),
        )
        for row in connection.execute(_INVOICES, values)
    }
