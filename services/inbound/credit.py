"""Credit on invoices of billing that somebody applied in QuickBooks: told as such, never as cash; and credit of ours
that is gone there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from messages.accounting import LinkedDocument, PaymentState
from messages.money import to_decimal
from services.exceptions import desk
from services.inbound import applications, drift, owners
from services.inbound.applications import Application
from services.inbound.cases import Case
from services.inbound.differences import Difference, digest
from services.inbound.drift import Change
from services.inbound.split import Target
from services.ledger import documents, links
from services.ledger.ports import Problem
from services.psa import credits as told_credits
from services.psa.credits import Applied

if TYPE_CHECKING:
    from services.inbound.money import Money

KIND = "credit_application"


def told(case: Case) -> dict[str, Applied]:
    """What billing was told of credits on this payment."""
    return told_credits.of_payment(case.connection, case.company_id, case.external_id)


def on_invoices(money: PaymentState | None, applied: Mapping[str, Applied]) -> dict[str, int]:
    """What billing has of a payment on each invoice, cash and credit, by QuickBooks' id of the invoice."""
    amounts: dict[str, int] = {}
    for share in money.allocations if money is not None else ():
        amounts[share.quickbooks_invoice_id] = amounts.get(share.quickbooks_invoice_id, 0) + share.amount
    for one in applied.values():
        if one.state == "told":
            invoice = one.application_id.rsplit("/", 1)[-1]
            amounts[invoice] = amounts.get(invoice, 0) + one.amount
    return amounts


def tell(money: Money) -> list[str]:
    """Tell of every application that billing does not have like that, and of those that are gone."""
    case, left, before = money.case, money.left, money.credits
    done: list[str] = []
    now: set[str] = set()
    for use in money.uses:
        applied = Applied(
            tenant_id=case.tenant,
            company_id=case.company_id,
            application_id=_name(case, use.credit, use.charge),
            payment_id=case.external_id,
            credit_type=use.credit[0],
            credit_id=use.credit[1],
            invoice_id=money.owned[use.charge].document_id,
            state="told",
            currency=left.currency,
            amount=use.amount,
            date=left.date,
        )
        now.add(applied.application_id)
        if before.get(applied.application_id) == applied:
            continue
        told_credits.put(case.connection, applied)
        invoice, source = money.owned[use.charge], money.owned.get(use.credit)
        case.tell.credit(applied, invoice, source, money.customer, left.numbers, automatic=left.automatic)
        done.append("credit applied in QuickBooks")
    gone = [one for one in before.values() if one.state == "told" and one.application_id not in now]
    return done + [_undo(case, one, "changed") for one in gone]


def withdraw(case: Case, change: Change) -> list[str]:
    """The payment is gone: so is every credit on it, ours or told."""
    done = [_undo(case, one, change) for one in told(case).values() if one.state == "told"]
    own = applications.of_payment(case.connection, case.tenant, case.company_id, case.live)
    return done + lost(case, own, change)


def lost(case: Case, missing: Sequence[Application], change: Change) -> list[str]:
    """Applications of ours that are not in QuickBooks any more: a person decides, and billing hears of it."""
    done = []
    for one in missing:
        link = one.link
        dead = "deleted" if change == "deleted" else "external_voided"
        links.put(case.connection, replace(link, state=dead))
        if one.taken_back:
            continue  # billing says so too
        exception_id, differences = _drifted(case, link.document_id, link.currency, one.amount, change)
        drift.put(
            case.connection,
            company_id=case.company_id,
            kind=KIND,
            document_id=link.document_id,
            tenant=case.tenant,
            change=change,
            version=case.seen.version,
            digest=digest(change, differences),
            differences=differences,
            agreed=link.snapshot,
            observed=case.seen.raw,
            exception_id=exception_id,
        )
        done.append("credit of ours taken off in QuickBooks")
    return done


def agreed(case: Case) -> None:
    """Billing has taken back what was taken off in QuickBooks before: nobody has to decide any more."""
    for link in case.links:
        if link.kind == KIND and link.state in {"deleted", "external_voided"}:
            document = documents.get(case.connection, case.tenant, KIND, link.document_id)
            if document.state == "voided":
                how = "billing has taken the credit back too"
                drift.close(case.connection, case.company_id, KIND, link.document_id, how)


def _name(case: Case, source: Target, charge: Target) -> str:
    """Our name of an application, the same whenever we tell of it."""
    return f"{case.company.realm_id}/{case.external_id}/{'-'.join(source)}/{charge[1]}"


def _undo(case: Case, applied: Applied, change: Change) -> str:
    """Billing did not apply it: what it was told is taken back, and nobody has to decide."""
    told_credits.put(case.connection, replace(applied, state="withdrawn"))
    source = (applied.credit_type, applied.credit_id)
    owned = owners.of_objects(case.connection, case.company_id, [source], meet=False)
    case.tell.credit_withdrawn(applied, owned.get(source), change)
    return "credit taken off in QuickBooks"


def _drifted(
    case: Case, application_id: str, currency: str | None, amount: int, change: Change
) -> tuple[UUID, list[Difference]]:
    """Billing has credit on an invoice that QuickBooks does not have there any more, under that name."""
    written = str(to_decimal(amount, currency)) if currency else str(amount)
    problem = Problem(
        type=drift.TYPE,
        code="credit_application_gone",
        cause=f"credit_gone:{application_id}",
        title="Credit was taken off an invoice in QuickBooks",
        happened=f"Billing has credit of {written} {currency or ''} applied; in QuickBooks the application was "
        f"{change} (payment {case.external_id}).",
        why="The invoice is open again by that amount in QuickBooks, and settled in billing.",
        fix="Take the credit back in billing, or apply it again in QuickBooks: that settles this by itself.",
        details={
            "quickbooks_payment_id": case.external_id,
            "url": case.tell.url("Payment", case.external_id),
        },
        amount=amount,
        currency=currency,
    )
    about = drift.subject(case.tenant, case.company_id, KIND, application_id)
    exception_id = desk.report(case.connection, about, problem)
    differences = [Difference("amount", written, "0", "quickbooks")]
    case.tell.drifted(
        LinkedDocument.model_validate(
            {
                "kind": KIND,
                "billing_id": application_id,
                "quickbooks_type": "Payment",
                "quickbooks_id": case.external_id,
                "url": case.tell.url("Payment", case.external_id),
            }
        ),
        change,
        differences,
        currency=currency,
        total=amount,
        quickbooks_total=0,
        exception_id=exception_id,
    )
    return exception_id, differences
