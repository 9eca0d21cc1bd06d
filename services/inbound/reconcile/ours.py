"""The PSA's side, from the ledger: documents, payments and credits of one company as the PSA billed and recorded
them, and payments of QuickBooks as far as the PSA was told of them.

What a link remembers of an object takes no part here: a link only says which object a document is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, text

from messages.money import to_minor
from services.connections.companies import Company
from services.inbound.reconcile.reading import Target

LIVE: Final = frozenset({"synced", "drift"})

# A document belongs to the company where it is linked, else to the one its steps are for; one that waits for a
# company to be connected belongs to the default company. History that the wizard linked is as the PSA listed it.
_DOCUMENTS = text(
    """
    WITH linked AS (
      SELECT DISTINCT ON (l.kind, l.document_id) l.kind, l.document_id, l.company_id, l.external_type,
             l.external_id, l.state, l.linked_via
        FROM link l
       WHERE l.tenant_id = :tenant AND l.kind IN ('invoice', 'credit_note', 'payment', 'credit_application')
       ORDER BY l.kind, l.document_id, l.state IN ('synced', 'drift') DESC, l.company_id = :company DESC,
                l.updated_at DESC
    ), stepped AS (
      SELECT DISTINCT o.document_kind AS kind, o.document_id FROM operation o
       WHERE o.tenant_id = :tenant AND (o.company_id = :company OR o.company_id IS NULL AND :is_default)
    )
    SELECT d.kind, d.document_id AS id, coalesce(d.number, h.number) AS number,
           coalesce(d.client_id, h.client_id) AS client_id, coalesce(d.client_name, '') AS client_name,
           coalesce(d.currency, h.currency) AS currency, coalesce(d.total, h.total) AS total,
           coalesce(d.document_date, h.document_date) AS date,
           CASE WHEN d.state = 'voided' OR h.state IN ('void', 'voided', 'cancelled', 'canceled') THEN 'voided'
                WHEN d.state = 'placeholder' AND h.state IS NOT NULL THEN 'listed'
                ELSE d.state END AS state,
           d.applied_sequence, (d.data ->> 'due_date')::date AS due, d.data ->> 'type' AS form,
           (d.data ->> 'tax')::bigint AS tax,
           d.data ->> 'exchange_rate' AS rate,
           CASE WHEN (d.data #>> '{billing_profile,bills_separately}')::boolean
                THEN d.data #>> '{billing_profile,id}' END AS profile,
           d.data -> 'allocations' AS allocations, d.data ->> 'invoice_id' AS invoice_id,
           d.data ->> 'source_kind' AS source_kind, d.data ->> 'source_id' AS source_id,
           lower(d.data ->> 'provider') AS provider,
           l.external_type, l.external_id, l.state AS link_state, l.linked_via,
           coalesce(h.state = 'paid', false) AS listed_paid
      FROM document d
      LEFT JOIN linked l ON l.kind = d.kind AND l.document_id = d.document_id
      LEFT JOIN onboarding_document h ON d.data IS NULL AND h.tenant_id = d.tenant_id AND h.kind = d.kind
                                     AND h.document_id = d.document_id
     WHERE d.tenant_id = :tenant AND d.kind IN ('invoice', 'credit_note', 'payment', 'credit_application')
       AND (l.company_id = :company
            OR l.company_id IS NULL AND (d.kind, d.document_id) IN (SELECT kind, document_id FROM stepped))
     ORDER BY d.kind, d.document_id"""
)
_BELIEFS = text(
    """SELECT external_id, billing_payment_id, billing_sequence, state, code, customer_id, client_id, currency, money
         FROM psa_payment WHERE company_id = :company"""
)
_CREDITS = text(
    """SELECT payment_id, credit_type, credit_id, application_id, currency, amount, date, invoice_id
         FROM psa_credit WHERE company_id = :company AND state = 'told'"""
)
_CUSTOMERS = text(
    """SELECT kind, key, variant, external_id FROM mapping
        WHERE company_id = :company AND kind IN ('customer', 'billing_profile')"""
)
_DRAFTS = text(
    """SELECT external_type, external_id FROM link
        WHERE company_id = :company AND kind = 'tax_draft' AND state = 'synced'"""
)
# Effects that people enter in QuickBooks by hand, or that a setting has us enter there: the PSA's books have changed,
# and the ledger knows by how much.
_BY_HAND = text(
    """SELECT o.operation_id, o.document_kind, o.document_id, o.state, o.reason, o.payload ->> 'event' AS event,
              o.payload -> 'data' AS data, d.currency, d.total, d.number, d.document_date, d.client_id,
              e.exception_id, e.state AS exception_state, e.resolution, m.external_id AS memo_id,
              p.external_id AS payment_id, p.state AS payment_state, i.external_id AS invoice
         FROM operation o
         LEFT JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind
                             AND d.document_id = o.document_id
         LEFT JOIN LATERAL (
           SELECT * FROM exception x WHERE x.operation_id = o.operation_id
            ORDER BY x.created_at DESC LIMIT 1) AS e ON true
         LEFT JOIN link m ON o.kind = 'write_off' AND m.company_id = :company AND m.kind = 'write_off'
                         AND m.operation_id = o.operation_id
         LEFT JOIN link p ON o.kind = 'write_off' AND p.company_id = :company AND p.kind = 'write_off_application'
                         AND p.operation_id = o.operation_id
         LEFT JOIN link i ON o.kind = 'write_off' AND i.company_id = :company AND i.kind = 'invoice'
                         AND i.document_id = o.document_id
        WHERE o.tenant_id = :tenant AND o.kind IN ('unsupported', 'write_off')
          AND o.reason_code IS DISTINCT FROM 'written_off_already'
          AND (o.company_id = :company OR o.company_id IS NULL AND :is_default)
        ORDER BY o.created_at, o.operation_id"""
)


# Voids in a closed period: what offsets the document in the open one, and the payment of zero that ties the two.
_OFFSETS = text(
    """SELECT left(m.kind, -length('_offset')) AS kind, m.document_id AS id, v.external_type AS voided_type,
              v.external_id AS voided_id, m.external_type AS made_type, m.external_id AS made_id, m.currency,
              CASE WHEN p.state IN ('synced', 'drift') THEN p.external_id END AS payment_id,
              p.snapshot #>> '{Line,0,Amount}' AS tied
         FROM link m
         JOIN link v ON v.company_id = m.company_id AND v.document_id = m.document_id
                    AND v.kind || '_offset' = m.kind
         LEFT JOIN link p ON p.company_id = m.company_id AND p.document_id = m.document_id
                         AND p.kind = m.kind || '_application'
        WHERE m.tenant_id = :tenant AND m.company_id = :company
          AND m.kind IN ('invoice_offset', 'credit_note_offset')"""
)


@dataclass(frozen=True, slots=True)
class Here:
    """A document, payment or application of credit. `total` in minor units as the PSA writes it (credit notes are
    negative). `external_type` and `external_id` name its object in QuickBooks, `link_state` says whether it lives.
    `listed_paid`: history that the PSA handed over as paid.
    """

    kind: str
    id: str
    number: str | None
    client_id: str | None
    client_name: str
    currency: str | None
    total: int | None
    due: date | None
    date: date | None
    state: str
    applied_sequence: int
    form: str | None
    tax: int | None
    rate: Decimal | None
    profile: str | None
    allocations: tuple[tuple[str, int], ...]
    invoice_id: str | None
    source_kind: str | None
    source_id: str | None
    provider: str | None
    external_type: str | None
    external_id: str | None
    link_state: str | None
    linked_via: str | None
    listed_paid: bool = False

    @property
    def target(self) -> Target | None:
        """Its object in QuickBooks, alive or not."""
        if self.external_type is None or self.external_id is None:
            return None
        return (self.external_type, self.external_id)

    @property
    def linked(self) -> bool:
        """Whether its object is in QuickBooks, as far as we know."""
        return self.link_state in LIVE

    @property
    def live(self) -> bool:
        """Whether it counts in the PSA."""
        return self.state in {"finalized", "written_off", "listed"}

    @property
    def prepayment(self) -> bool:
        """Whether it is a prepayment invoice: never exported, its payment is unapplied money in QuickBooks."""
        return self.kind == "invoice" and self.form == "prepayment"


@dataclass(frozen=True, slots=True)
class Told:
    """A payment of QuickBooks as the PSA was told of it: what of it is on its invoices, elsewhere, and nowhere."""

    external_id: str
    billing_payment_id: str | None
    billing_sequence: int | None
    state: str
    code: str | None
    customer_id: str
    client_id: str | None
    currency: str
    amount: int
    date: date
    allocations: Mapping[Target, int]
    outside: Mapping[Target, int]
    unapplied: int


@dataclass(frozen=True, slots=True)
class Applied:
    """Credit that is applied in QuickBooks without a document of the PSA's: as it was told, or made by us, to write
    an invoice off or to offset a void.
    """

    payment_id: str
    credit: Target
    invoice: Target
    amount: int


@dataclass(frozen=True, slots=True)
class ByHand:
    """A step that people carry out in QuickBooks, or we where a setting says so: then `memo` is the credit memo it
    became. `amount` is what it does to receivables in the PSA.
    """

    operation_id: UUID
    kind: str
    id: str
    number: str | None
    client_id: str | None
    event: str
    state: str
    reason: str | None
    currency: str
    amount: int
    date: date | None
    exception_id: UUID | None
    exception_state: str | None
    resolution: str | None
    memo: Target | None


@dataclass(frozen=True, slots=True)
class Offset:
    """A void in a closed period, carried out by a document in the open one: `made` offsets `voided`."""

    kind: str
    id: str
    voided: Target
    made: Target


@dataclass(slots=True)
class Books:
    """The PSA's side of one company. `customers` are QuickBooks' ids by (kind, our id, variant)."""

    documents: list[Here] = field(default_factory=list)
    beliefs: dict[str, Told] = field(default_factory=dict)
    credits: dict[str, list[Applied]] = field(default_factory=dict)
    customers: dict[tuple[str, str, str], str] = field(default_factory=dict)
    drafts: set[Target] = field(default_factory=set)
    by_hand: list[ByHand] = field(default_factory=list)
    offsets: dict[Target, Offset] = field(default_factory=dict)  # by what is voided

    @property
    def mapped(self) -> set[str]:
        """Customers of QuickBooks that stand for a client or billing profile."""
        return set(self.customers.values())

    def customers_of(self, client_id: str | None, profile: str | None, currency: str) -> set[str]:
        """The customers on whom documents of a client, or of a billing profile, may be."""
        named = ("billing_profile", profile) if profile is not None else ("customer", client_id or "")
        found = (self.customers.get((*named, variant)) for variant in (currency, ""))
        return {one for one in found if one is not None}


def load(connection: Connection, company: Company) -> Books:
    """Read the PSA's side; run it in one snapshot of the database."""
    values = {"tenant": company.tenant_id, "company": company.company_id, "is_default": company.is_default}
    books = Books(documents=[_here(row) for row in connection.execute(_DOCUMENTS, values)])
    for row in connection.execute(_BELIEFS, values):
        books.beliefs[row.external_id] = _told(row)
    credits_: dict[str, list[Applied]] = defaultdict(list)
    for row in connection.execute(_CREDITS, values):
        invoice = ("Invoice", row.application_id.rsplit("/", 1)[-1])
        credits_[row.payment_id].append(
            Applied(row.payment_id, (row.credit_type, row.credit_id), invoice, row.amount)
        )
    for row in connection.execute(_CUSTOMERS, values):
        books.customers[row.kind, row.key, row.variant] = row.external_id
    books.drafts = {(row.external_type, row.external_id) for row in connection.execute(_DRAFTS, values)}
    for row in connection.execute(_BY_HAND, values):
        step = _by_hand(row)
        books.by_hand.append(step)
        if step.memo is not None and row.payment_state in LIVE and row.invoice is not None:
            use = Applied(row.payment_id, step.memo, ("Invoice", row.invoice), abs(step.amount))
            credits_[use.payment_id].append(use)
    for row in connection.execute(_OFFSETS, values):
        voided, made = (row.voided_type, row.voided_id), (row.made_type, row.made_id)
        books.offsets[voided] = Offset(row.kind, row.id, voided, made)
        if row.payment_id is not None:
            credit, invoice = sorted((voided, made))
            tied = to_minor(Decimal(row.tied), row.currency or company.home_currency or "USD")
            use = Applied(row.payment_id, credit, invoice, tied)
            if use not in credits_[row.payment_id]:  # told already, where QuickBooks tied them by itself
                credits_[row.payment_id].append(use)
    books.credits = dict(credits_)
    return books


def _here(row: Any) -> Here:
    columns = row._asdict()
    shares = columns.pop("allocations") or ()
    rate = columns.pop("rate")
    return Here(
        **columns,
        rate=Decimal(rate) if rate is not None else None,
        allocations=tuple((share["invoice_id"], int(share["amount"])) for share in shares),
    )


def _told(row: Any) -> Told:
    money: dict[str, Any] = row.money
    allocations: dict[Target, int] = defaultdict(int)
    for share in money.get("allocations") or ():
        allocations["Invoice", share["quickbooks_invoice_id"]] += int(share["amount"])
    outside: dict[Target, int] = defaultdict(int)
    for share in money.get("outside") or ():
        outside[share["quickbooks_type"], share["quickbooks_id"]] += int(share["amount"])
    return Told(
        external_id=row.external_id,
        billing_payment_id=row.billing_payment_id,
        billing_sequence=row.billing_sequence,
        state=row.state,
        code=row.code,
        customer_id=row.customer_id,
        client_id=row.client_id,
        currency=row.currency,
        amount=int(money["amount"]),
        date=date.fromisoformat(money["date"]),
        allocations=dict(allocations),
        outside=dict(outside),
        unapplied=int(money["unapplied"]),
    )


def _by_hand(row: Any) -> ByHand:
    data: dict[str, Any] = row.data or {}
    amount = int(data.get("amount") or row.total or 0)
    return ByHand(
        operation_id=row.operation_id,
        kind=row.document_kind,
        id=row.document_id,
        number=row.number,
        client_id=row.client_id,
        event=row.event,
        state=row.state,
        reason=row.reason,
        currency=data.get("currency") or row.currency or "",
        amount=_effect(row.event, data) * abs(amount),
        date=date.fromisoformat(data["date"]) if data.get("date") else row.document_date,
        exception_id=row.exception_id,
        exception_state=row.exception_state,
        resolution=row.resolution,
        memo=("CreditMemo", row.memo_id) if row.memo_id is not None else None,
    )


def _effect(event: str, data: Mapping[str, Any]) -> int:
    """Whether it adds to receivables in the PSA (1), takes off (-1), or neither. Credit that never was a credit note
    counts where it is applied.
    """
    if event == "CreditExpired":
        return 1 if data.get("source_kind") == "credit_note" else 0
    return {
        "InvoiceWrittenOff": -1,
        "CreditApplied": -1,
        "CreditUnapplied": 1,
        "PaymentReversed": 1,
        "PaymentRefunded": 1,
    }.get(event, 0)
