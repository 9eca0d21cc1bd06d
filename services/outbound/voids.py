"""What voiding an invoice, a credit note and a payment share: nothing to void, voided already, something on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from services.exceptions import causes
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Condition, Fail, Prepared, Skip
from services.outbound import dossiers, troubles, unlinked
from services.outbound.books import Books
from services.outbound.dossiers import Dossier, Reference
from services.quickbooks.call import Call
from services.quickbooks.reply import Reply

_IN_MOTION = text(
    """SELECT o.operation_id FROM operation o
         JOIN unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)
           ON o.document_kind = u.kind AND o.document_id = u.id
        WHERE o.tenant_id = :tenant AND o.state IN ('queued', 'running', 'waiting', 'scheduled')"""
)


def cause(kind: str, document_id: str) -> str:
    """What rests while something settles, or uses, a document: its void, and what there is no room for on it."""
    return f"money_on:{kind}:{document_id}"


def try_again(connection: Connection, tenant: str, references: Iterable[Sequence[str]]) -> None:
    """Retry what rests on documents from which money or credit was taken off in this transaction."""
    for kind, document_id in references:
        causes.release(
            connection, tenant, cause(kind, document_id), "algasync", "what was on it was taken off"
        )


def in_motion(connection: Connection, tenant: str, references: Sequence[Reference]) -> list[Condition]:
    """The unfinished steps of other documents, to be waited for; a failed one rests with a person."""
    if not references:
        return []
    values = {
        "tenant": tenant,
        "kinds": [kind for kind, _ in references],
        "ids": [id_ for _, id_ in references],
    }
    return [Condition("step", str(row.operation_id)) for row in connection.execute(_IN_MOTION, values)]


def nothing_there(
    connection: Connection, operation: Operation, dossier: Dossier, books: Books, export: str
) -> Prepared:
    """What becomes of the void of a document without a link: it was never exported, was before us, or was lost."""
    document, carried = dossier.document, unlinked.carried(dossier)
    if carried is not None:
        return carried
    reference = (operation.document_kind, operation.document_id)
    if dossiers.exported_before(connection, operation.tenant_id, reference, books.company_id, export):
        return Fail(troubles.link_lost(document))
    if unlinked.before_us(document, books):
        return Fail(unlinked.never_came(document, [document], books))
    return Skip(
        "never_exported", "it was voided before it was exported, so there is nothing to void in QuickBooks"
    )


def adopt(operation: Operation, raw: Mapping[str, Any]) -> Adopt:
    """What was to be done is done already, by hand or by a call whose answer was lost."""
    assert operation.call is not None
    return Adopt(Call.from_json(operation.call), raw)


def deleted(id_: str) -> dict[str, Any]:
    """What QuickBooks says of a deleted object."""
    return {"Id": id_, "status": "Deleted"}


def is_void(raw: Mapping[str, Any]) -> bool:
    """Whether an object was voided: its amounts are gone and its note begins with the word."""
    note = str(raw.get("PrivateNote") or "")
    return not Decimal(raw.get("TotalAmt") or 0) and note.lower().startswith("voided")


def dead_link(link: Link, reply: Reply) -> Link:
    """The link of a document that was voided or deleted. The reply to a void may still show the old amounts."""
    raw = dict(reply.data[link.external_type])
    if raw.get("status") == "Deleted":
        return replace(link, state="deleted")
    return replace(link, state="voided", sync_token=str(raw["SyncToken"]), snapshot=raw)
