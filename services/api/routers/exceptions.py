"""`/v1/exceptions`: what needs a person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.api.paging import PageQuery, cursor_of, moment_of
from services.api.shapes import EntryTold, Told
from services.api.targets import company_of
from services.api.work import Reader
from services.exceptions import exceptions

State = Literal["open", "in_progress", "ignored", "resolved"]

router = APIRouter(prefix="/v1/exceptions", tags=["Exceptions"])


class ExceptionTold(Told):
    """One exception: what happened, why, and how to fix it."""

    exception_id: UUID
    type: str = Field(examples=["accounting_sync_export_error"])
    code: str = Field(examples=["missing_item_mapping"])
    cause: str = Field(description="One fix for all that share it.")
    state: State
    title: str
    happened: str
    why: str
    fix: str
    details: dict[str, Any]
    entity_kind: str
    entity_id: str
    number: str | None = Field(description="The document's own number.")
    client_id: str | None
    client_name: str | None
    company_id: UUID | None
    company_name: str | None
    direction: str
    amount: int | None = Field(description="Minor units of `currency`.")
    currency: str | None
    operation_id: UUID | None
    operation_state: str | None
    occurrences: int
    assignee: str | None
    resolution: str | None
    created_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None


class ExceptionPage(BaseModel):
    """One page of the list, with counts of everything the other filters match."""

    data: list[ExceptionTold]
    counts: dict[str, int] = Field(description="By state, whatever states the list was asked for.")
    next_cursor: str | None


class ExceptionShown(ExceptionTold):
    """One exception, and what was done about it."""

    history: list[EntryTold]


class ExceptionQuery(PageQuery):
    """Which exceptions to list."""

    state: list[State] = Field(default=["open", "in_progress"])
    type: str | None = Field(default=None, max_length=100)
    cause: str | None = Field(default=None, max_length=500)
    realm_id: str | None = Field(default=None, max_length=100)
    client_id: str | None = Field(default=None, max_length=200)
    direction: Literal["outbound", "inbound", "connection", "fleet"] | None = None


@router.get("", response_model=ExceptionPage)
def list_exceptions(query: Annotated[ExceptionQuery, Query()], work: Reader) -> ExceptionPage:
    """List exceptions, newest first; those that need somebody unless states are named."""
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id) if query.realm_id is not None else None
        filters = exceptions.Filters(
            tenant=work.tenant,
            states=query.state,
            type=query.type,
            cause=query.cause,
            company_id=company.company_id if company else None,
            client_id=query.client_id,
            direction=query.direction,
        )
        found = exceptions.page(connection, filters, after=moment_of(query.cursor), limit=query.limit)
    return ExceptionPage(
        data=[ExceptionTold.model_validate(one) for one in found.exceptions],
        counts=found.counts,
        next_cursor=cursor_of(found.after),
    )


@router.get("/{exception_id}", response_model=ExceptionShown)
def show_exception(exception_id: UUID, work: Reader) -> ExceptionShown:
    """Show one exception with its history."""
    with work.transaction() as connection:
        found = exceptions.show(connection, exception_id)
    told = ExceptionTold.model_validate(found.exception)
    history = [EntryTold.model_validate(entry) for entry in found.history]
    return ExceptionShown(**told.model_dump(), history=history)
