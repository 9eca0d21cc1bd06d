"""Payments in QuickBooks as the PSA believes them to be: told and how, or withheld and why.

What was told last is the ground on which the next change is judged, and what balances are made of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from messages.accounting import PaymentState

State = Literal["told", "withdrawn", "held", "ignored"]


@dataclass(frozen=True, slots=True)
class Belief:
    """One payment, by QuickBooks' id.

    `told`: the PSA has `money` as it stands here. `withdrawn`: it had it once. `held`: a person or a link is awaited,
    `ignored`: it is not the PSA's business; `code` says why. `billing_sequence` is where the PSA's own payment stood
    when it was told of another state of it: a later event of the PSA's own wins.
    """

    tenant_id: str
    company_id: UUID
    external_id: str
    payment_id: str
    state: State
    version: int
    customer_id: str
    currency: str
    money: PaymentState
    code: str | None = None
    client_id: str | None = None
    billing_payment_id: str | None = None
    billing_sequence: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime | None = None


_COLUMNS = """tenant_id, company_id, external_id, payment_id, state, version, customer_id, currency, money, code,
              client_id, billing_payment_id, billing_sequence, facts, updated_at"""
_GET = text(
    f"SELECT {_COLUMNS} FROM psa_payment WHERE company_id = :company AND external_id = :id FOR UPDATE"  # noqa: S608 - constant columns
)
_PUT = text(
    """INSERT INTO psa_payment
         (company_id, external_id, tenant_id, payment_id, billing_payment_id, billing_sequence, state, code, version,
          customer_id, client_id, date, currency, amount, money, facts)
       VALUES (:company, :id, :tenant, :payment_id, :billing_payment_id, :billing_sequence, :state, :code, :version,
               :customer, :client, :date, :currency, :amount, CAST(:money AS jsonb), CAST(:facts AS jsonb))
       ON CONFLICT (company_id, external_id) DO UPDATE SET
          payment_id = excluded.payment_id, billing_payment_id = excluded.billing_payment_id,
          billing_sequence = excluded.billing_sequence, state = excluded.state, code = excluded.code,
          version = excluded.version, customer_id = excluded.customer_id, client_id = excluded.client_id,
          date = excluded.date, currency = excluded.currency, amount = excluded.amount, money = excluded.money,
          facts = excluded.facts, updated_at = clock_timestamp()"""
)
_CLEAR = text("DELETE FROM psa_allocation WHERE company_id = :company AND payment_id = :payment")
_ALLOCATE = text(
    """INSERT INTO psa_allocation
         (company_id, payment_id, tenant_id, target_type, target_id, invoice_id, number, amount)
       VALUES (:company, :payment, :tenant, :type, :target, :invoice, :number, :amount)"""
)
_LISTED = """SELECT {columns} FROM psa_payment
              WHERE tenant_id = :tenant AND state = ANY (CAST(:states AS text[]))
                AND (company_id, external_id) > (CAST(:company AS uuid), :id) {where}
              ORDER BY company_id, external_id LIMIT :limit"""
_COUNTS = text(
    """SELECT state, coalesce(code, '') AS code, count(*) AS number FROM psa_payment
        WHERE tenant_id = :tenant AND company_id = :company GROUP BY state, code"""
)
START = (UUID(int=0), "")
"""Before every payment: where paging begins."""


def get(connection: Connection, company_id: UUID, external_id: str) -> Belief | None:
    """The belief about a payment, locked until the transaction ends; None when there is none yet."""
    row = connection.execute(_GET, {"company": company_id, "id": external_id}).one_or_none()
    return _from_row(row) if row is not None else None


def put(connection: Connection, belief: Belief) -> None:
    """Write a belief down; its allocations count in balances while it is told."""
    money = belief.money
    values = {
        "company": belief.company_id,
        "id": belief.external_id,
        "tenant": belief.tenant_id,
        "payment_id": belief.payment_id,
        "billing_payment_id": belief.billing_payment_id,
        "billing_sequence": belief.billing_sequence,
        "state": belief.state,
        "code": belief.code,
        "version": belief.version,
        "customer": belief.customer_id,
        "client": belief.client_id,
        "date": money.date,
        "currency": belief.currency,
        "amount": money.amount,
        "money": json.dumps(money.plain()),
        "facts": json.dumps(dict(belief.facts)),
    }
    connection.execute(_PUT, values)
    place = {"company": belief.company_id, "payment": belief.external_id}
    connection.execute(_CLEAR, place)
    if belief.state == "told":
        rows = [
            {
                **place,
                "tenant": belief.tenant_id,
                "type": "Invoice",
                "target": share.quickbooks_invoice_id,
                "invoice": share.invoice_id,
                "number": share.invoice_number,
                "amount": share.amount,
            }
            for share in money.allocations
        ] + [
            {
                **place,
                "tenant": belief.tenant_id,
                "type": share.quickbooks_type,
                "target": share.quickbooks_id,
                "invoice": None,
                "number": share.quickbooks_number,
                "amount": share.amount,
            }
            for share in money.outside
        ]
        if rows:
            connection.execute(_ALLOCATE, rows)


def page(
    connection: Connection,
    tenant: str,
    *,
    states: tuple[State, ...] = ("told", "withdrawn", "held", "ignored"),
    company_id: UUID | None = None,
    customer_id: str | None = None,
    after: tuple[UUID, str] = START,
    limit: int = 100,
) -> list[Belief]:
    """Payments of a tenant in some states, by company and QuickBooks' id, from behind `after` on."""
    where, values = "", dict[str, Any]()
    if company_id is not None:
        where, values["only"] = where + " AND company_id = :only", company_id
    if customer_id is not None:
        where, values["customer"] = where + " AND customer_id = :customer", customer_id
    values |= {"tenant": tenant, "states": list(states), "company": after[0], "id": after[1], "limit": limit}
    query = text(_LISTED.format(columns=_COLUMNS, where=where))
    return [_from_row(row) for row in connection.execute(query, values)]


def counts(connection: Connection, tenant: str, company_id: UUID) -> dict[str, dict[str, int]]:
    """How many payments are told, withdrawn, held and ignored, by reason ("" for none)."""
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(_COUNTS, {"tenant": tenant, "company": company_id}):
        found.setdefault(row.state, {})[row.code] = row.number
    return found


def _from_row(row: Any) -> Belief:
    columns = dict(row._mapping)
    columns["money"] = PaymentState.model_validate(columns["money"])
    return Belief(**columns)
