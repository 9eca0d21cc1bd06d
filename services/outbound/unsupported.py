"""Billing events whose effect in QuickBooks is done by hand: an exception at once, with a dated recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from sqlalchemy import Connection

from messages.money import to_decimal
from services.ledger.operations import Operation
from services.ledger.ports import Fail, Look, Prepared, Problem, Settled
from services.ledger.troubles import EXPORT_ERROR
from services.outbound import dossiers, words
from services.outbound.dossiers import Dossier
from services.outbound.handler import OutboundHandler
from services.quickbooks.errors import Refused
from services.quickbooks.reply import Reply

RECIPES: Final[Mapping[str, str]] = {
    "InvoiceWrittenOff": "Enter a credit memo in QuickBooks dated {date} on your bad-debt item over {amount}, "
    "and apply it to the invoice.",
    "CreditApplied": "Enter a credit memo in QuickBooks dated {date} over {amount} on the item you use for such "
    "credit, and apply it to the invoice.",
    "CreditAppliedAgain": "It is applied in QuickBooks as billing first said. If this is another application, take the "
    "first one back in billing and apply each under an id of its own.",
    "CreditUnapplied": "Un-apply and delete the credit memo of {amount} in QuickBooks, if one was entered for this.",
    "CreditUnappliedInPart": "Open the payment in QuickBooks that applies the credit, and lower what it puts on the "
    "invoice, and takes of the credit memo, by {amount}.",
    "CreditExpired": "Enter a journal entry in QuickBooks dated {date} that takes {amount} of the customer's open "
    "credit to other income.",
    "PaymentRecorded": "It is in QuickBooks as billing first recorded it. Reverse it in billing as keyed in error and "
    "record it under an id of its own, or correct it in QuickBooks to {amount} of {date}.",
    "PaymentReallocated": "Move the payment in QuickBooks to the invoices named in the details.",
    "PaymentReversed": "The money went back on {date}. Enter an expense in QuickBooks dated {date} from the bank "
    "account on Accounts Receivable, for the customer, over {amount}; then un-apply the payment from its invoices "
    "and apply it to that expense. Bank fees are an expense of their own.",
    "PaymentRefunded": "Enter an expense in QuickBooks dated {date} from the bank account on Accounts Receivable, "
    "for the customer, over {amount}, and apply the unapplied part of the payment to it.",
}
_WORDS: Final[Mapping[str, str]] = {
    "InvoiceWrittenOff": "was written off",
    "CreditApplied": "was applied from a source that QuickBooks does not know",
    "CreditAppliedAgain": "was applied again, and differently",
    "CreditUnapplied": "was taken back",
    "CreditUnappliedInPart": "was taken back by another amount than was applied",
    "CreditExpired": "expired",
    "PaymentRecorded": "was recorded again, and differently",
    "PaymentReallocated": "was moved to other invoices",
    "PaymentReversed": "did not hold",
    "PaymentRefunded": "was given back",
}


def by_hand(connection: Connection, operation: Operation, otherwise: str = "") -> Fail:
    """What a person does about the event of an operation; `otherwise` is what would let us do it."""
    event, data = operation.payload["event"], operation.payload["data"]
    own = (operation.document_kind, operation.document_id)
    about = [tuple(reference) for reference in operation.payload["about"]]
    known = dossiers.load(connection, operation.tenant_id, [own, *about])
    seen = [one for one in known.values() if one.described or one.link is not None]
    amount, currency = _amount(data, known[own], seen)
    facts = {"amount": _money(amount, currency), "date": data.get("date", "the day it happened")}
    client_id = next((one.document.client_id for one in seen if one.document.client_id), None)
    fix = f"{RECIPES[event].format(**facts)} Then discard this item with a note of what was done."
    return Fail(
        Problem(
            type=EXPORT_ERROR,
            code="unsupported_effect",
            cause=f"unsupported:{event}",
            title=f"{words.title(known[own].document)} {_WORDS[event]}: to be entered by hand",
            happened=f"{facts['amount']} on {facts['date']}"
            + (f", reason: {data['reason']}" if data.get("reason") else "")
            + f". It is about {'; '.join(map(_named, seen)) or 'documents that are not in QuickBooks'}.",
            why="algasync does not carry this out in QuickBooks, and guessing would falsify the books.",
            fix=f"{fix} {otherwise}".strip(),
            details={"event": event, "data": data},
            client_id=client_id,
            amount=amount,
            currency=currency,
        )
    )


class Unsupported(OutboundHandler):
    """Handler of `unsupported`: it never calls QuickBooks."""

    kind = "unsupported"
    needs_auto_sync = False

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Fail at once, with what a person does instead."""
        return by_hand(connection, operation)

    def recipe(self, connection: Connection, operation: Operation) -> Problem:
        """What a person does instead."""
        return by_hand(connection, operation).problem

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Never reached: nothing is sent."""
        self._unreachable()

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> None:
        """Never reached: nothing is sent."""
        self._unreachable()

    @staticmethod
    def _unreachable() -> NoReturn:
        raise AssertionError("an unsupported effect is never sent to QuickBooks")


def _amount(data: Mapping[str, Any], own: Dossier, seen: list[Dossier]) -> tuple[int | None, str | None]:
    """The amount an event names, in its currency or that of its document; else the document's."""
    currency = data.get("currency") or next(
        (one.document.currency for one in seen if one.document.currency), None
    )
    amount = data.get("amount", own.document.total)
    return amount, currency


def _money(amount: int | None, currency: str | None) -> str:
    if amount is None:
        return "the amount"
    return f"{to_decimal(amount, currency)} {currency}" if currency else f"{amount} minor units"


def _named(dossier: Dossier) -> str:
    link = dossier.link
    where = f"{link.external_type} {link.external_id} in QuickBooks" if link else "not in QuickBooks"
    return f"{words.label(dossier.document)} ({where})"
