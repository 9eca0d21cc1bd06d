"""Voiding a credit note: QuickBooks cannot void a credit memo, it is deleted; never while a part of it is applied.

In a closed period it is not touched; an invoice in the open one offsets it, if somebody decides so (`offsets`).
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/creditmemo#delete-a-credit-memo
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from services.ledger import links
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Hold, Prepared, Problem, Send, Settled, Skip
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import announcements, closed_books, dossiers, offsets, voids, words
from services.outbound import books as books_
from services.outbound.closed_books import OFFSET
from services.outbound.dossiers import Dossier, Reference
from services.outbound.forms import CREDIT_MEMO
from services.outbound.handler import decided
from services.outbound.offsets import Offset
from services.outbound.void import Void
from services.quickbooks import calls
from services.quickbooks.reply import Reply


class VoidCreditMemo(Void):
    """Handler of `void_credit_memo`."""

    kind = "void_credit_memo"
    offset = Offset(kind, CREDIT_MEMO)

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Delete the memo under the SyncToken at which nothing of it was applied."""
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(connection, operation.tenant_id, [own, offsets.opposite(*own)])
        dossier = known[own]
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        link = dossier.link
        if link is None:
            return voids.nothing_there(connection, operation, dossier, books, "export_credit_memo")
        if not dossier.live:
            return Skip("already_void", f"it was {link.state.replace('_', ' ')} in QuickBooks before")
        using = dossiers.using(connection, operation.tenant_id, operation.document_id)
        moving = voids.in_motion(connection, operation.tenant_id, using)
        if moving:
            return Hold(moving, "waiting for its credit to be taken back")
        if decided(operation, OFFSET):
            kept = dossiers.load(connection, operation.tenant_id, using) if using else {}
            applied = [reference for reference, one in kept.items() if one.document.state != "voided"]
            if applied:  # what is taken back in billing only stays tied in the closed period
                return Fail(_applied(dossier, applied))
            return self.offset.prepare(connection, operation, requestid)
        if known[offsets.opposite(*own)].live:
            return Skip("offset", "an invoice in the open period stands against it")
        current: dict[str, Any] | None = operation.seen["object"] if operation.seen else link.snapshot
        if current is None:
            return voids.adopt(operation, voids.deleted(link.external_id))
        closed = closed_books.check(
            books, dossier.document, self.act, [current["TxnDate"]], instead=self.instead(operation)
        )
        if closed is not None:
            return Fail(closed)
        left, total = Decimal(current.get("RemainingCredit") or 0), Decimal(current.get("TotalAmt") or 0)
        if left != total and operation.seen is not None:
            return Fail(_applied(dossier, using, f"{total - left} {dossier.document.currency} of it are"))
        if using:  # since what is known of the memo was read
            return Fail(_applied(dossier, using))
        token = str(current["SyncToken"])
        call = calls.delete("CreditMemo", id=link.external_id, sync_token=token, requestid=requestid)
        return Send(call, look_first=left != total)  # what was used of it when it was last seen may be back

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """The link is dead, and billing is told; or what offsets it is linked."""
        if self.offset.concerns(operation, reply):
            return self.offset.settle(connection, operation, reply)
        own = (operation.document_kind, operation.document_id)
        dossier = dossiers.one(connection, operation.tenant_id, *own)
        assert operation.company_id is not None
        assert dossier.link is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        link = voids.dead_link(dossier.link, reply)
        links.put(connection, link)
        announcements.synced(connection, operation, dossier.document, books, link, "deleted")
        return Settled({"quickbooks_id": link.external_id, "company": books.realm_id})


def _applied(dossier: Dossier, using: Sequence[Reference], used: str = "credit of it is") -> Problem:
    document = dossier.document
    ours = f" by {', '.join(id_ for _, id_ in using)}" if using else ""
    return Problem(
        type=EXPORT_ERROR,
        code="credit_applied",
        cause=voids.cause(document.kind, document.document_id),
        title=f"{words.title(document)} cannot be voided: it is applied",
        happened=f"Billing voided it, and in QuickBooks {used} applied{ours}.",
        why="A credit memo that is applied, even in part, is never deleted: the invoices would be open again.",
        fix="Take the credit back in billing: the void then goes on by itself. Or un-apply it in QuickBooks and retry.",
        **words.facts(document),
    )
