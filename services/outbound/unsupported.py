"""Billing events whose effect in QuickBooks is done by hand: an exception at once, with the recipe."""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy import Connection

from services.ledger.operations import Operation
from services.ledger.ports import Fail, Found, Look, Prepared, Problem, Settled
from services.outbound.findings import EXPORT_ERROR
from services.quickbooks.errors import QuickBooksError, Refused
from services.quickbooks.reply import Reply

RECIPES = {
    "InvoiceVoided": "Void the invoice in QuickBooks (open it, More, Void), unless payments or credits stand on it.",
    "InvoiceWrittenOff": "Write the invoice off in QuickBooks: a credit memo on a bad-debt item over the amount, "
    "dated as below, applied to the invoice.",
    "InvoiceDueDateChanged": "Change the due date of the invoice in QuickBooks to the date below.",
    "InvoiceTaxRequested": "Compute the tax by hand and enter it in billing before the invoice is finalized.",
    "CreditNoteFinalized": "Enter a credit memo in QuickBooks with the number, date and amounts below.",
    "CreditNoteVoided": "Un-apply and delete the credit memo in QuickBooks.",
    "CreditApplied": "In QuickBooks, receive a payment of 0 that applies the credit memo to the invoice.",
    "CreditUnapplied": "In QuickBooks, delete the payment of 0 that applied the credit memo to the invoice.",
    "CreditExpired": "In QuickBooks, enter a journal entry for the expired credit, dated as below.",
    "PaymentRecorded": "Receive the payment in QuickBooks against the invoices below.",
    "PaymentReallocated": "Change the payment in QuickBooks to the invoices below.",
    "PaymentReversed": "Void the payment in QuickBooks when it was keyed in error; else enter an expense on accounts "
    "receivable for the returned money and link it to the payment.",
    "PaymentRefunded": "Enter an expense on accounts receivable for the refund and link it to the payment.",
    "ClientUpdated": "Compare the customer in QuickBooks with the client and change it there if wanted.",
}


class Unsupported:
    """Handler of `unsupported`: it never calls QuickBooks."""

    kind = "unsupported"
    queue = "export"
    needs_auto_sync = False

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Fail at once, with what a person does instead."""
        event = operation.payload["event"]
        return Fail(
            Problem(
                type=EXPORT_ERROR,
                code="unsupported_effect",
                cause=f"unsupported:{event}",
                title=f"{event} of {operation.document_kind} {operation.document_id} must be done by hand",
                happened=f"Billing reported {event}; algasync does not carry this out in QuickBooks.",
                why="The effect is not supported yet, and guessing would falsify the books.",
                fix=f"{RECIPES[event]} Then discard this item with a note of what was done.",
                details={"event": event, "data": operation.payload["data"]},
            )
        )

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Never reached: nothing is sent."""
        self._unreachable()

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """Never reached: nothing is sent."""
        self._unreachable()

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> None:
        """Never reached: nothing is sent."""
        self._unreachable()

    def find(self, operation: Operation, look: Look) -> Found:
        """Never reached: nothing is sent."""
        self._unreachable()

    @staticmethod
    def _unreachable() -> NoReturn:
        raise AssertionError("an unsupported effect is never sent to QuickBooks")
