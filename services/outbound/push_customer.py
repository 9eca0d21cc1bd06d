"""Writing changed client fields to the linked customers, for tenants that want it; otherwise nobody does.

The display name stays: it is unique over customers, vendors and employees, and the name by which the bookkeeper
finds the customer. https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/customer
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from messages import validate
from messages.clients import ClientUpdated
from services.ledger.documents import Document
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Adopt, Fail, Prepared, Problem, Send, Settled, Skip
from services.outbound import announcements, dossiers, forms, revisions, words
from services.outbound import books as books_
from services.outbound.handler import OutboundHandler
from services.quickbooks import calls
from services.quickbooks.call import Call
from services.quickbooks.entities import Customer
from services.quickbooks.reply import Reply

EVENT = "com.algapsa.billing.client.updated.v1"
LONGEST_NAME = 100

# One customer for each currency; the first step writes the first of them, and so on.
_CUSTOMERS = text(
    """SELECT external_id, coalesce(details ->> 'sync_token', '0') AS sync_token FROM mapping
        WHERE company_id = :company AND kind = 'customer' AND key = :client ORDER BY variant"""
)


class PushCustomer(OutboundHandler):
    """Handler of `push_customer`."""

    kind = "push_customer"
    act = "write the customer of"

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """A guessed SyncToken costs nothing when it is right, and one read when it is not."""
        document = dossiers.one(connection, operation.tenant_id, "client", operation.document_id).document
        customers = self._customers(connection, operation)
        if not customers:
            return Skip("not_linked", "the client is not linked to a customer in QuickBooks")
        customer_id, sync_token = customers[min(operation.steps, len(customers) - 1)]
        updated = validate(EVENT, document.data)
        assert isinstance(updated, ClientUpdated)
        wire = fields(updated)
        if operation.seen is not None:
            current: dict[str, Any] | None = operation.seen["object"]
            if current is None:
                return Fail(_gone(document, customer_id))
            wire, sync_token = revisions.changes(wire, current), str(current["SyncToken"])
            if not wire:
                assert operation.call is not None
                return Adopt(Call.from_json(operation.call), current)
        return Send(
            calls.update_sparse("Customer", wire, id=customer_id, sync_token=sync_token, requestid=requestid)
        )

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Tell billing, and go on with the client's customer in the next currency."""
        document = dossiers.one(connection, operation.tenant_id, "client", operation.document_id).document
        answered = reply.one(Customer)
        assert operation.company_id is not None
        books = books_.load(connection, operation.company_id, operation.document_id)
        link = Link(
            tenant_id=operation.tenant_id,
            company_id=operation.company_id,
            kind="client",
            document_id=operation.document_id,
            external_type="Customer",
            external_id=answered.id,
            sync_token=answered.sync_token,
            number=answered.display_name,
            total=None,
            currency=None,
            state="synced",
            snapshot={},
        )
        announcements.synced(connection, operation, document, books, link, "updated")
        more = operation.steps + 1 < len(self._customers(connection, operation))
        return Settled({"quickbooks_id": answered.id, "company": books.realm_id}, again=more)

    @staticmethod
    def _customers(connection: Connection, operation: Operation) -> list[tuple[str, str]]:
        values = {"company": operation.company_id, "client": operation.document_id}
        return [(row.external_id, row.sync_token) for row in connection.execute(_CUSTOMERS, values)]


def fields(client: ClientUpdated) -> dict[str, Any]:
    """What a customer has of a client; what the client's event leaves out did not change."""
    wire: dict[str, Any] = {"CompanyName": client.name[:LONGEST_NAME], **forms.contact(client)}
    if "BillEmail" in wire:
        wire["PrimaryEmailAddr"] = wire.pop("BillEmail")
    if client.tax_exempt is not None:
        wire["Taxable"] = not client.tax_exempt
    return wire


def _gone(document: Document, customer_id: str) -> Problem:
    return Problem(
        type="accounting_sync_customer_unlinked",
        code="customer_gone",
        cause=f"customer_gone:{document.document_id}",
        title=f"The customer of {words.label(document)} is no longer in QuickBooks",
        happened=f"Customer {customer_id} was merged or made inactive in QuickBooks.",
        why="Documents of the client would be refused, too.",
        fix="Link the client to the customer that took its place, then retry.",
        **words.facts(document),
    )
