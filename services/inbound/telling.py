"""Telling billing of money and credit in QuickBooks: the events, in the transaction that takes the change over."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

import outbox
from messages.accounting import (
    Cause,
    Company,
    CreditAppliedInQuickBooks,
    CreditWithdrawnInQuickBooks,
    Customer,
    DocumentDrifted,
    DocumentSynced,
    Entity,
    LinkedDocument,
    PaymentChanged,
    PaymentReceived,
    PaymentState,
    PaymentWithdrawn,
)
from messages.accounting import Difference as Told
from services.connections import companies
from services.inbound.differences import Difference
from services.inbound.objects import Seen
from services.inbound.owners import Owned
from services.inbound.split import Split, Target
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.psa.credits import Applied
from services.psa.pages import page
from services.psa.payments import Belief

_KINDS = {"CreditMemo": "credit_note", "JournalEntry": "journal_entry"}


@dataclass(frozen=True, slots=True)
class Teller:
    """Who tells, and of what: the company, the object and its version, the operation that judges it."""

    connection: Connection
    company: companies.Company
    operation: Operation
    entity: str
    external_id: str
    seen: Seen

    @property
    def named(self) -> Company:
        """The company as events name it."""
        return Company(
            company_id=self.company.company_id,
            realm_id=self.company.realm_id,
            name=self.company.name or None,
        )

    @property
    def cause(self) -> Cause:
        """The change behind an event, as QuickBooks and as we name it."""
        version = "deleted" if self.seen.deleted else self.seen.token
        return Cause(
            change_id=f"{self.entity}:{self.external_id}:{version}", operation_id=self.operation.operation_id
        )

    def url(self, entity: str, external_id: str) -> str | None:
        """The page of an object in QuickBooks."""
        return page(self.company.environment, entity, external_id)

    def received(self, belief: Belief, customer: Customer) -> None:
        """Money that billing does not know."""
        self._payment(PaymentReceived(**self._named(belief, customer), payment=belief.money))

    def changed(self, belief: Belief, previous: PaymentState, customer: Customer) -> None:
        """The same money, elsewhere or of another amount or date."""
        named = self._named(belief, customer)
        self._payment(PaymentChanged(**named, payment=belief.money, previous=previous))

    def withdrawn(self, belief: Belief, customer: Customer, reason: Literal["voided", "deleted"]) -> None:
        """Money that does not count any more."""
        named = self._named(belief, customer)
        self._payment(PaymentWithdrawn(**named, reason=reason, previous=belief.money))

    def credit(
        self,
        applied: Applied,
        invoice: Owned,
        credit: Owned | None,
        customer: Customer,
        numbers: Mapping[Target, str],
        *,
        automatic: bool,
    ) -> None:
        """Credit that billing did not apply."""
        data = CreditAppliedInQuickBooks(
            company=self.named,
            cause=self.cause,
            application_id=applied.application_id,
            credit=self._source(applied, credit, numbers.get((applied.credit_type, applied.credit_id))),
            invoice=self.linked(invoice, self.invoice_id(applied)),
            quickbooks_payment_id=self.external_id,
            customer=customer,
            amount=applied.amount,
            currency=applied.currency,
            date=applied.date,
            automatic=automatic,
            seen_at=self.seen.seen_at,
        )
        self._emit("credit.applied_in_quickbooks.v1", data.application_id, data)

    def credit_withdrawn(
        self, applied: Applied, credit: Owned | None, reason: Literal["changed", "voided", "deleted"]
    ) -> None:
        """Credit that was told is off the invoice again."""
        data = CreditWithdrawnInQuickBooks(
            company=self.named,
            cause=self.cause,
            application_id=applied.application_id,
            reason=reason,
            credit=self._source(applied, credit, None),
            invoice_id=applied.invoice_id,
            quickbooks_invoice_id=self.invoice_id(applied),
            quickbooks_payment_id=self.external_id,
            amount=applied.amount,
            currency=applied.currency,
            seen_at=self.seen.seen_at,
        )
        self._emit("credit.withdrawn_in_quickbooks.v1", data.application_id, data)

    def drifted(
        self,
        document: LinkedDocument,
        change: Literal["changed", "voided", "deleted"],
        differences: Sequence[Difference],
        **facts: Any,
    ) -> None:
        """Something that billing has like that is otherwise in QuickBooks."""
        data = DocumentDrifted(
            company=self.named,
            cause=self.cause,
            document=document,
            change=change,
            differences=tuple(
                Told(
                    field=one.field, billing_value=one.agreed, quickbooks_value=one.observed, owner=one.owner
                )
                for one in differences
            ),
            detected_at=self.seen.seen_at,
            **facts,
        )
        self._emit("document.drifted.v1", document.billing_id, data)

    def adopted(self, link: Link, revision: int, **facts: Any) -> None:
        """A document of billing turned out to be in QuickBooks already."""
        data = DocumentSynced(
            company=self.named,
            cause=self.cause,
            document=LinkedDocument.model_validate(
                {
                    "kind": link.kind,
                    "billing_id": link.document_id,
                    "quickbooks_type": link.external_type,
                    "quickbooks_id": link.external_id,
                    "quickbooks_number": link.number,
                    "url": self.url(link.external_type, link.external_id),
                }
            ),
            action="linked",
            revision=max(revision, 1),
            synced_at=datetime.datetime.now(datetime.UTC),
            **facts,
        )
        self._emit("document.synced.v1", link.document_id, data)

    def linked(self, owned: Owned, external_id: str) -> LinkedDocument:
        """A document that both sides have."""
        entity = "Invoice" if owned.kind == "invoice" else "CreditMemo"
        return LinkedDocument.model_validate(
            {
                "kind": owned.kind,
                "billing_id": owned.document_id,
                "billing_number": owned.number,
                "quickbooks_type": entity,
                "quickbooks_id": external_id,
                "quickbooks_number": owned.external_number,
                "url": self.url(entity, external_id),
            }
        )

    @staticmethod
    def invoice_id(applied: Applied) -> str:
        """QuickBooks' id of the invoice that a credit settles: the last part of our name of the application."""
        return applied.application_id.rsplit("/", 1)[-1]

    def _source(self, applied: Applied, credit: Owned | None, number: str | None) -> Entity:
        """What a credit comes from, as billing and as QuickBooks know it."""
        return Entity(
            kind=credit.kind if credit else _KINDS.get(applied.credit_type, applied.credit_type.lower()),
            billing_id=credit.document_id if credit else None,
            billing_number=credit.number if credit else None,
            quickbooks_type=applied.credit_type,
            quickbooks_id=applied.credit_id,
            quickbooks_number=credit.external_number if credit else number,
            url=self.url(applied.credit_type, applied.credit_id),
        )

    def _named(self, belief: Belief, customer: Customer) -> dict[str, Any]:
        rate = belief.facts.get("exchange_rate")
        return {
            "company": self.named,
            "cause": self.cause,
            "payment_id": belief.payment_id,
            "billing_payment_id": belief.billing_payment_id,
            "quickbooks_id": belief.external_id,
            "url": self.url("Payment", belief.external_id),
            "customer": customer,
            "reference": belief.facts.get("reference"),
            "method": belief.facts.get("method"),
            "currency": belief.currency,
            "exchange_rate": rate,
            "seen_at": self.seen.seen_at,
        }

    def _payment(self, data: PaymentReceived | PaymentChanged | PaymentWithdrawn) -> None:
        names = {
            PaymentReceived: "payment.received.v1",
            PaymentChanged: "payment.changed.v1",
            PaymentWithdrawn: "payment.withdrawn.v1",
        }
        self._emit(names[type(data)], data.payment_id, data)

    def _emit(self, type_: str, subject: str, data: Any) -> None:
        outbox.emit(self.connection, self.company.tenant_id, type_, subject, data)


def money(split: Split, owned: Mapping[Target, Owned]) -> PaymentState:
    """A payment's cash as events say it: on documents of billing, outside of them, and unapplied."""
    return PaymentState.model_validate(
        {
            "date": split.date,
            "amount": split.amount,
            "allocations": [
                {
                    "invoice_id": owned[target].document_id,
                    "invoice_number": owned[target].number,
                    "quickbooks_invoice_id": target[1],
                    "quickbooks_invoice_number": owned[target].external_number or split.numbers.get(target),
                    "amount": amount,
                }
                for target, amount in split.cash.items()
                if target in owned
            ],
            "outside": [
                {
                    "quickbooks_type": target[0],
                    "quickbooks_id": target[1],
                    "quickbooks_number": split.numbers.get(target),
                    "amount": amount,
                }
                for target, amount in split.cash.items()
                if target not in owned
            ],
            "unapplied": split.unapplied,
        }
    )


def same(one: PaymentState, other: PaymentState) -> bool:
    """Whether two states are the same money at the same places; how documents are numbered does not matter."""
    return _essence(one) == _essence(other)


def _essence(state: PaymentState) -> tuple[object, ...]:
    return (
        state.date,
        state.amount,
        state.unapplied,
        sorted((share.invoice_id, share.amount) for share in state.allocations),
        sorted((share.quickbooks_type, share.quickbooks_id, share.amount) for share in state.outside),
    )
