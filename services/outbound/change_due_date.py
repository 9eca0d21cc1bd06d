"""A new due date on an exported invoice: sent alone, so that nothing else of the invoice can be touched.

It needs no mapping, and works on invoices that the wizard linked as well as on those we exported.
"""

from __future__ import annotations

from sqlalchemy import Connection

from services.ledger.operations import Operation
from services.ledger.ports import Fail, Prepared, Skip
from services.outbound import books as books_
from services.outbound import closed_books, dossiers, unlinked
from services.outbound.export_form import ExportForm
from services.outbound.forms import INVOICE


class ChangeDueDate(ExportForm):
    """Handler of `change_due_date`."""

    act = "change the due date of"
    redatable = False

    def __init__(self) -> None:
        super().__init__("change_due_date", INVOICE)

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Send the date as billing last said it; an export that came before has carried it already."""
        dossier = dossiers.one(connection, operation.tenant_id, "invoice", operation.document_id)
        document, link = dossier.document, dossier.link
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, document.client_id or "")
        if link is None:
            if unlinked.before_us(document, books):
                return Fail(unlinked.never_came(document, [document], books))
            return Skip("never_exported", "the invoice is not in QuickBooks, so its due date is not either")
        closed = closed_books.check(books, document, self.act, [link.snapshot.get("TxnDate")])
        if closed is not None:
            return Fail(closed)
        due_date = (document.data or {}).get("due_date", operation.payload["due_date"])
        return self._change(connection, operation, dossier, {"DueDate": due_date}, link, requestid)


CHANGE_DUE_DATE = ChangeDueDate()
