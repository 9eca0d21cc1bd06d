"""Exporting a payment: one Payment over all invoices it settles, changed when billing moves the money elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from messages import validate
from messages.money import to_decimal
from messages.payments import PaymentRecorded
from services.ledger import links, waits
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Fail, Look, Prepared, Send, Settled, Skip
from services.mapping.mappings import lookup
from services.outbound import (
    allocations,
    announcements,
    applications,
    closed_books,
    customers,
    dossiers,
    duplicates,
    payments,
    room,
    troubles,
    unlinked,
    voids,
)
from services.outbound import books as books_
from services.outbound.books import Books
from services.outbound.dossiers import Dossier, is_prepayment, target
from services.outbound.findings import problem
from services.outbound.handler import asked, decided, looking_first, sent
from services.outbound.marker import marker
from services.outbound.payment_maker import PaymentMaker, landed_elsewhere, link_of
from services.outbound.words import label
from services.quickbooks import calls
from services.quickbooks.call import Call
from services.quickbooks.errors import Refused
from services.quickbooks.reply import Reply

EVENT = "com.algapsa.billing.payment.recorded.v1"


def from_quickbooks(provider: str | None) -> bool:
    """Whether billing only repeats what we told it of a payment in QuickBooks."""
    return (provider or "").strip().lower() == "quickbooks"


class ExportPayment(PaymentMaker):
    """Handler of `export_payment`."""

    kind = "export_payment"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Build the call from the payment as billing last described it, once all its invoices are there."""
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(
            connection, operation.tenant_id, [own, *map(tuple, operation.payload["involves"])]
        )
        dossier = known[own]
        payment = validate(EVENT, dossier.document.data)
        assert isinstance(payment, PaymentRecorded)
        if from_quickbooks(payment.provider) and dossier.link is None:
            return Skip("from_quickbooks", "billing has this payment from QuickBooks, so it is there already")
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, payment.client.id)
        shares = [
            (known["invoice", share.invoice_id], to_decimal(share.amount, payment.currency))
            for share in payment.allocations
            if not is_prepayment(known["invoice", share.invoice_id])
        ]
        invoices = [invoice for invoice, _ in shares]
        held = unlinked.check(connection, operation, dossier.document, invoices, books)
        held = held or room.hold(connection, operation)
        if held is not None:
            return held
        seen = operation.seen or {}
        if "open" in seen:
            before = allocations.read(dossier.link.snapshot) if dossier.link is not None else {}
            less = room.short(dossier.document, shares, seen, before)
            if less is not None:
                return Fail(less)
        wire, failed = self._body(connection, operation, dossier, payment, shares, books)
        if failed is not None:
            return failed
        if dossier.link is None:
            alike = None
            if not decided(operation, "different"):
                customer, day = wire["CustomerRef"]["value"], date.fromisoformat(wire["TxnDate"])
                alike = duplicates.check(connection, books.company_id, dossier.document, customer, day)
            if alike is not None:
                return Fail(alike)
            call = calls.create("Payment", wire, requestid=requestid)
            lost = (operation.revision > 1 or operation.repair > 0) and dossiers.exported_before(
                connection, operation.tenant_id, own, operation.company_id, self.kind
            )
            return looking_first(Send(call, look_first=lost), books)
        return self._reallocate(connection, operation, dossier, wire, requestid)

    def _body(
        self,
        connection: Connection,
        operation: Operation,
        dossier: Dossier,
        payment: PaymentRecorded,
        shares: Sequence[tuple[Dossier, Decimal]],
        books: Books,
    ) -> tuple[dict[str, Any], Fail | None]:
        client = customers.keys("customer", payment.client.id, payment.currency, books)
        mappings = lookup(connection, books.company_id, set(payments.keys(payment, client)))
        findings = [troubles.other_currency(one, payment.currency) for one, _ in shares]
        found = [one for one in findings if one is not None]
        customer = customers.payer([one for one, _ in shares], client, books, mappings, found)
        dated, remark = closed_books.dated(operation, payment.date)
        amounts = {target(one): amount for one, amount in shares}
        wire, wrong = payments.build(
            payment, customer, amounts, books, mappings, marker(operation), dated=dated, remark=remark
        )
        found += wrong
        if found:
            return wire, Fail(
                problem(
                    found,
                    title=f"Cannot export {label(dossier.document)}",
                    client_id=payment.client.id,
                    amount=payment.amount,
                    currency=payment.currency,
                )
            )
        there = dossier.link.snapshot.get("TxnDate") if dossier.link is not None else None
        closed = closed_books.check(
            books, dossier.document, "export", [there or dated], redatable=dossier.link is None
        )
        return wire, Fail(closed) if closed is not None else None

    def _reallocate(
        self,
        connection: Connection,
        operation: Operation,
        dossier: Dossier,
        wire: dict[str, Any],
        requestid: str,
    ) -> Prepared:
        """The same money on other invoices; what credit from it was applied by itself stays where it is."""
        link, seen = dossier.link, operation.seen or {}
        assert link is not None
        current: dict[str, Any] | None = seen.get("object", link.snapshot)
        if current is None or not dossier.live:
            return Fail(troubles.payment_not_there(dossier))
        applied = applications.on_payment(connection, operation.tenant_id, link)
        wanted = allocations.added(allocations.read(wire), applied)
        if allocations.read(current) == wanted:
            if "object" in seen and operation.call is not None:
                return Adopt(Call.from_json(operation.call), current)
            return Skip("nothing_changed", "QuickBooks has it like that already")
        moved = allocations.read(current) != allocations.read(link.snapshot)
        if moved and not decided(operation, "overwrite") and not operation.repair:
            return Fail(troubles.moved(dossier, current))
        changed = {**current, "CustomerRef": wire["CustomerRef"], "Line": allocations.lines(wanted)}
        return Send(calls.update_full("Payment", changed, requestid=requestid))

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Write the links, tell billing, and report money that did not land where it was to."""
        own = (operation.document_kind, operation.document_id)
        known = dossiers.load(
            connection, operation.tenant_id, [own, *map(tuple, operation.payload["involves"])]
        )
        dossier = known[own]
        document = dossier.document
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, document.client_id or "")
        link = link_of(operation, document, reply)
        links.put(connection, link)
        self._announce_prepayments(connection, operation, known, link)
        action: announcements.Action = "updated" if dossier.live else "created"
        announcements.synced(connection, operation, document, books, link, action)
        note = {
            "quickbooks_id": link.external_id,
            "total": str(link.total),
            "unapplied": str(link.snapshot.get("UnappliedAmt", 0)),
            "currency": link.currency,
            "company": books.realm_id,
        }
        if dossier.live:
            voids.try_again(connection, operation.tenant_id, operation.payload["involves"])
        trouble = landed_elsewhere(document, asked(reply), link.snapshot)
        return Settled(note, [trouble] if trouble is not None else [])

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """What is open of the invoices, when QuickBooks says that something else settles them."""
        if refusal.fault.code in room.REFUSALS:
            return room.seen(sent(operation), refusal, look)
        return super().inspect(operation, refusal, look)

    def _announce_prepayments(
        self,
        connection: Connection,
        operation: Operation,
        known: dict[dossiers.Reference, Dossier],
        link: Link,
    ) -> None:
        """Whoever applies credit from a prepayment waits for its money to be in QuickBooks."""
        for (kind, document_id), dossier in known.items():
            if kind == "invoice" and is_prepayment(dossier):
                links.put(connection, replace(link, kind="prepayment", document_id=document_id))
                condition = waits.link_condition("prepayment", document_id)
                waits.release_all(connection, operation.tenant_id, [condition])
