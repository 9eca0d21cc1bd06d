"""A payment keyed in error is voided, as if it had never been; only while it is not deposited.

Money that came and went back (bounced, chargeback, refund) is not this: it stays in the books, with a recipe.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment#void-a-payment
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from services.ledger import links
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Prepared, Problem, Send, Settled, Skip
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import announcements, applications, closed_books, dossiers, room, voids, words
from services.outbound import books as books_
from services.outbound.dossiers import Dossier
from services.outbound.export_payment import from_quickbooks
from services.outbound.handler import OutboundHandler
from services.quickbooks import calls
from services.quickbooks.reply import Reply


class ReversePayment(OutboundHandler):
    """Handler of `reverse_payment`."""

    kind = "reverse_payment"
    queue = "payments_out"
    needs_auto_sync = False  # the books must follow
    act = "void"
    by_hand = (
        "Enter a journal entry dated {day} that debits Accounts Receivable, with the customer, and credits the account "
        "which the payment went to (Undeposited Funds unless another is set) over its amount; the payment itself "
        "stays. Then discard this item with a note"
    )

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Void the Payment as we know it, whole, because QuickBooks wants it so."""
        own = (operation.document_kind, operation.document_id)
        dossier = dossiers.one(connection, operation.tenant_id, *own)
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        link = dossier.link
        if link is None and from_quickbooks((dossier.document.data or {}).get("provider")):
            return Fail(_theirs(dossier))
        if link is None:
            return voids.nothing_there(connection, operation, dossier, books, "export_payment")
        if not dossier.live:
            return Skip("already_void", f"it was {link.state.replace('_', ' ')} in QuickBooks before")
        current: dict[str, Any] | None = operation.seen["object"] if operation.seen else link.snapshot
        if current is None:
            return voids.adopt(operation, voids.deleted(link.external_id))
        if voids.is_void(current):
            return voids.adopt(operation, current)
        deposits = [one["TxnId"] for one in current.get("LinkedTxn") or () if one["TxnType"] == "Deposit"]
        if deposits:
            return Fail(_deposited(dossier, deposits[0]))
        closed = closed_books.check(
            books, dossier.document, self.act, [current["TxnDate"]], by_hand=self.by_hand
        )
        if closed is not None:
            return Fail(closed)
        applied = applications.on_payment(connection, operation.tenant_id, link)
        if applied:
            return room.hold(connection, operation) or Fail(_credit_used(dossier, applied))
        token = str(current["SyncToken"])
        return Send(
            calls.void("Payment", id=link.external_id, sync_token=token, requestid=requestid, current=current)
        )

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """The link is dead, billing is told, and voids that waited for the money to go are tried again."""
        own = (operation.document_kind, operation.document_id)
        dossier = dossiers.one(connection, operation.tenant_id, *own)
        assert operation.company_id is not None
        assert dossier.link is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        link = voids.dead_link(dossier.link, reply)
        links.put(connection, link)
        action: announcements.Action = "deleted" if link.state == "deleted" else "voided"
        announcements.synced(connection, operation, dossier.document, books, link, action)
        voids.try_again(connection, operation.tenant_id, operation.payload["involves"])
        return Settled({"quickbooks_id": link.external_id, "company": books.realm_id})


def _theirs(dossier: Dossier) -> Problem:
    document = dossier.document
    return Problem(
        type=EXPORT_ERROR,
        code="payment_of_quickbooks",
        cause=f"payment_of_quickbooks:{document.document_id}",
        title=f"{words.title(document)} was recorded in QuickBooks and is reversed in billing",
        happened="Billing says that it was keyed in error; it came from QuickBooks, and stands there.",
        why="QuickBooks is where money is matched to the bank, so its payments are corrected there.",
        fix="Void or delete the payment in QuickBooks if it was never made: billing is then told. Else record it in "
        "billing again. Then discard this item with a note.",
        **words.facts(document),
    )


def _deposited(dossier: Dossier, deposit: str) -> Problem:
    document = dossier.document
    return Problem(
        type=EXPORT_ERROR,
        code="payment_deposited",
        cause=f"deposited:{document.kind}:{document.document_id}",
        title=f"{words.title(document)} cannot be voided: it is deposited",
        happened=f"Billing says that it was keyed in error, and in QuickBooks it is on deposit {deposit}.",
        why="What is on a bank deposit is matched to the bank; taking it away would unbalance the account.",
        fix="Take the payment off its deposit in QuickBooks and retry; or, if the money did come, correct billing "
        "and discard this item.",
        details={"deposit": deposit},
        **words.facts(document),
    )


def _credit_used(dossier: Dossier, applied: Mapping[tuple[str, str], object]) -> Problem:
    document = dossier.document
    used = ", ".join(f"{amount} on {kind} {id_}" for (kind, id_), amount in applied.items())
    return Problem(
        type=EXPORT_ERROR,
        code="prepayment_applied",
        cause=voids.cause(document.kind, document.document_id),
        title=f"{words.title(document)} cannot be voided: credit from it is applied",
        happened=f"Billing says that it was keyed in error, and credit from it settles invoices: {used}.",
        why="Voiding it would open those invoices again without anybody saying so.",
        fix="Take the credit back in billing first, then retry.",
        **words.facts(document),
    )
