"""Taking an application of credit back: the Payment of zero is deleted, or the line taken off the prepayment's."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Prepared, Send, Settled, Skip
from services.outbound import (
    allocations,
    announcements,
    applications,
    closed_books,
    dossiers,
    marker,
    troubles,
    voids,
)
from services.outbound import books as books_
from services.outbound.allocations import Target
from services.outbound.dossiers import Dossier, Reference
from services.outbound.handler import OutboundHandler
from services.quickbooks import calls
from services.quickbooks.call import Call
from services.quickbooks.reply import Reply


class UnapplyCredit(OutboundHandler):
    """Handler of `unapply_credit`."""

    kind = "unapply_credit"
    queue = "payments_out"
    needs_auto_sync = False  # it makes way for voids, which follow even when automatic sync is off
    act = "un-apply"
    by_hand = (
        "Leave it applied: what the customer owes is the same either way. Where the invoice is to be open again, enter "
        "an invoice and a credit memo over the amount dated {day} that take its place. Then discard this item with a "
        "note"
    )

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Take off what the application put on the invoice, and nothing else."""
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(
            connection, operation.tenant_id, [own, *map(tuple, operation.payload["involves"])]
        )
        dossier = known[own]
        assert operation.company_id is not None
        if dossier.link is None:
            exported = dossiers.exported_before(
                connection, operation.tenant_id, own, operation.company_id, "apply_credit"
            )
            if exported:
                return Fail(troubles.link_lost(dossier.document))
            return Skip("never_applied", "it was taken back before it was applied in QuickBooks")
        if not dossier.live:
            return Skip("not_applied", "it is not applied in QuickBooks any more")
        call = take_off(connection, operation, dossier, known, requestid)
        if call is None:
            return voids.adopt(operation, voids.deleted(dossier.link.external_id))
        dated = payment_date(connection, dossier.link)
        books = books_.load(connection, operation.company_id, "")
        closed = closed_books.check(books, dossier.document, self.act, [dated], by_hand=self.by_hand)
        return Fail(closed) if closed is not None else Send(call)

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """The link of the application is dead; the payment it stood on has other lines now."""
        dossier = dossiers.one(
            connection, operation.tenant_id, operation.document_kind, operation.document_id
        )
        assert dossier.link is not None
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, "")
        link = taken_off(connection, dossier.link, reply)
        announcements.synced(connection, operation, dossier.document, books, link, "deleted")
        voids.try_again(connection, operation.tenant_id, operation.payload["involves"])
        return Settled({"quickbooks_id": link.external_id, "company": books.realm_id})


def take_off(
    connection: Connection,
    operation: Operation,
    application: Dossier,
    known: dict[Reference, Dossier],
    requestid: str,
) -> Call | None:
    """The call that takes an application off its Payment; None when somebody has done that already.

    A Payment of zero that is left with nothing is deleted.
    """
    link = application.link
    assert link is not None
    current = _current(connection, link, operation.seen)
    part = parts(application, known)
    if current is None or not allocations.holds(allocations.read(current), part):
        return None
    rest = allocations.taken_off(allocations.read(current), part)
    token = str(current["SyncToken"])
    if not rest and not Decimal(current.get("TotalAmt") or 0):
        return calls.delete("Payment", id=link.external_id, sync_token=token, requestid=requestid)
    mark = marker.of(operation.tenant_id, operation.company_id, link.kind, link.document_id)
    note = marker.without(current.get("PrivateNote"), mark)
    changed = {**current, "Line": allocations.lines(rest), "PrivateNote": note}
    return calls.update_full("Payment", changed, requestid=requestid)


def taken_off(connection: Connection, link: Link, reply: Reply) -> Link:
    """Record that an application is no more; returns its dead link."""
    answered = dict(reply.data["Payment"])
    dead = replace(link, state="deleted")
    links.put(connection, dead)
    if answered.get("status") != "Deleted":
        for one in links.of_object(connection, link.company_id, "Payment", link.external_id):
            if one.state == "synced":
                links.put(connection, replace(one, sync_token=str(answered["SyncToken"]), snapshot=answered))
    return dead


def parts(application: Dossier, known: dict[Reference, Dossier]) -> dict[Target, Decimal]:
    """What an application put on the invoice and used of the memo."""
    applied = applications.read(application)
    invoice, source = (known[reference] for reference in applications.involved(applied))
    return applications.share(applied, invoice, source if applied.source_kind == "credit_note" else None)


def payment_date(connection: Connection, link: Link) -> str | None:
    """The date of the Payment that an application stands on."""
    current = _current(connection, link, None)
    return current.get("TxnDate") if current is not None else None


def _current(connection: Connection, link: Link, seen: dict[str, Any] | None) -> dict[str, Any] | None:
    """The Payment of an application as we know it best; None when it was seen to be deleted.

    Several applications may stand on one Payment: the newest word counts.
    """
    if seen is not None and seen.get("id") == link.external_id:
        found: dict[str, Any] | None = seen["object"]
        return found
    same = links.of_object(connection, link.company_id, "Payment", link.external_id)
    return max((one for one in same if one.state == "synced"), key=_token, default=link).snapshot


def _token(link: Link) -> int:
    """SyncTokens are opaque; in practice they count up, and a wrong guess only costs a read."""
    return int(link.sync_token) if link.sync_token.isdecimal() else -1
