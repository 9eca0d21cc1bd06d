"""What keeps a document from being written although nothing is wrong with it: what is, or is not, in QuickBooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.ledger.documents import Document
from services.ledger.operations import Operation
from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import allocations, opposites, totals, words
from services.outbound.books import Books
from services.outbound.dossiers import Dossier
from services.outbound.findings import Finding
from services.outbound.forms import Form
from services.outbound.handler import sent

OVERWRITE = {
    "choice": "overwrite",
    "label": "Overwrite it with what billing says",
    "needs": ["reason"],
}


def in_other_company(dossier: Dossier, books: Books) -> Problem:
    """It was exported to another company than the one it is meant for now."""
    assert dossier.link is not None
    document = dossier.document
    return Problem(
        type=EXPORT_ERROR,
        code="in_other_company",
        cause=f"in_other_company:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} is in another QuickBooks company",
        happened=f"It is {dossier.link.external_type} {dossier.link.external_id} of another company, and was now sent "
        f"to {books.name or books.realm_id}.",
        why="One sale must not stand in two books.",
        fix="Void it in billing and bill it anew for the other company, or send the correction to the first company.",
        details={"linked_company": str(dossier.link.company_id), "company": str(books.company_id)},
        **words.facts(document),
    )


def number_in_use(operation: Operation, form: Form, found: Mapping[str, Any]) -> Problem:
    """QuickBooks has something of this number that is not ours."""
    number = sent(operation)["DocNumber"] if operation.call else found.get("DocNumber")
    return Problem(
        type=EXPORT_ERROR,
        code="number_in_use",
        cause=f"number_in_use:{operation.company_id}:{form.entity}:{number}",
        title=f"Number {number} is another {form.entity} in QuickBooks",
        happened=f"QuickBooks has a {form.entity} {number} (id {found['Id']}) that algasync did not make.",
        why="Customer, date, total or marker differ, so it is not bound to ours: it may be a bookkeeper's.",
        fix="Compare both. If it is the same sale, link it in the wizard's history step; else renumber the other one "
        "in QuickBooks and retry.",
        details={"quickbooks_id": str(found["Id"])},
    )


def emptied(dossier: Dossier) -> Problem:
    """A correction left nothing of what QuickBooks still has whole."""
    assert dossier.link is not None
    document, link = dossier.document, dossier.link
    return Problem(
        type=EXPORT_ERROR,
        code="emptied",
        cause=f"emptied:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} has no lines any more",
        happened=f"Billing corrected it to nothing, and QuickBooks still has {link.external_type} {link.external_id} "
        f"over {link.total} {document.currency}.",
        why="QuickBooks keeps no document without lines, so it stands there as it was.",
        fix="Void it in billing: the void is carried out in QuickBooks. Or correct it to a line over 0.",
        details={"quickbooks_id": link.external_id, "quickbooks_total": str(link.total)},
        **words.facts(document),
    )


def altered(operation: Operation, entity: str, found: Mapping[str, Any], asked: Decimal | None) -> Problem:
    """What we made is there by its marker, and somebody changed it before we knew that it is."""
    return Problem(
        type=EXPORT_ERROR,
        code="altered_payment" if entity == "Payment" else "altered_document",
        cause=f"altered:{operation.document_kind}:{operation.document_id}",
        title=f"{entity} {found['Id']} in QuickBooks was ours and is another now",
        happened=f"It bears our marker and is over {found.get('TotalAmt')} instead of {asked}, or of another "
        "customer or date.",
        why="Somebody changed or voided it before it was linked, and making it again would double it.",
        fix="Compare both. Correct it in QuickBooks, or delete it there to have it made anew, and retry; or link it in "
        "the wizard's history step and discard this item with a note.",
        details={"quickbooks_id": str(found["Id"])},
    )


def not_there(dossier: Dossier, form: Form) -> Problem:
    """A change of something that was voided or deleted in QuickBooks."""
    document = dossier.document
    return Problem(
        type=EXPORT_ERROR,
        code="not_there",
        cause=f"not_there:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} is no longer in QuickBooks",
        happened=f"Billing changed it, and its {form.entity} was voided or deleted in QuickBooks.",
        why="Making it again by ourselves would undo what somebody did on purpose.",
        fix="Re-export it to make it again, or void it in billing too.",
        **words.facts(document),
    )


def edited(dossier: Dossier, form: Form, edits: Sequence[str]) -> Problem:
    """Both sides changed the same thing."""
    document = dossier.document
    return Problem(
        type=EXPORT_ERROR,
        code="edited_in_quickbooks",
        cause=f"edited:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} was changed on both sides",
        happened=f"Billing corrected it, but in QuickBooks {'; '.join(edits)}. Nothing was overwritten.",
        why="A bookkeeper's change may have a reason that billing does not know.",
        fix="Compare both. Overwrite QuickBooks with a reason, or correct it in billing and discard this item.",
        details={"edits": list(edits), "choices": [OVERWRITE]},
        **words.facts(document),
    )


def used_more(dossier: Dossier, form: Form, used: Decimal, total: Decimal) -> Problem:
    """A correction below what is paid or applied already."""
    document = dossier.document
    word = "applied" if form.entity == "CreditMemo" else "paid"
    return Problem(
        type=EXPORT_ERROR,
        code=f"{word}_more",
        cause=f"{word}_more:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} would be less than what is {word}",
        happened=f"{used} {document.currency} of it are {word} in QuickBooks, and the correction makes it {total}.",
        why="QuickBooks would push the surplus off the payments by itself, and nobody would know which.",
        fix=f"Move what is {word} too much to another invoice in QuickBooks, then retry.",
        details={"used": str(used), "total": str(total)},
        **words.facts(document),
    )


def other_currency(invoice: Dossier, currency: str) -> Finding | None:
    """A payment or credit in another currency than the document it is for."""
    if invoice.document.currency in {None, currency}:
        return None
    return Finding(
        "currency_mismatch",
        "currency",
        f"{words.label(invoice.document)} is in {invoice.document.currency}, this is in {currency}",
        "Record it in the currency of the invoice in billing.",
        f"currency_mismatch:{invoice.document.document_id}",
    )


def payment_not_there(dossier: Dossier) -> Problem:
    """The payment to be changed was voided or deleted in QuickBooks."""
    document = dossier.document
    return Problem(
        type=EXPORT_ERROR,
        code="not_there",
        cause=f"not_there:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} is no longer in QuickBooks",
        happened="Billing moved it to other invoices, and its Payment was voided or deleted in QuickBooks.",
        why="Recording it again by ourselves would undo what somebody did on purpose.",
        fix="Re-export it to record it again, or reverse it in billing too.",
        **words.facts(document),
    )


def moved(dossier: Dossier, current: Mapping[str, Any]) -> Problem:
    """Both sides moved the same money."""
    document = dossier.document
    shares = ", ".join(
        f"{amount} on {kind} {id_}" for (kind, id_), amount in allocations.read(current).items()
    )
    return Problem(
        type=EXPORT_ERROR,
        code="moved_in_quickbooks",
        cause=f"moved:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} was moved on both sides",
        happened=f"Billing moved it to other invoices, and in QuickBooks it was moved, too: {shares or 'unapplied'}.",
        why="QuickBooks is where money is matched to the bank; its bookkeeper may have a reason.",
        fix="Compare both. Overwrite QuickBooks with a reason, or move it in billing and discard this item.",
        details={"choices": [OVERWRITE]},
        **words.facts(document),
    )


def corrected_by_hand(form: Form, document: Document, there: Mapping[str, Any]) -> str:
    """What to enter for a correction of a document in a closed period; `{day}` is to be filled in."""
    more = totals.billed(form, document) - Decimal(str(there.get("TotalAmt") or 0))
    if not more:
        return (
            "Leave it: no amount has changed, only words, days or references. Discard this item with a note"
        )
    noun = opposites.NOUNS["Invoice" if (more < 0) == (form.entity == "Invoice") else "CreditMemo"]
    return (
        f"Enter {noun} dated {{day}} over the difference of {abs(more)} {document.currency} on the items whose lines "
        f"changed{' and apply it to this one' if more < 0 else ''}, and discard this item with a note"
    )


def link_lost(document: Document) -> Problem:
    """It was exported once, and nobody knows any more as what."""
    return Problem(
        type=EXPORT_ERROR,
        code="link_lost",
        cause=f"link_lost:{document.kind}:{document.document_id}",
        title=f"The link of {words.label(document)} to QuickBooks is lost",
        happened="It was exported before, and which object in QuickBooks it became is not known any more.",
        why="Doing this to a guess might hit somebody else's document.",
        fix="Link it again in the wizard's history step (its timeline names the QuickBooks id), then retry.",
        **words.facts(document),
    )
