"""`/v1/quickbooks/companies/{realm}/...`: what was read of a company's books, and what billing believes of them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from messages.accounting import PaymentState
from services.api.paging import Page, PageQuery, behind_of, cursor_of, position_of
from services.api.shapes import Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, entitled
from services.inbound import cycles, schedule
from services.psa import balances, payments

COMPANY = "/quickbooks/companies/{realm}"
MOST_BALANCES = 100

router = APIRouter(prefix="/v1", tags=["Books"], dependencies=[Depends(entitled)])


class SyncAsked(BaseModel):
    """The company is read within seconds; its newest cycle says what was seen."""

    company_id: UUID
    asked_at: datetime.datetime
    last_cycle: int = Field(description="Number of the newest cycle so far; 0 before the first.")


class CertificateTold(Told):
    """One reading of what changed, with the proof that everything in its window was seen, or why not."""

    number: int
    cause: str = Field(description="schedule, webhook or request.")
    state: str = Field(description="running, complete or incomplete.")
    reason: str | None = Field(description="Why it is incomplete.")
    cursor_before: datetime.datetime
    asked_from: datetime.datetime = Field(description="Begin of the window: the cursor less an overlap.")
    cursor_after: datetime.datetime | None = Field(description="End of the window, by Intuit's clock.")
    answered: dict[str, int] = Field(description="Objects in all answers, by entity.")
    outcomes: dict[str, int] = Field(description="What they were: new, seen, echo, unlinked, unmapped.")
    resolution: list[str] = Field(description="How answers that may have been cut were made whole.")
    reads: int = Field(description="Metered reads it cost.")
    operation_id: UUID
    started_at: datetime.datetime
    finished_at: datetime.datetime | None


class PaymentTold(Told):
    """A payment in QuickBooks, as billing believes it to be."""

    external_id: str = Field(description="QuickBooks' id.")
    payment_id: str = Field(description="Our name of it in events.")
    billing_payment_id: str | None = Field(description="Billing's id, when it came from there.")
    state: str = Field(description="told, withdrawn, held or ignored.")
    code: str | None = Field(description="Why it is held or ignored.")
    customer_id: str = Field(description="QuickBooks' id.")
    client_id: str | None
    currency: str
    money: PaymentState
    facts: dict[str, Any] = Field(description="Reference, method, customer's name, rate.")
    updated_at: datetime.datetime | None


class PaymentCounts(BaseModel):
    """How many payments of a company there are, by state and reason ("" for none)."""

    counts: dict[str, dict[str, int]]


class PartTold(Told):
    """Something that settles an invoice."""

    source: str = Field(description="payment, credit_application, quickbooks_payment or quickbooks_credit.")
    source_id: str = Field(description="Billing's id, or QuickBooks' with its company.")
    company_id: UUID | None
    amount: int


class BalanceTold(Told):
    """What is open on an invoice as billing should see it, in minor units."""

    invoice_id: str
    number: str | None
    state: str
    currency: str | None
    total: int | None = Field(description="Null while billing has not described it.")
    settled: int
    due: int | None = Field(description="Below 0 when more was put on the invoice than it is worth.")
    parts: list[PartTold]


class Balances(BaseModel):
    """Balances of the invoices that are known, in the order in which they were asked for."""

    data: list[BalanceTold]


class PaymentQuery(PageQuery):
    """Which payments to list."""

    state: list[Literal["told", "withdrawn", "held", "ignored"]] = Field(
        default=["told", "withdrawn", "held"]
    )
    customer_id: str | None = Field(default=None, max_length=50, description="QuickBooks' id.")


@router.post(COMPANY + "/sync", status_code=202, response_model=SyncAsked)
def sync(realm: str, work: Manager) -> Response:
    """Read now what changed in QuickBooks; works with automatic sync switched off too."""

    def act(connection: Connection) -> SyncAsked:
        company_id = company_of(work, connection, realm).company_id
        newest = cycles.page(connection, company_id, limit=1)
        asked_at = schedule.ask(connection, company_id, work.caller.actor)
        last = newest[0].number if newest else 0
        return SyncAsked(company_id=company_id, asked_at=asked_at, last_cycle=last)

    return work.once(act, 202)


@router.get(COMPANY + "/cycles", response_model=Page[CertificateTold])
def list_cycles(realm: str, query: Annotated[PageQuery, Query()], work: Reader) -> Page[CertificateTold]:
    """List sync cycles with their certificates of completeness, newest first."""
    before = position_of(query.cursor) or None
    with work.transaction() as connection:
        company_id = company_of(work, connection, realm).company_id
        found = cycles.page(connection, company_id, before=before, limit=query.limit)
    return Page(
        data=[CertificateTold.model_validate(one) for one in found],
        next_cursor=cursor_of((found[-1].number,)) if len(found) == query.limit else None,
    )


@router.get(COMPANY + "/payments", response_model=Page[PaymentTold])
def list_payments(realm: str, query: Annotated[PaymentQuery, Query()], work: Reader) -> Page[PaymentTold]:
    """List payments seen in QuickBooks, by QuickBooks' id; those that are not billing's business when asked for."""
    behind = behind_of(query.cursor, 1)
    with work.transaction() as connection:
        company_id = company_of(work, connection, realm).company_id
        found = payments.page(
            connection,
            work.tenant,
            states=tuple(query.state),
            company_id=company_id,
            customer_id=query.customer_id,
            after=(behind[0], behind[1][0]) if behind else payments.START,
            limit=query.limit,
        )
    last = found[-1] if len(found) == query.limit else None
    return Page(
        data=[PaymentTold.model_validate(one) for one in found],
        next_cursor=cursor_of((last.company_id, last.external_id)) if last else None,
    )


@router.get(COMPANY + "/payments/counts", response_model=PaymentCounts)
def count_payments(realm: str, work: Reader) -> PaymentCounts:
    """Count payments seen in QuickBooks by what became of them; nothing is passed over in silence."""
    with work.transaction() as connection:
        company_id = company_of(work, connection, realm).company_id
        return PaymentCounts(counts=payments.counts(connection, work.tenant, company_id))


@router.get("/balances", response_model=Balances)
def show_balances(
    invoice_id: Annotated[
        list[str], Query(min_length=1, max_length=MOST_BALANCES, description="Billing's ids.")
    ],
    work: Reader,
) -> Balances:
    """Show what is open on invoices, and everything that settled them; unknown ones are left out."""
    with work.transaction() as connection:
        found = balances.of(connection, work.tenant, invoice_id)
    return Balances(
        data=[BalanceTold.model_validate(found[one]) for one in dict.fromkeys(invoice_id) if one in found]
    )
