"""The bookkeeper's routes on the control port: `/companies/{realm}/bookkeeper/...`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from services.sandbox import bookkeeper
from services.sandbox.amounts import decode, encode
from services.sandbox.store import Company


class Strict(BaseModel):
    """A body whose unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Entry(Strict):
    """A new object."""

    entity: str
    body: dict[str, Any]


class Entries(Strict):
    """Many new objects, entered one after the other until one is refused."""

    entries: list[Entry]


class Edit(Strict):
    """Changed fields of an object."""

    entity: str
    id: str
    changes: dict[str, Any]


class Chosen(Strict):
    """An object to void or delete."""

    entity: str
    id: str


class Receipt(Strict):
    """Money received; `invoices` and `credits` map transaction ids to amounts."""

    customer: str
    amount: Decimal
    invoices: dict[str, Decimal] = Field(default_factory=dict)
    credits: dict[str, Decimal] = Field(default_factory=dict)
    date: str = ""
    reference: str = Field(default="", max_length=21)
    note: str = ""
    method: str = ""
    deposit_to: str = ""


class Application(Strict):
    """A credit memo to tie to an invoice."""

    memo: str
    invoice: str
    amount: Decimal


class NewDeposit(Strict):
    """Payments to bring to the bank."""

    payments: list[str]
    account: str = "5"


class Merger(Strict):
    """Two customers to merge."""

    loser: str
    survivor: str


class Closing(Strict):
    """Last day of the closed period; null opens the books."""

    through: str | None


def reply(value: Any, status: int = 200) -> Response:
    """JSON with decimals as plain numbers."""
    return Response(encode(value), status, media_type="application/json")


def create_desk(company_of: Callable[[str], Company]) -> APIRouter:
    """The routes; a `Refusal` of the books is left to the application's handler."""
    router = APIRouter(prefix="/companies/{realm}/bookkeeper")

    @router.post("/create")
    async def create(realm: str, body: Entry) -> Response:
        return reply(bookkeeper.create(company_of(realm), body.entity, decode(encode(body.body))), 201)

    @router.post("/create-many")
    async def create_many(realm: str, body: Entries) -> Response:
        company = company_of(realm)
        rows = (bookkeeper.create(company, row.entity, decode(encode(row.body))) for row in body.entries)
        return reply([row["Id"] for row in rows], 201)

    @router.post("/edit")
    async def edit(realm: str, body: Edit) -> Response:
        return reply(bookkeeper.edit(company_of(realm), body.entity, body.id, decode(encode(body.changes))))

    @router.post("/void")
    async def void(realm: str, body: Chosen) -> Response:
        return reply(bookkeeper.void(company_of(realm), body.entity, body.id))

    @router.post("/delete")
    async def delete(realm: str, body: Chosen) -> Response:
        return reply(bookkeeper.delete(company_of(realm), body.entity, body.id))

    @router.post("/receive-payment")
    async def receive_payment(realm: str, body: Receipt) -> Response:
        fields: dict[str, Any] = {}
        if body.date:
            fields["TxnDate"] = body.date
        if body.reference:
            fields["PaymentRefNum"] = body.reference
        if body.note:
            fields["PrivateNote"] = body.note
        if body.method:
            fields["PaymentMethodRef"] = {"value": body.method}
        if body.deposit_to:
            fields["DepositToAccountRef"] = {"value": body.deposit_to}
        company = company_of(realm)
        payment = bookkeeper.receive_payment(
            company, body.customer, body.amount, body.invoices, body.credits, **fields
        )
        return reply(payment, 201)

    @router.post("/apply-credit")
    async def apply_credit(realm: str, body: Application) -> Response:
        return reply(bookkeeper.apply_credit(company_of(realm), body.memo, body.invoice, body.amount), 201)

    @router.post("/make-deposit")
    async def make_deposit(realm: str, body: NewDeposit) -> Response:
        return reply(bookkeeper.make_deposit(company_of(realm), body.payments, body.account), 201)

    @router.post("/undo-deposit")
    async def undo_deposit(realm: str, body: Chosen) -> Response:
        bookkeeper.undo_deposit(company_of(realm), body.id)
        return reply({})

    @router.post("/merge-customers")
    async def merge_customers(realm: str, body: Merger) -> Response:
        return reply(bookkeeper.merge_customers(company_of(realm), body.loser, body.survivor))

    @router.post("/close-books")
    async def close_books(realm: str, body: Closing) -> Response:
        return reply(bookkeeper.close_books(company_of(realm), body.through))

    return router
