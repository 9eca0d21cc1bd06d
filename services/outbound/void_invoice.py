"""Voiding an exported invoice: only while nothing is on it but credit of ours, which is taken off first.

In a closed period it is not touched; a credit memo in the open one offsets it, if somebody decides so (`offsets`).

The void carries the SyncToken under which the invoice was known to be unpaid, so that QuickBooks refuses it when
money came in between.
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/invoice#void-an-invoice
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from services.ledger import links
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Found, Hold, Look, Prepared, Problem, Send, Settled, Skip
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import (
    announcements,
    applications,
    closed_books,
    dossiers,
    marker,
    offsets,
    voids,
    words,
)
from services.outbound import books as books_
from services.outbound.allocations import holds, read
from services.outbound.books import Books
from services.outbound.closed_books import OFFSET
from services.outbound.dossiers import Dossier
from services.outbound.forms import INVOICE
from services.outbound.handler import decided, present, sent
from services.outbound.offsets import Offset
from services.outbound.unapply_credit import parts, payment_date, take_off, taken_off
from services.outbound.void import Void
from services.quickbooks import calls, query
from services.quickbooks.errors import Refused
from services.quickbooks.fault_codes import NOT_FOUND, STALE
from services.quickbooks.reply import Reply


class VoidInvoice(Void):
    """Handler of `void_invoice`."""

    kind = "void_invoice"
    offset = Offset(kind, INVOICE)

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Take our credit off first, one call each; then void, unless money is on it."""
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(connection, operation.tenant_id, [own, offsets.opposite(*own)])
        dossier = known[own]
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        link = dossier.link
        if link is None:
            return voids.nothing_there(connection, operation, dossier, books, "export_invoice")
        if not dossier.live:
            return Skip("already_void", f"it was {link.state.replace('_', ' ')} in QuickBooks before")
        settling = dossiers.settling(connection, operation.tenant_id, operation.document_id)
        moving = voids.in_motion(connection, operation.tenant_id, settling)
        if moving:
            return Hold(moving, "waiting for what is being taken off it")
        on_it = dossiers.load(connection, operation.tenant_id, settling) if settling else {}
        credit = [one for one in on_it.values() if one.document.kind == "credit_application"]
        offset = known[offsets.opposite(*own)].live
        if decided(operation, OFFSET):
            free = [] if offset else [one for one in credit if _in_open_period(connection, books, one)]
            if free:
                return self._take_off(connection, operation, free[0], requestid)
            return self.offset.prepare(connection, operation, requestid)
        if offset:
            return Skip("offset", "a credit memo in the open period stands against it")
        seen = operation.seen or {}
        current: dict[str, Any] | None = seen.get("invoice", link.snapshot)
        if current is None:
            return voids.adopt(operation, voids.deleted(link.external_id))
        if voids.is_void(current):
            return voids.adopt(operation, current)
        closed = closed_books.check(
            books, dossier.document, self.act, [current["TxnDate"]], instead=self.instead(operation)
        )
        if closed is not None:
            return Fail(closed)
        if credit:
            return self._take_off(connection, operation, credit[0], requestid)
        money = [one for one in on_it.values() if one.document.kind == "payment"]
        settled = Decimal(current.get("Balance") or 0) != Decimal(current.get("TotalAmt") or 0)
        if money or (settled and "invoice" in seen):
            return Fail(_money_on(dossier, money, seen.get("payments", ())))
        token = str(current["SyncToken"])
        call = calls.void("Invoice", id=link.external_id, sync_token=token, requestid=requestid)
        return Send(call, look_first=settled)  # what was on it when it was last seen may be off again

    def _take_off(
        self, connection: Connection, operation: Operation, credit: Dossier, requestid: str
    ) -> Prepared:
        """A step of its own: afterwards the void is decided on anew."""
        involved = applications.involved(applications.read(credit))
        known = dossiers.load(connection, operation.tenant_id, involved)
        call = take_off(connection, operation, credit, known, requestid)
        if call is not None:
            return Send(call)
        assert credit.link is not None
        return voids.adopt(operation, voids.deleted(credit.link.external_id))

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Credit that was taken off, or the void itself, or what offsets it."""
        if self.offset.concerns(operation, reply):
            return self.offset.settle(connection, operation, reply)
        own = (operation.document_kind, operation.document_id)
        dossier = dossiers.one(connection, operation.tenant_id, *own)
        assert operation.company_id is not None
        assert dossier.link is not None
        books = books_.load(connection, operation.company_id, dossier.document.client_id or "")
        if reply.call.entity == "Payment":
            payment = reply.data["Payment"]
            for application in self._no_longer_on(connection, operation, payment):
                assert application.link is not None
                dead = taken_off(connection, application.link, reply)
                announcements.synced(connection, operation, application.document, books, dead, "deleted")
            return Settled({"taken_off": str(payment["Id"])}, again=True)
        link = voids.dead_link(dossier.link, reply)
        links.put(connection, link)
        action: announcements.Action = "deleted" if link.state == "deleted" else "voided"
        announcements.synced(connection, operation, dossier.document, books, link, action)
        warned = _earlier_month(dossier, operation)
        note = {"quickbooks_id": link.external_id, "company": books.realm_id}
        return Settled(note, [warned] if warned is not None else [])

    def _no_longer_on(
        self, connection: Connection, operation: Operation, payment: Mapping[str, Any]
    ) -> list[Dossier]:
        """The applications to this invoice that a Payment carried and carries no more."""
        assert operation.company_id is not None
        references = [
            ("credit_application", link.document_id)
            for link in links.of_object(connection, operation.company_id, "Payment", str(payment["Id"]))
            if link.kind == "credit_application" and link.state == "synced"
        ]
        gone = []
        for application in dossiers.load(connection, operation.tenant_id, references).values():
            applied = applications.read(application)
            if applied.invoice_id != operation.document_id:
                continue
            known = dossiers.load(connection, operation.tenant_id, applications.involved(applied))
            mark = marker.of(
                operation.tenant_id, operation.company_id, "credit_application", applied.application_id
            )
            money = Decimal(payment.get("TotalAmt") or 0)
            stays = (
                marker.bears(payment.get("PrivateNote"), mark)
                if money
                else holds(read(payment), parts(application, known))
            )
            if payment.get("status") == "Deleted" or not stays:
                gone.append(application)
        return gone

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """The invoice as it is, and the payments on it."""
        assert operation.call is not None
        voiding = operation.call["entity"] == "Invoice" and not self.offset.under_way(operation)
        if not voiding or refusal.fault.code not in {STALE, NOT_FOUND}:
            return super().inspect(operation, refusal, look)
        return _settled_by(present(look, "Invoice", sent(operation)["Id"]), look)

    def find(self, operation: Operation, look: Look) -> Found:
        """As for others; with the payments on the invoice, if it is looked at."""
        found = super().find(operation, look)
        if found.seen is None or found.seen["entity"] != "Invoice":
            return found
        return Found(seen=_settled_by(found.seen["object"], look))


def _settled_by(invoice: Mapping[str, Any] | None, look: Look) -> dict[str, Any]:
    """The invoice as it is, and the payments on it."""
    ids = [one["TxnId"] for one in (invoice or {}).get("LinkedTxn") or () if one["TxnType"] == "Payment"]
    payments: list[Mapping[str, Any]] = []
    for select in query.select("Payment").each_in("Id", ids):
        payments += look(calls.query(select)).data["QueryResponse"].get("Payment") or ()
    return {"invoice": invoice, "payments": payments}


def _in_open_period(connection: Connection, books: Books, credit: Dossier) -> bool:
    assert credit.link is not None
    dated = payment_date(connection, credit.link)
    return closed_books.check(books, credit.document, "un-apply", [dated]) is None


def _money_on(dossier: Dossier, ours: Sequence[Dossier], seen: Sequence[Mapping[str, Any]]) -> Problem:
    document = dossier.document
    listed = [f"{words.label(one.document)} (Payment {one.link.external_id})" for one in ours if one.link]
    known = {one.link.external_id for one in ours if one.link}
    invoice = ("Invoice", dossier.link.external_id if dossier.link else "")
    for raw in seen:
        if raw["Id"] not in known:
            amount = read(raw).get(invoice)
            what = "credit applied" if not Decimal(raw["TotalAmt"]) else "payment"
            listed.append(f"a {what} of {amount} on {raw['TxnDate']} (Payment {raw['Id']})")
    return Problem(
        type=EXPORT_ERROR,
        code="money_on_invoice",
        cause=voids.cause(document.kind, document.document_id),
        title=f"{words.title(document)} cannot be voided: it is settled",
        happened=f"Billing voided it, and in QuickBooks there is on it: {'; '.join(listed) or 'something'}.",
        why="QuickBooks would void it all the same and leave the money unapplied, unseen by anybody.",
        fix="Reverse the payment in billing: the void then goes on by itself. Or move the money in QuickBooks "
        "and retry.",
        details={"on_it": listed},
        **words.facts(document),
    )


def _earlier_month(dossier: Dossier, operation: Operation) -> Problem | None:
    """A void changes the figures of the month of the invoice, although the books are open."""
    document, voided = dossier.document, date.fromisoformat(operation.payload["date"])
    billed = document.document_date
    if billed is None or (billed.year, billed.month) >= (voided.year, voided.month):
        return None
    return Problem(
        type="accounting_sync_warning",
        code="void_in_earlier_month",
        cause=f"void_in_earlier_month:{operation.company_id}",
        title=f"{words.title(document)} was voided in an earlier month",
        happened=f"It is dated {billed} and was voided on {voided}: the figures of {billed:%B %Y} changed.",
        why="That month is open in QuickBooks, but it may have been reported.",
        fix="Tell whoever reported that month; then close this item. To keep reported months as they are, close "
        "the books in QuickBooks.",
        **words.facts(document),
    )
