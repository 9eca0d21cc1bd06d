"""`/v1/exceptions`: what needs a person, and where to go with it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api import work as works
from services.api.paging import PageQuery, cursor_of, moment_of, number_of
from services.api.shapes import Csv, EntryTold, Told
from services.api.targets import company_of
from services.api.work import Reader, Work
from services.exceptions import causes, exceptions, export, types
from services.exceptions.exceptions import Filters, Sort

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


class SideTold(Told):
    """One field of the document in both books."""

    field: str
    billing: str | None
    quickbooks: str | None
    differs: bool | None = Field(description="Null when one of the two is not known.")
    owner: str = Field(description="Whose value counts: billing or quickbooks.")


class LinkTold(Told):
    """Where to go."""

    rel: Literal["document", "place", "help", "psa"] = Field(
        description="The document itself, where to fix it, what it means, or a page of the PSA (relative to it)."
    )
    label: str
    url: str


class ExceptionShown(ExceptionTold):
    """One exception, both versions of what it is about, where to go, and what was done about it."""

    versions: list[SideTold]
    links: list[LinkTold]
    history: list[EntryTold]


class Chosen(PageQuery):
    """Which exceptions."""

    state: list[State] = Field(default=["open", "in_progress"])
    type: str | None = Field(default=None, max_length=100, examples=["accounting_sync_drift"])
    code: str | None = Field(default=None, max_length=100)
    cause: str | None = Field(default=None, max_length=500)
    realm_id: str | None = Field(default=None, max_length=100, description="Only of this company.")
    client_id: str | None = Field(default=None, max_length=200)
    direction: Literal["outbound", "inbound", "connection", "fleet"] | None = None
    assignee: str | None = Field(default=None, max_length=200)
    amount_from: int | None = Field(
        default=None, ge=0, le=2**53, description="Minor units; a credit note counts as what is on it."
    )
    amount_to: int | None = Field(default=None, ge=0, le=2**53)
    opened_after: AwareDatetime | None = Field(default=None, description="With offset or Z.")
    opened_before: AwareDatetime | None = None
    search: str | None = Field(
        default=None, min_length=1, max_length=200, description="In words, numbers and clients' names."
    )
    sort: Sort = Field(
        default="newest", description="Newest or oldest first, last seen first, largest amount first."
    )


class TypeTold(Told):
    """One type of exceptions."""

    name: str
    about: str
    meaning: str
    settled_by: str = Field(description="What closes it without anybody closing it.")


class TypesTold(BaseModel):
    """All types."""

    data: list[TypeTold]


class CauseTold(Told):
    """What one fix repairs."""

    cause: str
    code: str
    fix: str
    exceptions: int
    releasable: int = Field(description="How many would start again after the fix.")
    oldest: datetime
    newest: datetime


class CausesTold(BaseModel):
    """Root causes, the widest first."""

    data: list[CauseTold]


@router.get("", response_model=ExceptionPage)
def list_exceptions(query: Annotated[Chosen, Query()], work: Reader) -> ExceptionPage:
    """List exceptions; those that need somebody unless states are named."""
    after = number_of(query.cursor) if query.sort == "amount" else moment_of(query.cursor)
    with work.transaction() as connection:
        filters = _filters(work, connection, query)
        found = exceptions.page(connection, filters, sort=query.sort, after=after, limit=query.limit)
    return ExceptionPage(
        data=[ExceptionTold.model_validate(one) for one in found.exceptions],
        counts=found.counts,
        next_cursor=cursor_of(found.after),
    )


@router.get("/export", response_class=Csv)
def export_exceptions(query: Annotated[Chosen, Query()], work: Reader) -> Csv:
    """All that the filters match as CSV, at most 50,000 rows; `limit` and `cursor` do not matter."""
    with work.transaction() as connection:
        written = export.csv(connection, _filters(work, connection, query), query.sort)
    headers = {"Content-Disposition": 'attachment; filename="exceptions.csv"'}
    return Csv(written, headers=headers)


@router.get("/types", response_model=TypesTold)
def list_types(work: Reader) -> TypesTold:
    """List the types of exceptions and what each means."""
    return TypesTold(data=[TypeTold.model_validate(one) for one in types.TYPES])


@router.get("/causes", response_model=CausesTold)
def list_causes(work: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> CausesTold:
    """List root causes, the widest first: one fix each."""
    with work.transaction() as connection:
        found = causes.page(connection, work.tenant, limit=limit)
    return CausesTold(data=[CauseTold.model_validate(one) for one in found])


@router.get("/{exception_id}", response_model=ExceptionShown)
def show_exception(exception_id: UUID, request: Request, work: Reader) -> Response:
    """Show one exception with both versions, links and history."""
    with work.transaction() as connection:
        return works.shown(request, told(connection, exception_id))


def told(connection: Connection, exception_id: UUID) -> ExceptionShown:
    """Everything about one exception. Raises `Refusal`."""
    found = exceptions.show(connection, exception_id)
    return ExceptionShown(
        **ExceptionTold.model_validate(found.exception).model_dump(),
        versions=[SideTold.model_validate(one) for one in found.versions],
        links=[LinkTold.model_validate(one) for one in found.links],
        history=[EntryTold.model_validate(entry) for entry in found.history],
    )


def _filters(work: Work, connection: Connection, query: Chosen) -> Filters:
    company = company_of(work, connection, query.realm_id) if query.realm_id is not None else None
    return Filters(
        tenant=work.tenant,
        states=query.state,
        type=query.type,
        code=query.code,
        cause=query.cause,
        company_id=company.company_id if company else None,
        client_id=query.client_id,
        direction=query.direction,
        assignee=query.assignee,
        amount_from=query.amount_from,
        amount_to=query.amount_to,
        since=query.opened_after,
        before=query.opened_before,
        search=query.search,
    )
