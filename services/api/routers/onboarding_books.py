"""`/v1/onboarding`: the wizard's steps about what is in the books already, and what is sold."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from services.api import lists, wizard
from services.api.shapes import Given, Told
from services.api.wizard import Linked, MatchQuery
from services.api.work import Manager, Reader, entitled
from services.connections import catalog
from services.onboarding import history, history_matches, items, payments, reading, runs

router = APIRouter(prefix="/v1/onboarding/runs/{run_id}", tags=["Wizard"], dependencies=[Depends(entitled)])


class DocumentTold(Told):
    """A document of the PSA."""

    kind: str
    id: str
    number: str
    date: date
    total: int = Field(description="Minor units.")
    currency: str
    client_id: str
    state: str


class FoundTold(Told):
    """A document in QuickBooks that may be the same, and what speaks against it."""

    entity: str
    id: str
    number: str
    day: date
    total: Decimal
    customer: str
    reasons: list[str]


class DocumentMatch(Told):
    """What is known of one document."""

    document: DocumentTold
    status: Literal["linked", "confident", "review", "none"]
    why: str
    found: list[FoundTold]


class DocumentMatches(BaseModel):
    """One page of documents, and how many there are of each status and reason in all."""

    counts: dict[str, int]
    data: list[DocumentMatch]
    next_cursor: str | None


class LinkGiven(Given):
    """Which document is which."""

    kind: Literal["invoice", "credit_note"]
    document_id: str
    external_id: str


class ItemTold(Told):
    """An item as the PSA would keep it."""

    name: str
    full_name: str
    kind: str = Field(description="service or product; empty for what no line can name.")
    sku: str
    description: str
    rate: int | None = Field(description="Minor units of currency.")
    cost: int | None = Field(description="Minor units of currency.")
    currency: str
    active: bool


class ItemMatch(Told):
    """One item, what becomes of it, and why."""

    item_id: str
    item: ItemTold
    action: Literal["linked", "link", "create", "skip"]
    why: str
    service_id: str
    flags: list[str]


class ItemMatches(BaseModel):
    """One page of items, and how many meet which end in all."""

    counts: dict[str, int]
    data: list[ItemMatch]
    next_cursor: str | None


class PaymentMatch(Told):
    """One payment of history, and what becomes of it."""

    id: str
    day: str
    amount: str = Field(description="As QuickBooks writes it.")
    customer: str
    invoices: list[str] = Field(description="Your ids of the linked invoices it pays.")
    verdict: Literal["bring", "there", "paid", "review", "not_ours"]
    why: str


class PaymentMatches(BaseModel):
    """One page of payments, and how many meet which end in all."""

    counts: dict[str, int]
    pending: bool = Field(description="They are being brought over just now.")
    data: list[PaymentMatch]
    next_cursor: str | None


class PaymentsGiven(Given):
    """How long to read."""

    seconds: float = Field(default=10, gt=0, le=60, description="Then answer; ask again until done.")


class PaymentsRead(BaseModel):
    """Whether all are read."""

    done: bool


class PaymentsAsked(BaseModel):
    """They will be brought over within seconds."""

    asked: bool = Field(description="False when that was asked for before.")


class ServiceGiven(Given):
    """Which service is which item."""

    service_id: str = Field(min_length=1, max_length=255)
    item_id: str


@router.get("/history", response_model=DocumentMatches)
def list_history(run_id: UUID, query: Annotated[MatchQuery, Query()], work: Reader) -> DocumentMatches:
    """Which invoice and credit note is which in QuickBooks: of every state, by number, total, customer and date."""
    found = history.match(work.context.database, wizard.opened(work, run_id))
    shown, cursor = wizard.page(
        found, query, lambda one: (one.document.kind, one.document.id), lambda one: one.status
    )
    return DocumentMatches(
        counts=history_matches.count(found),
        data=[DocumentMatch.model_validate(one) for one in shown],
        next_cursor=cursor,
    )


@router.post("/history/link-confident", response_model=Linked)
def link_confident(run_id: UUID, work: Manager) -> Response:
    """Link every confident match; nothing of them is exported, now or later."""
    run = wizard.opened(work, run_id)
    linked = history.link_confident(work.context.database, run, actor=work.caller.actor)
    return JSONResponse(Linked(linked=linked).model_dump())


@router.post("/history/link", response_model=Linked)
def link_document(run_id: UUID, given: LinkGiven, work: Manager) -> Response:
    """Link one document after a look."""

    def act(connection: Connection) -> Linked:
        run = runs.opened(connection, run_id)
        history.link(
            connection, run, given.kind, given.document_id, given.external_id, actor=work.caller.actor
        )
        return Linked(linked=1)

    return work.once(act)


@router.get("/items", response_model=ItemMatches)
def list_items(run_id: UUID, query: Annotated[MatchQuery, Query()], work: Reader) -> ItemMatches:
    """Which item is which service, and which the PSA would have to create: `status` is the action."""
    run = wizard.opened(work, run_id)
    with lists.clients(work) as clients:
        catalog.read(work.context.database, clients, work.tenant, run.company_id, ["Item"])
    with work.transaction() as connection:
        found = items.plan(connection, run)
    shown, cursor = wizard.page(found, query, lambda one: [one.item_id], lambda one: one.action)
    return ItemMatches(
        counts=items.count(found),
        data=[ItemMatch.model_validate(one) for one in shown],
        next_cursor=cursor,
    )


@router.post("/items/link-found", response_model=Linked)
def link_found(run_id: UUID, work: Manager) -> Response:
    """Link every item that has exactly one counterpart."""
    run = wizard.opened(work, run_id)
    hook = wizard.hook(work)
    linked = items.link_found(work.context.database, run, actor=work.caller.actor, on_mapping_set=hook)
    return JSONResponse(Linked(linked=linked).model_dump())


@router.post("/items/link", response_model=Linked)
def link_item(run_id: UUID, given: ServiceGiven, work: Manager) -> Response:
    """Link one service to the item that a person chose."""

    def act(connection: Connection) -> Linked:
        run = runs.opened(connection, run_id)
        hook = wizard.hook(work)
        items.link(
            connection, run, given.service_id, given.item_id, actor=work.caller.actor, on_mapping_set=hook
        )
        return Linked(linked=1)

    return work.once(act)


@router.post("/items/imported", response_model=Linked)
def imported(run_id: UUID, given: ServiceGiven, work: Manager) -> Response:
    """The PSA has created a service for an item: remember that they are the same."""

    def act(connection: Connection) -> Linked:
        run = runs.opened(connection, run_id)
        hook = wizard.hook(work)
        items.imported(
            connection, run, given.item_id, given.service_id, actor=work.caller.actor, on_mapping_set=hook
        )
        return Linked(linked=1)

    return work.once(act)


@router.post("/payments/read", response_model=PaymentsRead)
def read_payments(run_id: UUID, given: PaymentsGiven, work: Manager) -> Response:
    """Read the company's payments, and answer after some seconds; ask again until it is done."""
    run = wizard.opened(work, run_id)
    with lists.clients(work) as clients:
        done = reading.read(work.context.database, clients, run, ["Payment"], seconds=given.seconds)
    return JSONResponse(PaymentsRead(done=done).model_dump())


@router.get("/payments", response_model=PaymentMatches)
def list_payments(run_id: UUID, query: Annotated[MatchQuery, Query()], work: Reader) -> PaymentMatches:
    """Which payments of history would be brought over, and which not, with the reason; `status` is the verdict."""
    run = wizard.opened(work, run_id)
    with work.transaction() as connection:
        found = payments.plan(connection, run)
        pending = payments.pending(connection, run_id)
    shown, cursor = wizard.page(found, query, lambda one: [one.id], lambda one: one.verdict)
    return PaymentMatches(
        counts=payments.count(found),
        pending=pending,
        data=[PaymentMatch.model_validate(one) for one in shown],
        next_cursor=cursor,
    )


@router.post("/payments/bring-over", response_model=PaymentsAsked)
def bring_payments(run_id: UUID, work: Manager) -> Response:
    """Bring them over through the ordinary applier; link the history first. The fleet does it within seconds."""

    def act(connection: Connection) -> PaymentsAsked:
        run = runs.opened(connection, run_id)
        return PaymentsAsked(asked=payments.ask(connection, run, actor=work.caller.actor))

    return work.once(act)
