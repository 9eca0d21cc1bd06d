"""Whose the objects on a payment are: documents of the PSA by their links, clients by their customers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from services.inbound.split import Target

# Whoever makes a link takes the same lock alone: the one of us that comes second sees what the first one did.
_MEET = text(
    """SELECT pg_advisory_xact_lock_shared(k) FROM (
         SELECT object_lock(CAST(:company AS uuid), t, i) AS k
           FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS u (t, i) ORDER BY 1) s"""
)
_OWNED = text(
    """SELECT l.external_type, l.external_id, l.kind, l.document_id, l.number AS external_number, d.number,
              d.client_id, d.client_name, d.currency, d.total, coalesce(d.state, 'placeholder') AS state,
              d.data #>> '{billing_profile,id}' AS profile_id
         FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS u (t, i)
         JOIN link l ON l.company_id = :company AND l.external_type = u.t AND l.external_id = u.i
          AND l.kind IN ('invoice', 'credit_note')
         LEFT JOIN document d ON d.tenant_id = l.tenant_id AND d.kind = l.kind AND d.document_id = l.document_id"""
)
_CUSTOMER = text(
    """SELECT kind, key, external_name FROM mapping
        WHERE company_id = :company AND external_id = :id AND kind IN ('customer', 'billing_profile')
        ORDER BY kind DESC, key"""
)
_METHOD = text(
    """SELECT key FROM mapping WHERE company_id = :company AND kind = 'payment_method' AND external_id = :id
        ORDER BY key LIMIT 1"""
)
_REPLACE = text("DELETE FROM payment_interest WHERE company_id = :company AND payment_id = :payment")
_INTEREST = text(
    """INSERT INTO payment_interest (company_id, external_type, external_id, payment_id, tenant_id)
       SELECT :company, t, i, :payment, :tenant
         FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS u (t, i) ON CONFLICT DO NOTHING"""
)
_JUDGE = text(
    """UPDATE quickbooks_object o SET judge_at = clock_timestamp()
         FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS u (t, i)
         JOIN payment_interest p ON p.company_id = :company AND p.external_type = u.t AND p.external_id = u.i
        WHERE o.company_id = :company AND o.entity = 'Payment' AND o.external_id = p.payment_id
          AND p.payment_id <> :payment"""
)


@dataclass(frozen=True, slots=True)
class Owned:
    """A document of the PSA behind an object; `total` in minor units, None while billing has not described it."""

    kind: str
    document_id: str
    external_number: str | None
    number: str | None
    client_id: str | None
    client_name: str | None
    currency: str | None
    total: int | None
    state: str
    profile_id: str | None


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a customer of QuickBooks stands for; `client_id` is None for a billing profile and for nobody."""

    linked: bool
    client_id: str | None


def of_objects(
    connection: Connection, company_id: UUID, targets: Iterable[Target], *, meet: bool = True
) -> Mapping[Target, Owned]:
    """The documents behind objects. With `meet` a link that is made from now on finds our interest, if we note one."""
    wanted = sorted(set(targets))
    values = {"company": company_id, "types": [t for t, _ in wanted], "ids": [i for _, i in wanted]}
    if meet:
        connection.execute(_MEET, values).all()
    return {
        (row.external_type, row.external_id): Owned(*row[2:]) for row in connection.execute(_OWNED, values)
    }


def of_customer(connection: Connection, company_id: UUID, customer_id: str) -> Owner:
    """The client behind a customer."""
    rows = connection.execute(_CUSTOMER, {"company": company_id, "id": customer_id}).all()
    client = next((row.key for row in rows if row.kind == "customer"), None)
    return Owner(linked=bool(rows), client_id=client)


def method(connection: Connection, company_id: UUID, method_id: str) -> str | None:
    """What the PSA calls a payment method of QuickBooks."""
    found: str | None = connection.execute(_METHOD, {"company": company_id, "id": method_id}).scalar()
    return found


def interest(
    connection: Connection, tenant: str, company_id: UUID, payment_id: str, targets: Collection[Target]
) -> None:
    """Judge this payment again when something becomes of these objects, and of no others."""
    wanted = sorted(set(targets))
    values = {
        "company": company_id,
        "payment": payment_id,
        "tenant": tenant,
        "types": [t for t, _ in wanted],
        "ids": [i for _, i in wanted],
    }
    connection.execute(_REPLACE, values)
    if wanted:
        connection.execute(_INTEREST, values)


def room_on(connection: Connection, company_id: UUID, payment_id: str, targets: Collection[Target]) -> None:
    """A payment put less on these objects: whoever waits for that is judged again."""
    if targets:
        wanted = sorted(targets)
        values = {
            "company": company_id,
            "payment": payment_id,
            "types": [t for t, _ in wanted],
            "ids": [i for _, i in wanted],
        }
        connection.execute(_JUDGE, values)
