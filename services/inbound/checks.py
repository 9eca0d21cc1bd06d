"""What must hold before billing is told of money on an invoice: its currency, its state, and room for the money."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import text

from services.inbound import troubles
from services.inbound.cases import Case
from services.inbound.owners import Owned
from services.inbound.split import Split, Target
from services.ledger import documents
from services.ledger.ports import Problem
from services.psa import balances
from services.psa.balances import Balance, Part

NOT_PAYABLE = frozenset({"voided", "draft", "written_off"})

# Other payments whose newer version nobody has judged yet: what billing has of them is about to change.
_UNJUDGED = text(
    """SELECT q.external_id, l.document_id
         FROM unnest(CAST(:ids AS text[]), CAST(:own AS text[])) AS u (id, document_id)
         LEFT JOIN link l ON l.company_id = :company AND l.kind = 'payment' AND l.document_id = u.document_id
         JOIN quickbooks_object q ON q.company_id = :company AND q.entity = 'Payment'
          AND q.external_id = coalesce(u.id, l.external_id) AND q.external_id <> :self
         JOIN operation o ON o.tenant_id = :tenant AND o.document_kind = 'quickbooks_payment'
          AND o.document_id = :realm || '/' || q.external_id
          AND o.state IN ('queued', 'running', 'waiting', 'scheduled', 'failed')"""
)


def find(
    case: Case, split: Split, invoices: Mapping[Target, Owned], *, own: str | None, accepted: bool
) -> Problem | None:
    """What forbids telling; None when nothing does. Only invoices that get more than before are looked at.

    `own` is the PSA's payment that it is, `accepted`: a person wants it applied although there is no room. The
    invoices are locked until the transaction ends, so that no two payments find the same room.
    """
    if not invoices:
        return None
    billed = [("invoice", owned.document_id) for owned in invoices.values()]
    documents.lock(case.connection, case.tenant, billed)
    found = balances.of(case.connection, case.tenant, [id_ for _, id_ in billed])
    own_parts = {
        target: [part for part in found[owned.document_id].parts if _own(part, case, own)]
        for target, owned in invoices.items()
    }
    more = {
        target: owned
        for target, owned in invoices.items()
        if split.settles(target) > sum(part.amount for part in own_parts[target])
    }
    wrong = {target: one for target, one in more.items() if one.currency not in {None, split.currency}}
    if wrong:
        return troubles.other_currency(case, split, wrong)
    wrong = {target: one for target, one in more.items() if one.state in NOT_PAYABLE}
    if wrong:
        return troubles.not_payable(case, split, wrong)
    if accepted:
        return None
    full: dict[Target, tuple[Balance, int]] = {}
    for target, owned in more.items():
        balance = _without(found[owned.document_id], own_parts[target])
        if balance.due is not None and split.settles(target) > balance.due:
            full[target] = (balance, split.settles(target))
    full = {target: one for target, one in full.items() if not _about_to_change(case, target, one, split)}
    return troubles.too_much(case, split, full) if full else None


def _own(part: Part, case: Case, own: str | None) -> bool:
    """Whether a part of a balance is what billing has of this very payment."""
    if part.source in {"quickbooks_payment", "quickbooks_credit"}:
        return (part.company_id, part.source_id) == (case.company_id, case.external_id)
    return part.source == "payment" and part.source_id == own


def _without(balance: Balance, parts: Collection[Part]) -> Balance:
    return Balance(
        balance.invoice_id,
        balance.number,
        balance.total,
        balance.currency,
        balance.state,
        tuple(part for part in balance.parts if part not in parts),
    )


def _about_to_change(case: Case, target: Target, full: tuple[Balance, int], split: Split) -> bool:
    """Whether there is room once other payments on the invoice, seen in newer versions, were judged too.

    Money that moves from one invoice to another is shown as two changes; whichever is judged first finds the other
    one's money still in its place.
    """
    balance, put = full
    others = [
        part
        for part in balance.parts
        if part.source in {"payment", "quickbooks_payment", "quickbooks_credit"}
    ]
    values: dict[str, Any] = {
        "company": case.company_id,
        "tenant": case.tenant,
        "realm": case.company.realm_id,
        "self": case.external_id,
        "ids": [None if part.source == "payment" else part.source_id for part in others],
        "own": [part.source_id if part.source == "payment" else None for part in others],
    }
    rows = case.connection.execute(_UNJUDGED, values).all()
    pending = {row.external_id for row in rows} | {row.document_id for row in rows}
    kept = sum(part.amount for part in balance.parts if part.source_id not in pending)
    return bool(pending) and balance.total is not None and put <= balance.total - kept
