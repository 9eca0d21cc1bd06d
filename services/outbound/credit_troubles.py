"""Credit that cannot be applied as billing did, because QuickBooks uses it otherwise already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from messages.credits import CreditApplied
from services.ledger.documents import Document
from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import allocations, voids, words
from services.outbound.allocations import Amounts
from services.outbound.dossiers import Dossier, target


def used_already(
    document: Document, invoice: Dossier, memo: Dossier, amounts: Amounts, seen: Mapping[str, Any]
) -> Problem:
    """QuickBooks, or a bookkeeper, applied the credit in another way, or the invoice is settled otherwise."""
    credit = target(memo)
    tied = [
        f"{used[credit]} by Payment {raw['Id']}"
        for raw in seen["payments"]
        if credit in (used := allocations.read(raw))
    ]
    there = seen["invoice"]
    balance = there.get("Balance") if there else None
    full = (
        invoice if not tied and (balance or 0) < amounts[target(invoice)] else memo
    )  # what has no room for it
    on_it = (
        f"{words.label(memo.document)} is applied to it with {', '.join(tied)}"
        if tied
        else (
            f"{words.label(memo.document)} is not applied to it, and {balance} of it are open"
            if there
            else "it is deleted there"
        )
    )
    return Problem(
        type=EXPORT_ERROR,
        code="credit_applied_differently" if tied else "credit_not_applicable",
        cause=voids.cause(full.document.kind, full.document.document_id),
        title=f"QuickBooks uses {words.label(memo.document)} otherwise than billing",
        happened=f"Billing applied {next(iter(amounts.values()))} {document.currency} of it to "
        f"{words.label(invoice.document)}. In QuickBooks {on_it}. It answered: {seen['said']}",
        why="QuickBooks applies open credits by itself unless that is switched off (Account and settings, Advanced, "
        "Automation), and credit is never applied twice.",
        fix="Move it in QuickBooks: take the credit off where it is, then retry. Or take QuickBooks' way over in "
        "billing, and discard this item with a note.",
        details={"quickbooks": tied, "said": seen["said"]},
        **words.facts(document),
    )


def money_used(document: Document, applied: CreditApplied, paid: Sequence[Dossier]) -> Problem:
    """No payment of the prepayment has as much unapplied as billing applies."""
    left = ", ".join(
        f"{one.link.snapshot.get('UnappliedAmt', 0)} of Payment {one.link.external_id}"
        for one in paid
        if one.link is not None
    )
    return Problem(
        type=EXPORT_ERROR,
        code="prepayment_used",
        cause=voids.cause("invoice", applied.source_id),
        title=f"The money of prepayment {applied.source_id} is used otherwise in QuickBooks",
        happened=f"{words.title(document)} needs more than one payment has left: {left} are unapplied.",
        why="An application takes the money of one payment; several are tied to an invoice by hand.",
        fix="Apply the unapplied payments to the invoice in QuickBooks, then discard this item with a note.",
        **words.facts(document),
    )


def money_gone(document: Document, applied: CreditApplied) -> Problem:
    """The payment of the prepayment was deleted in QuickBooks."""
    return Problem(
        type=EXPORT_ERROR,
        code="prepayment_gone",
        cause=f"prepayment_used:{applied.source_id}",
        title=f"The payment of prepayment {applied.source_id} is no longer in QuickBooks",
        happened=f"{words.title(document)} takes its money from a Payment that was deleted in QuickBooks.",
        why="Without the money there is nothing to apply.",
        fix="Record the payment again in QuickBooks, or reverse it in billing; then retry or discard this item.",
        **words.facts(document),
    )
