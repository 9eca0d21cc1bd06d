"""What keeps a payment in QuickBooks from being told to billing, in words a person can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from messages.money import to_decimal
from services.inbound.alike import Candidate
from services.inbound.cases import Case
from services.inbound.owners import Owned
from services.inbound.split import Split, Target
from services.ledger.ports import Problem
from services.psa.balances import Balance

UNMAPPED = "accounting_sync_unmapped_payment"


def amount(minor: int, currency: str) -> str:
    """An amount for a sentence."""
    return f"{to_decimal(minor, currency)} {currency}"


def unreadable(case: Case, error: Exception) -> Problem:
    """Its content cannot be understood."""
    return Problem(
        type=UNMAPPED,
        code="unreadable_payment",
        cause=f"unreadable:{case.company_id}:{case.entity}:{case.external_id}",
        title=f"{case.entity} {case.external_id} in QuickBooks cannot be read",
        happened=f"QuickBooks shows it in a form we do not understand: {' '.join(str(error).split())[:300]}",
        why="Guessing would put a wrong amount into billing.",
        fix="Open it in QuickBooks, check its amounts and save it once; else enter it in billing by hand and discard "
        "this item with a note.",
        details={"quickbooks_id": case.external_id},
    )


def other_currency(case: Case, split: Split, wrong: Mapping[Target, Owned]) -> Problem:
    """It pays invoices that billing has in another currency."""
    named = ", ".join(f"{owned.number or owned.document_id} in {owned.currency}" for owned in wrong.values())
    return _problem(
        case,
        split,
        code="currency_mismatch",
        cause=f"currency:{case.company_id}:{case.external_id}",
        title="A payment in QuickBooks has another currency than its invoice",
        happened=f"The payment is in {split.currency}; it pays {named}.",
        why="Nothing was applied: an amount in one currency settles nothing in another.",
        fix="Check which invoice in QuickBooks the payment belongs to, and whether that one is linked to the right "
        "invoice of billing. It is applied by itself once the payment is changed.",
    )


def not_payable(case: Case, split: Split, wrong: Mapping[Target, Owned]) -> Problem:
    """It pays invoices that billing has voided, written off or not finalized."""
    named = ", ".join(f"{owned.number or owned.document_id} ({_state(owned)})" for owned in wrong.values())
    return _problem(
        case,
        split,
        code="targets_non_payable_invoice",
        cause=f"not_payable:{','.join(sorted(owned.document_id for owned in wrong.values()))}",
        title="A payment in QuickBooks pays an invoice that billing does not collect",
        happened=f"It pays {named}.",
        why="Nothing was applied: in billing there is nothing to pay.",
        fix="Move the payment to the right invoice in QuickBooks, or leave it unapplied there: that is taken over by "
        "itself. If the invoice is to be collected after all, mend it in billing and retry.",
    )


def too_much(case: Case, split: Split, wrong: Mapping[Target, tuple[Balance, int]]) -> Problem:
    """It puts more on invoices than billing has open there."""
    named = ", ".join(
        f"{amount(put, split.currency)} on {balance.number or balance.invoice_id}, of which "
        f"{amount(max(0, (balance.total or 0) - balance.settled), split.currency)} are open"
        for balance, put in wrong.values()
    )
    return _problem(
        case,
        split,
        code="over_application",
        cause=f"over_application:{','.join(sorted(balance.invoice_id for balance, _ in wrong.values()))}",
        title="A payment in QuickBooks is larger than what billing has open",
        happened=f"It puts {named}.",
        why="Billing has other money or credit on the invoice that QuickBooks does not have: the same money may have "
        "been entered twice. Nothing was applied.",
        fix="Compare the payments on both sides. Delete the one that is too many, and this is settled by itself; or "
        "apply it all the same.",
        details={
            "choices": [
                {
                    "choice": "apply",
                    "label": "Apply it all the same: billing is overpaid",
                    "needs": ["reason"],
                }
            ]
        },
    )


def duplicate(case: Case, split: Split, candidates: Sequence[Candidate]) -> Problem:
    """Billing has a payment that looks the same."""
    named = ", ".join(
        f"{one.payment_id} of {one.date}"
        + (f", reference {one.reference}" if one.reference else "")
        + (f", in QuickBooks as Payment {one.external_id}" if one.external_id else ", not in QuickBooks yet")
        for one in candidates
    )
    choices = [
        {
            "choice": f"same:{one.payment_id}",
            "label": f"It is payment {one.payment_id}: link them",
            "needs": ["reason"],
        }
        for one in candidates
        if one.external_id is None
    ]
    different = {
        "choice": "different",
        "label": "It is another payment: take it over",
        "needs": ["reason"],
    }
    return _problem(
        case,
        split,
        code="likely_duplicate",
        cause=f"duplicate:{case.company_id}:{case.external_id}",
        title="A payment in QuickBooks looks like one that billing has already",
        happened=f"Same client, same amount, within five days: {named}.",
        why="Taking it over would count the same money twice, if it is the same.",
        fix="Say whether it is the same payment (link) or a different one (apply). If it was entered twice in "
        "QuickBooks, delete one there: that settles this by itself.",
        details={"choices": [*choices, different], "candidates": [one.payment_id for one in candidates]},
    )


def credit_conflict(case: Case, split: Split, invoice: Owned, ours: int, theirs: int) -> Problem:
    """Billing applied the same credit to the same invoice, by another amount."""
    return _problem(
        case,
        split,
        code="credit_conflict",
        cause=f"credit_conflict:{case.company_id}:{case.external_id}",
        title=f"The same credit is applied to {invoice.number or invoice.document_id} on both sides, differently",
        happened=f"Billing applied {amount(ours, split.currency)} of it, QuickBooks "
        f"{amount(theirs, split.currency)}.",
        why="Taking both over would use the credit twice.",
        fix="Move the credit in QuickBooks to what billing has; or take QuickBooks' application over and take back "
        "the one in billing.",
        details={
            "choices": [
                {"choice": "take_over", "label": "Take QuickBooks' application over", "needs": ["reason"]}
            ]
        },
    )


def _problem(case: Case, split: Split, details: Mapping[str, Any] | None = None, **words: str) -> Problem:
    raw = case.seen.raw or {}
    return Problem(
        type=UNMAPPED,
        details={
            "quickbooks_id": case.external_id,
            "url": case.tell.url("Payment", case.external_id),
            "date": split.date.isoformat(),
            "reference": raw.get("PaymentRefNum"),
            "customer": (raw.get("CustomerRef") or {}).get("name"),
            **(details or {}),
        },
        amount=split.amount,
        currency=split.currency,
        **words,
    )


def _state(owned: Owned) -> str:
    return owned.state.replace("_", " ")
