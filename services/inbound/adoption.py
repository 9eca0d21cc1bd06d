"""Finding what billing has already in what QuickBooks shows: the same payment, the same application of a credit.

Two books that were kept by hand for an hour hold the same thing twice. What agrees fully is linked instead of told;
what is on its way out meanwhile needs no sending any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import text

from messages.accounting import PaymentState
from services.inbound import alike, drift, troubles
from services.inbound.cases import LIVE, Case
from services.inbound.owners import Owned
from services.inbound.split import Split, Target
from services.ledger import attempts, documents, links, waits
from services.ledger.documents import Document
from services.ledger.links import Link
from services.ledger.ports import Condition, Fail, Hold, Problem
from services.psa.payments import Belief

SAME: Final = "same_payment"
APPLIED: Final = "same_application"
"""How such links came about."""

_NOT_THERE = text(
    """SELECT d.document_id, d.total, d.applied_sequence, d.document_date, d.data ->> 'source_id' AS source_id,
              d.data ->> 'invoice_id' AS invoice_id,
              (SELECT operation_id FROM operation o
                WHERE o.tenant_id = d.tenant_id AND o.document_kind = d.kind AND o.document_id = d.document_id
                  AND o.outcome IN ('intended', 'unknown') AND o.finished_at IS NULL LIMIT 1) AS under_way
         FROM document d
        WHERE d.tenant_id = :tenant AND d.kind = 'credit_application' AND d.state = 'finalized'
          AND d.data ->> 'source_kind' = 'credit_note' AND d.data ->> 'invoice_id' = ANY (CAST(:invoices AS text[]))
          AND NOT EXISTS (SELECT FROM link l WHERE l.tenant_id = d.tenant_id AND l.kind = d.kind
                             AND l.document_id = d.document_id AND l.state IN ('synced', 'drift'))
        ORDER BY d.document_id"""
)


def same_payment(case: Case, whole: Split, payment_id: str) -> Link | Hold | Fail:
    """Link a payment of billing to this one, because a person said that they are the same.

    A payment that is in QuickBooks as another one cannot be: the person is asked again.
    """
    known = documents.lock(case.connection, case.tenant, [("payment", payment_id)])[("payment", payment_id)]
    taken = links.of_document(case.connection, case.company_id, "payment", payment_id)
    if known.data is None or known.state != "finalized" or (taken is not None and taken.state in LIVE):
        return Fail(
            troubles.duplicate(
                case,
                whole,
                alike.find(
                    case.connection,
                    case.tenant,
                    clients=[known.client_id] if known.client_id else [],
                    amount=whole.amount,
                    currency=whole.currency,
                    dated=whole.date,
                    company_id=case.company_id,
                    external_id=case.external_id,
                ),
            )
        )
    waiting = alike.unsettled(case.connection, case.tenant, payment_id)
    if waiting:
        conditions = [Condition("step", str(operation_id)) for operation_id in waiting]
        return Hold(conditions, f"whether payment {payment_id} reached QuickBooks is not known yet")
    link = _link(case, "payment", payment_id, SAME, whole.currency)
    _put(case, link, ("export_payment",))
    case.tell.adopted(link, known.applied_sequence, date=known.document_date, currency=known.currency)
    return link


def as_billed(case: Case, own: Link, document: Document) -> Belief:
    """What billing has of a payment that a person said is this one."""
    data = document.data or {}
    shares = {share["invoice_id"]: share["amount"] for share in data.get("allocations", ())}
    found = {
        id_: links.of_document(case.connection, case.company_id, "invoice", id_) for id_ in sorted(shares)
    }
    allocations = [
        {"invoice_id": id_, "quickbooks_invoice_id": link.external_id, "amount": shares[id_]}
        for id_, link in found.items()
        if link is not None
    ]
    total = int(data.get("amount", 0))
    placed = sum(shares[id_] for id_, link in found.items() if link is not None)
    assert document.document_date is not None
    return Belief(
        tenant_id=case.tenant,
        company_id=case.company_id,
        external_id=case.external_id,
        payment_id=f"{case.company.realm_id}/{case.external_id}",
        state="told",
        version=case.seen.version,
        customer_id="",
        currency=str(document.currency),
        money=PaymentState.model_validate(
            {
                "date": document.document_date,
                "amount": total,
                "allocations": allocations,
                "outside": [],
                "unapplied": total - placed,
            }
        ),
        client_id=document.client_id,
        billing_payment_id=own.document_id,
        billing_sequence=document.applied_sequence,
    )


def applied_on_both(
    case: Case, left: Split, owned: Mapping[Target, Owned], choice: str
) -> Sequence[Link] | Hold | Problem:
    """Link applications of billing that QuickBooks, or somebody there, made just like that.

    One of the same credit on the same invoice by another amount asks a person; one whose sending has no answer yet
    is waited for.
    """
    uses = [use for use in left.uses if use.charge in owned and use.credit in owned]
    if not uses:
        return []
    values = {"tenant": case.tenant, "invoices": sorted({owned[use.charge].document_id for use in uses})}
    rows = list(case.connection.execute(_NOT_THERE, values))
    made: list[Link] = []
    for use in uses:
        same = [
            row
            for row in rows
            if (row.source_id, row.invoice_id)
            == (owned[use.credit].document_id, owned[use.charge].document_id)
        ]
        if not same or choice == "take_over":
            continue
        exact = next((row for row in same if row.total == use.amount), None)
        if exact is None:
            return troubles.credit_conflict(
                case, left, owned[use.charge], sum(row.total for row in same), use.amount
            )
        if exact.under_way is not None:
            condition = Condition("step", str(exact.under_way))
            return Hold([condition], "whether billing's own application reached QuickBooks is not known yet")
        made.append(_link(case, "credit_application", exact.document_id, APPLIED, left.currency))
        rows.remove(exact)
    for link in made:
        _put(case, link, ("apply_credit",))
        case.tell.adopted(link, 1, date=left.date, currency=left.currency)
    return made


def _link(case: Case, kind: str, document_id: str, via: str, currency: str) -> Link:
    raw = dict(case.seen.raw or {})
    return Link(
        tenant_id=case.tenant,
        company_id=case.company_id,
        kind=kind,
        document_id=document_id,
        external_type="Payment",
        external_id=case.external_id,
        sync_token=case.seen.token or "",
        number=raw.get("PaymentRefNum"),
        total=raw.get("TotalAmt"),
        currency=currency,
        state="synced",
        snapshot=raw,
        linked_via=via,
        operation_id=case.operation.operation_id,
    )


def _put(case: Case, link: Link, kinds: Sequence[str]) -> None:
    """Link, end what would have sent it, close what kept that from being sent, and wake what waited for the link."""
    links.put(case.connection, link)
    drift.close(case.connection, case.company_id, link.kind, link.document_id, "it is there again")
    because = f"it is in QuickBooks as Payment {link.external_id}"
    for gone in attempts.supersede(case.connection, case.tenant, link.kind, link.document_id, kinds, because):
        case.settle(gone, because)
    condition = waits.link_condition(link.kind, link.document_id)
    waits.release_all(case.connection, case.tenant, [condition])
