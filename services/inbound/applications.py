"""Credit that we applied ourselves, found again on payments of QuickBooks, or found missing there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection, text

from services.inbound.split import Split, Target, Use
from services.ledger.links import Link

_PARTS = text(
    """SELECT d.document_id, d.total, d.data ->> 'source_kind' AS source_kind,
              i.external_id AS invoice, s.external_id AS memo, d.state = 'voided' AS taken_back
         FROM document d
         LEFT JOIN link i ON i.company_id = :company AND i.kind = 'invoice'
                         AND i.document_id = d.data ->> 'invoice_id'
         LEFT JOIN link s ON s.company_id = :company AND s.kind = 'credit_note'
                         AND s.document_id = d.data ->> 'source_id'
        WHERE d.tenant_id = :tenant AND d.kind = 'credit_application' AND d.document_id = ANY (CAST(:ids AS text[]))"""
)


@dataclass(frozen=True, slots=True)
class Application:
    """An application of ours: so much of a memo, or of a prepayment (None), on an invoice.

    `taken_back`: billing has taken it back, and QuickBooks is to follow.
    """

    link: Link
    invoice: Target
    memo: Target | None
    amount: int
    taken_back: bool = False


def of_payment(
    connection: Connection, tenant: str, company_id: UUID, links: Sequence[Link]
) -> list[Application]:
    """The living applications among the links of a payment, as billing described them."""
    own = {
        link.document_id: link
        for link in links
        if link.kind == "credit_application" and link.state == "synced"
    }
    if not own:
        return []
    rows = connection.execute(_PARTS, {"tenant": tenant, "company": company_id, "ids": sorted(own)})
    return [
        Application(
            link=own[row.document_id],
            invoice=("Invoice", row.invoice or ""),
            memo=("CreditMemo", row.memo or "") if row.source_kind == "credit_note" else None,
            amount=row.total,
            taken_back=row.taken_back,
        )
        for row in rows
    ]


def without(split: Split, own: Sequence[Application]) -> tuple[Split, list[Application]]:
    """The payment without what our applications put on it, and those that are not on it (any more).

    What a prepayment's application took of the cash counts as unapplied: billing has it as credit.
    """
    cash: dict[Target, int] = dict(split.cash)
    uses = list(split.uses)
    unapplied, missing = split.unapplied, list[Application]()
    for application in own:
        if application.memo is None:
            if cash.get(application.invoice, 0) < application.amount:
                missing.append(application)
                continue
            cash[application.invoice] -= application.amount
            unapplied += application.amount
        elif not _take(uses, application.memo, application.invoice, application.amount):
            missing.append(application)
    left = replace(
        split,
        cash={target: amount for target, amount in cash.items() if amount},
        uses=uses,
        unapplied=unapplied,
    )
    return left, missing


def _take(uses: list[Use], credit: Target, charge: Target, amount: int) -> bool:
    """Take an amount out of the uses of a credit for a document; False, and nothing taken, when it is not there."""
    for place, use in enumerate(uses):
        if (use.credit, use.charge) == (credit, charge) and use.amount >= amount:
            if use.amount == amount:
                del uses[place]
            else:
                uses[place] = replace(use, amount=use.amount - amount)
            return True
    return False
