"""Money that went back (bounced, chargeback, refund), where a company wants it posted: an Expense on receivables.

The Expense takes the money from the bank, and the un-applied payment settles it: two calls, one operation. By default
a person does it (`refunds` is exception).
https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/purchase
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from messages.money import to_decimal
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Found, Look, Prepared, Problem, Send, Settled, Skip
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import (
    allocations,
    announcements,
    applications,
    closed_books,
    dossiers,
    forms,
    lines,
    marker,
    payment_maker,
    texts,
    troubles,
    unlinked,
    unsupported,
    voids,
    words,
)
from services.outbound import books as books_
from services.outbound.allocations import Target
from services.outbound.books import Books
from services.outbound.dossiers import Dossier, Reference
from services.outbound.export_payment import from_quickbooks
from services.outbound.findings import Finding, problem
from services.outbound.handler import OutboundHandler, as_answer, asked, sent
from services.quickbooks import calls, query
from services.quickbooks.errors import QuickBooksError
from services.quickbooks.reply import Reply

EXPENSE = "money_returned"
"""Kind of the link to the Expense."""

SETTINGS = "refunds to expense, refund_account and receivables_account"


class ReturnMoney(OutboundHandler):
    """Handler of `return_money`."""

    kind = "return_money"
    queue = "payments_out"
    needs_auto_sync = False  # the books must follow, and a recipe never waits
    act = "return the money of"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """First the Expense, then the payment is taken off its invoices and put on it."""
        assert operation.company_id is not None
        paid = dossiers.one(connection, operation.tenant_id, *_payment(operation))
        books = books_.load(connection, operation.company_id, paid.document.client_id or "")
        bank, receivables = books.reference("refund_account"), books.reference("receivables_account")
        if not _posted(books) or bank is None or receivables is None:
            return unsupported.by_hand(
                connection, operation, f"Or set {SETTINGS} for the company, and retry."
            )
        if paid.link is None and from_quickbooks((paid.document.data or {}).get("provider")):
            return unsupported.by_hand(connection, operation)  # it is QuickBooks' own, and corrected there
        held = unlinked.check(connection, operation, paid.document, [paid], books)
        if held is not None:
            return held
        assert paid.link is not None
        if applications.on_payment(connection, operation.tenant_id, paid.link):
            return unsupported.by_hand(
                connection, operation
            )  # credit from it is in use: nobody guesses whose
        amount = _amount(operation, paid)
        current: dict[str, Any] = (operation.seen or {}).get("object") or paid.link.snapshot
        expense = dossiers.one(connection, operation.tenant_id, EXPENSE, operation.document_id)
        target: Target = ("Expense", expense.link.external_id if expense.live and expense.link else "")
        there = allocations.read(current).get(target)
        if there is not None:
            if operation.call is not None:
                return voids.adopt(operation, current)
            if there == amount:
                return Skip("returned_already", "billing said it before, and QuickBooks has it")
            return Fail(_said_differently(paid, there, amount))
        returned = date.fromisoformat(operation.payload["data"]["date"])
        dated, remark = closed_books.dated(operation, returned)
        closed = closed_books.check(
            books, paid.document, self.act, [dated, current.get("TxnDate")], redatable=False
        )
        if closed is not None:
            return Fail(closed)
        freed = _freed(current, amount)
        if freed is None:
            return Fail(_several_invoices(paid, amount, current))
        if not expense.live or expense.link is None:
            findings: list[Finding] = []
            in_currency = forms.currency(_Money(paid), books, findings)
            if findings:
                title = f"Cannot return the money of {words.label(paid.document)}"
                return Fail(problem(findings, title=title, client_id=paid.document.client_id))
            wire = self._expense(operation, paid, current, amount, dated, bank, receivables, remark)
            return Send(calls.create("Purchase", wire | in_currency, requestid=requestid))
        tied = allocations.lines(allocations.added(freed, {target: amount}))
        return Send(calls.update_full("Payment", {**current, "Line": tied}, requestid=requestid))

    def recipe(self, connection: Connection, operation: Operation) -> Problem | None:
        """What a person does, where the company does not have it posted."""
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, "")
        return None if _posted(books) else unsupported.by_hand(connection, operation).problem

    @staticmethod
    def _expense(
        operation: Operation,
        paid: Dossier,
        current: Mapping[str, Any],
        amount: Decimal,
        dated: date,
        bank: str,
        receivables: str,
        remark: str | None,
    ) -> dict[str, Any]:
        mark = marker.of(operation.tenant_id, operation.company_id, EXPENSE, operation.document_id)
        said = f"{words.title(paid.document)}: {operation.payload['data']['reason']}"
        return {
            "PaymentType": "Cash",
            "AccountRef": {"value": bank},
            "EntityRef": {"value": str(current["CustomerRef"]["value"]), "type": "Customer"},
            "TxnDate": dated.isoformat(),
            "Line": [
                {
                    "Amount": amount,
                    "Description": texts.fitted(said, lines.LONGEST_DESCRIPTION),
                    "DetailType": "AccountBasedExpenseLineDetail",
                    "AccountBasedExpenseLineDetail": {"AccountRef": {"value": receivables}},
                }
            ],
            "PrivateNote": marker.note(mark, said, remark),
        }

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Link the Expense, and go on to tie the payment to it; then the payment has other lines."""
        assert operation.company_id is not None
        paid = dossiers.one(connection, operation.tenant_id, *_payment(operation))
        raw = dict(reply.data[reply.call.entity])
        if reply.call.entity == "Purchase":
            link = Link(
                tenant_id=operation.tenant_id,
                company_id=operation.company_id,
                kind=EXPENSE,
                document_id=operation.document_id,
                external_type="Purchase",
                external_id=str(raw["Id"]),
                sync_token=str(raw["SyncToken"]),
                number=None,
                total=Decimal(raw["TotalAmt"]),
                currency=paid.document.currency,
                state="synced",
                snapshot=raw,
                operation_id=operation.operation_id,
            )
            links.put(connection, link)
            return Settled({"expense": link.external_id, "total": str(link.total)}, again=True)
        assert paid.link is not None
        link = replace(paid.link, sync_token=str(raw["SyncToken"]), snapshot=raw)
        links.put(connection, link)
        books: Books = books_.load(connection, operation.company_id, paid.document.client_id or "")
        announcements.synced(connection, operation, paid.document, books, link, "updated")
        trouble = payment_maker.landed_elsewhere(paid.document, asked(reply), raw)
        note = {"quickbooks_id": link.external_id, "company": books.realm_id}
        return Settled(note, [trouble] if trouble is not None else [])

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """As for others; an Expense that could not be tied to the payment is named."""
        said = super().refused(connection, operation, refusal)
        expense = dossiers.one(connection, operation.tenant_id, EXPENSE, operation.document_id)
        if not expense.live or expense.link is None:
            return said
        return replace(
            said,
            happened=f"{said.happened} Expense {expense.link.external_id} over the money is posted.",
            fix=f"{said.fix} Or take the payment off its invoices in QuickBooks and apply it to that expense by hand, "
            "and discard this item with a note.",
        )

    def find(self, operation: Operation, look: Look) -> Found:
        """Look among the expenses of that day for our marker; the amount must agree too."""
        wire = sent(operation)
        if "Id" in wire:
            return Found()
        reply = look(
            calls.query(query.select("Purchase").where("TxnDate", "=", date.fromisoformat(wire["TxnDate"])))
        )
        mark = wire["PrivateNote"].rsplit(" ", 1)[-1]
        for raw in reply.data["QueryResponse"].get("Purchase") or ():
            if marker.bears(raw.get("PrivateNote"), mark):
                asked = sum((Decimal(str(line["Amount"])) for line in wire["Line"]), Decimal(0))
                if Decimal(str(raw["TotalAmt"])) == asked:
                    return Found(reply=as_answer(operation, reply, raw))
                return Found(problem=troubles.altered(operation, "Purchase", raw, asked), altered=True)
        return Found()


def _posted(books: Books) -> bool:
    """Whether the company wants it posted by us, and all that takes is set."""
    accounts = ("refund_account", "receivables_account")
    return books.settings.get("refunds") == "expense" and all(books.reference(one) for one in accounts)


class _Money:
    """The payment's own currency, at its own rate."""

    def __init__(self, paid: Dossier) -> None:
        data = paid.document.data or {}
        self.currency = str(paid.document.currency)
        self.exchange_rate = Decimal(data["exchange_rate"]) if data.get("exchange_rate") else None


def _payment(operation: Operation) -> Reference:
    """The payment whose money went back."""
    data = operation.payload["data"]
    return ("payment", str(data.get("payment_id") or data["id"]))


def _amount(operation: Operation, paid: Dossier) -> Decimal:
    """What went back: as a refund says, else all of the payment."""
    minor = operation.payload["data"].get("amount", paid.document.total)
    return to_decimal(minor, str(paid.document.currency))


def _freed(current: Mapping[str, Any], amount: Decimal) -> dict[Target, Decimal] | None:
    """The lines of the payment with that much unapplied; None when it is not plain which invoice gives way."""
    lines = allocations.read(current)
    total, unapplied = Decimal(str(current["TotalAmt"])), Decimal(str(current.get("UnappliedAmt") or 0))
    if amount >= total:
        return {}
    missing = amount - unapplied
    if missing <= 0:
        return lines
    invoices = [target for target, put in lines.items() if target[0] == "Invoice" and put >= missing]
    if len(lines) != 1 or not invoices:
        return None
    return allocations.taken_off(lines, {invoices[0]: missing})


def _said_differently(paid: Dossier, there: Decimal, amount: Decimal) -> Problem:
    document = paid.document
    return Problem(
        type=EXPORT_ERROR,
        code="returned_differently",
        cause=f"returned_differently:{document.kind}:{document.document_id}",
        title=f"Money of {words.label(document)} went back again, by another amount",
        happened=f"QuickBooks has {there} {document.currency} of it as returned, billing now says {amount}.",
        why="It was said before under the same id, and money is not returned twice.",
        fix="If it is another refund, record it under an id of its own; else correct the expense in QuickBooks. "
        "Then discard this item with a note of what was done.",
        **words.facts(document),
    )


def _several_invoices(paid: Dossier, amount: Decimal, current: Mapping[str, Any]) -> Problem:
    document = paid.document
    shares = ", ".join(f"{put} on {kind} {id_}" for (kind, id_), put in allocations.read(current).items())
    return Problem(
        type=EXPORT_ERROR,
        code="refund_of_several_invoices",
        cause=f"refund:{document.document_id}",
        title=f"Which invoice the refund of {words.label(document)} opens again is not said",
        happened=f"{amount} {document.currency} went back, and the payment has {shares}.",
        why="Taking it off one of them would be a guess.",
        fix="Reallocate the payment in billing so that as much is unapplied, then retry.",
        **words.facts(document),
    )
