"""`/v1/operations`: what is owed to QuickBooks, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from services.api.paging import Page, PageQuery, cursor_of, moment_of
from services.api.shapes import EntryTold, Told
from services.api.targets import company_of
from services.api.work import Reader
from services.ledger import operations, timeline
from services.ledger.operations import State
from services.refusals import invalid, missing

router = APIRouter(prefix="/v1/operations", tags=["Operations"])


class OperationTold(Told):
    """One operation."""

    operation_id: UUID
    company_id: UUID | None
    kind: str = Field(examples=["export_invoice"])
    document_kind: str
    document_id: str
    revision: int = Field(description="Sequence of the event that asked for it.")
    repair: int = Field(description="Number of the re-export of that revision.")
    event_id: UUID | None
    state: State
    attempt: int = Field(description="A replay is a new attempt.")
    tries: int = Field(description="Calls made in this attempt.")
    due_at: datetime
    outcome: str = Field(description="What is known of its call to QuickBooks.")
    requestid: str | None
    intuit_tid: str | None
    reason_code: str | None
    reason: str | None = Field(description="Why it waits, was skipped, failed or is scheduled.")
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class OperationShown(OperationTold):
    """One operation with the timeline of its document."""

    timeline: list[EntryTold]


class OperationQuery(PageQuery):
    """Which operations to list."""

    state: State | None = None
    kind: str | None = Field(default=None, max_length=100)
    realm_id: str | None = Field(default=None, max_length=100, description="Only of this company.")
    document_kind: str | None = Field(default=None, max_length=100)
    document_id: str | None = Field(default=None, max_length=255, description="Together with document_kind.")


@router.get("", response_model=Page[OperationTold])
def list_operations(query: Annotated[OperationQuery, Query()], work: Reader) -> Page[OperationTold]:
    """List operations, newest first."""
    if (query.document_kind is None) != (query.document_id is None):
        raise invalid("document_id", "document_kind and document_id name a document together; send both")
    document = None
    if query.document_kind is not None and query.document_id is not None:
        document = (query.document_kind, query.document_id)
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id) if query.realm_id is not None else None
        found = operations.page(
            connection,
            work.tenant,
            state=query.state,
            kind=query.kind,
            company_id=company.company_id if company else None,
            document=document,
            after=moment_of(query.cursor),
            limit=query.limit,
        )
    data = [OperationTold.model_validate(one) for one in found.operations]
    return Page(data=data, next_cursor=cursor_of(found.after))


@router.get("/{operation_id}", response_model=OperationShown)
def show_operation(operation_id: UUID, work: Reader) -> OperationShown:
    """Show one operation, and everything that happened to its document."""
    with work.transaction() as connection:
        found = operations.get(connection, operation_id)
        if found is None:
            raise missing(f"there is no operation {operation_id}", code="unknown_operation")
        entries = timeline.read(connection, work.tenant, found.document_kind, found.document_id)
    told = OperationTold.model_validate(found)
    history = [EntryTold.model_validate(entry) for entry in entries]
    return OperationShown(**told.model_dump(), timeline=history)
