"""What each billing event asks of QuickBooks. Every type has an answer here: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from messages import EventData
from messages.clients import ClientUpdated
from messages.credits import CreditApplied, CreditNoteFinalized, CreditNoteVoided, CreditUnapplied
from messages.invoices import (
    Document,
    InvoiceCorrected,
    InvoiceDueDateChanged,
    InvoiceFinalized,
    InvoiceTaxRequested,
    InvoiceVoided,
    InvoiceWrittenOff,
)
from messages.payments import PaymentReallocated, PaymentRecorded, PaymentRefunded, PaymentReversed
from services.ledger import documents
from services.ledger.documents import Description
from services.ledger.operations import Lane, Plan
from services.ledger.ports import Effect
from services.mapping import settings
from services.outbound import applications, books, repeats
from services.outbound.dossiers import Reference

Rule = Callable[[Connection, str, Any], Effect]


def _form(kind: str, state: str = "finalized", lane: Lane = Lane.NORMAL) -> Rule:
    """A document of billing as a whole; a later revision takes the place of one that was not sent yet."""

    def rule(connection: Connection, tenant: str, document: Document) -> Effect:
        company_id, condition = books.choose(connection, tenant, document.target_company, document.client.id)
        described = Description(
            state=state,
            number=document.number,
            client_id=document.client.id,
            client_name=document.client.name,
            currency=document.currency,
            total=document.total,
            document_date=document.invoice_date,
            data=document.plain(),
        )
        plan = Plan(
            kind=kind,
            queue="export",
            company_id=company_id,
            company_condition=condition,
            lane=lane,
            supersedes=frozenset({kind, "compute_tax", "change_due_date"}),
        )
        note = {"number": document.number, "total": document.total, "currency": document.currency}
        return Effect(described, [plan], note)

    return rule


def _due_date(connection: Connection, tenant: str, changed: InvoiceDueDateChanged) -> Effect:
    """An export that was not sent yet carries the new date; one that was is changed in this field alone."""
    known = documents.get(connection, tenant, "invoice", changed.id)
    company_id, condition = _home(connection, tenant, [("invoice", changed.id)], known.client_id or "")
    due_date = changed.date.isoformat()
    plan = Plan(
        kind="change_due_date",
        queue="export",
        company_id=company_id,
        company_condition=condition,
        payload={"due_date": due_date},
        supersedes=frozenset({"change_due_date"}),
    )
    data = None if known.data is None else known.data | {"due_date": due_date}
    return Effect(Description(data=data), [plan], {"due_date": due_date, "reason": changed.reason})


def _void(kind: str, export: str) -> Rule:
    """A void cancels an export that was not sent, and follows one that was."""

    def rule(connection: Connection, tenant: str, voided: InvoiceVoided | CreditNoteVoided) -> Effect:
        company_id, condition = _home(connection, tenant, [(voided.kind, voided.id)], "")
        plan = Plan(
            kind=kind,
            queue="export",
            company_id=company_id,
            company_condition=condition,
            payload={"date": voided.date.isoformat()},
            supersedes=frozenset({export, kind, "compute_tax", "change_due_date", "write_off"}),
        )
        note = {"date": voided.date.isoformat(), "reason": voided.reason}
        return Effect(Description(state="voided"), [plan], note)

    return rule


def _payment(connection: Connection, tenant: str, payment: PaymentRecorded) -> Effect:
    described = Description(
        state="finalized",
        client_id=payment.client.id,
        client_name=payment.client.name,
        currency=payment.currency,
        total=payment.amount,
        document_date=payment.date,
        data=payment.plain(),
    )
    if repeats.contradicts(connection, tenant, payment, "export_payment"):
        return _by_hand(connection, tenant, payment)
    invoices = [("invoice", share.invoice_id) for share in payment.allocations]
    plan = _payment_plan(connection, tenant, payment.id, invoices, invoices, payment.client.id)
    return Effect(described, [plan], {"amount": payment.amount, "currency": payment.currency})


def _reallocated(connection: Connection, tenant: str, moved: PaymentReallocated) -> Effect:
    """The payment as it is now; one that was not sent yet goes out like that at once."""
    known = documents.get(connection, tenant, "payment", moved.id)
    if known.data is None:
        return _by_hand(connection, tenant, moved)
    shares = moved.plain()["allocations"]
    now = [("invoice", share.invoice_id) for share in moved.allocations]
    before = [("invoice", share["invoice_id"]) for share in known.data["allocations"]]
    plan = _payment_plan(connection, tenant, moved.id, now, [*now, *before], known.client_id or "")
    return Effect(Description(data=known.data | {"allocations": shares}), [plan], {"allocations": shares})


def _payment_plan(
    connection: Connection,
    tenant: str,
    payment_id: str,
    invoices: Sequence[Reference],
    involved: Sequence[Reference],
    client_id: str,
) -> Plan:
    company_id, condition = _home(connection, tenant, [("payment", payment_id), *invoices], client_id)
    return Plan(
        kind="export_payment",
        queue="payments_out",
        company_id=company_id,
        company_condition=condition,
        payload={"involves": _listed(involved)},
        supersedes=frozenset({"export_payment"}),
    )


def _reversed(connection: Connection, tenant: str, reversed_: PaymentReversed) -> Effect:
    """Only a payment that never was is voided; money that went back stays in the books, by hand."""
    if reversed_.reason != "keyed_in_error":
        return _by_hand(connection, tenant, reversed_, kind="return_money")
    known = documents.get(connection, tenant, "payment", reversed_.id)
    shares = (known.data or {}).get("allocations", ())
    company_id, condition = _home(connection, tenant, [("payment", reversed_.id)], "")
    plan = Plan(
        kind="reverse_payment",
        queue="payments_out",
        company_id=company_id,
        company_condition=condition,
        payload={"involves": _listed(("invoice", share["invoice_id"]) for share in shares)},
        supersedes=frozenset({"export_payment", "return_money", "unsupported"}),
    )
    note = {"reason": reversed_.reason, "date": reversed_.date.isoformat()}
    return Effect(Description(state="voided"), [plan], note)


def _credit(kind: str, state: str, supersedes: frozenset[str]) -> Rule:
    """Credit is applied or taken back, each application by itself."""

    def rule(connection: Connection, tenant: str, applied: CreditApplied) -> Effect:
        described = Description(
            state=state,
            currency=applied.currency,
            total=applied.amount,
            document_date=applied.date,
            data=applied.plain(),
        )
        if applied.source_kind not in applications.SOURCES:
            # What is taken back need not be entered any more.
            return _by_hand(connection, tenant, applied, described, supersedes=supersedes - {"apply_credit"})
        if state == "finalized" and repeats.contradicts(connection, tenant, applied, kind):
            return _by_hand(connection, tenant, applied, event="CreditAppliedAgain")
        if state == "voided" and repeats.in_part(connection, tenant, applied):
            return _by_hand(connection, tenant, applied, event="CreditUnappliedInPart")
        involved = applications.involved(applied)
        own: Reference = ("credit_application", applied.application_id)
        company_id, condition = _home(connection, tenant, [own, *involved], "")
        plan = Plan(
            kind=kind,
            queue="payments_out",
            company_id=company_id,
            company_condition=condition,
            payload={"involves": _listed(involved)},
            supersedes=supersedes,
        )
        note = {"amount": applied.amount, "invoice_id": applied.invoice_id, "source_id": applied.source_id}
        return Effect(described, [plan], note)

    return rule


def _client(connection: Connection, tenant: str, updated: ClientUpdated) -> Effect:
    """Recorded. Customers in QuickBooks belong to the bookkeeper, unless the tenant wants them to follow."""
    described = Description(client_id=updated.id, client_name=updated.name, data=updated.plain())
    company_id, condition = _home(connection, tenant, [("client", updated.id)], updated.id)
    wanted = settings.resolve(connection, tenant, company_id=company_id).push_customer_fields
    plan = Plan(
        kind="push_customer",
        queue="export",
        company_id=company_id,
        company_condition=condition,
        supersedes=frozenset({"push_customer"}),
    )
    return Effect(described, [plan] if wanted else [], {"name": updated.name, "pushed": wanted})


def _by_hand(
    connection: Connection,
    tenant: str,
    data: EventData,
    described: Description | None = None,
    kind: str = "unsupported",
    involved: Sequence[Reference] = (),
    supersedes: frozenset[str] = frozenset(),
    event: str = "",
) -> Effect:
    """An operation that fails at once, with the recipe, so that a person does it; some do it if a setting says so."""
    company_id, condition = _home(connection, tenant, [data.key, *_about(data)], "")
    plan = Plan(
        kind=kind,
        queue="payments_out" if kind == "return_money" else "export",
        company_id=company_id,
        company_condition=condition,
        payload={
            "event": event or type(data).__name__,
            "data": data.plain(),
            "about": _listed(_about(data)),
            "involves": _listed(involved),
        },
        supersedes=supersedes,
    )
    return Effect(described or Description(), [plan])


def _written_off(connection: Connection, tenant: str, data: InvoiceWrittenOff) -> Effect:
    return _by_hand(connection, tenant, data, kind="write_off")


def _refunded(connection: Connection, tenant: str, data: PaymentRefunded) -> Effect:
    return _by_hand(connection, tenant, data, kind="return_money", involved=[("payment", data.payment_id)])


def _about(data: EventData) -> list[Reference]:
    """The documents that an event is about beside its own."""
    named = (
        ("payment", "payment_id"),
        ("invoice", "invoice_id"),
        ("credit_note", "source_id"),
        ("invoice", "source_id"),
    )
    found = [(kind, getattr(data, name, None)) for kind, name in named]
    return [(kind, str(id_)) for kind, id_ in found if id_ is not None]


def _home(
    connection: Connection, tenant: str, references: Sequence[Reference], client_id: str
) -> tuple[UUID | None, str]:
    """The company where documents are; for those nobody has seen yet the client's, or the tenant's default."""
    company_id = books.of_documents(connection, tenant, references)
    return (company_id, "") if company_id is not None else books.choose(connection, tenant, None, client_id)


def _listed(references: Any) -> list[list[str]]:
    return [list(reference) for reference in dict.fromkeys(references)]


_RULES: Mapping[type[EventData], Rule] = {
    InvoiceFinalized: _form("export_invoice"),
    InvoiceCorrected: _form("export_invoice"),
    InvoiceTaxRequested: _form("compute_tax", "draft", Lane.URGENT),
    InvoiceDueDateChanged: _due_date,
    InvoiceVoided: _void("void_invoice", "export_invoice"),
    InvoiceWrittenOff: _written_off,
    CreditNoteFinalized: _form("export_credit_memo"),
    CreditNoteVoided: _void("void_credit_memo", "export_credit_memo"),
    CreditApplied: _credit("apply_credit", "finalized", frozenset({"apply_credit"})),
    CreditUnapplied: _credit("unapply_credit", "voided", frozenset({"apply_credit", "unsupported"})),
    PaymentRecorded: _payment,
    PaymentReallocated: _reallocated,
    PaymentReversed: _reversed,
    PaymentRefunded: _refunded,
    ClientUpdated: _client,
}


class Effects:
    """Implements `services.ledger.ports.Planner` for all billing events."""

    def effect(self, connection: Connection, tenant: str, data: EventData) -> Effect:
        """Look up the rule of the event's type; what has none is done by hand."""
        return _RULES.get(type(data), _by_hand)(connection, tenant, data)
