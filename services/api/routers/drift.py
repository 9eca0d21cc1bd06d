"""`/v1/drift`: documents that were changed, voided or deleted in QuickBooks, and what is done about each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import simplejson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.paging import Page, PageQuery, behind_of, cursor_of
from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, entitled
from services.inbound import drift, resolutions
from services.inbound.drift import Drift
from services.inbound.resolutions import Resolution
from services.refusals import missing

router = APIRouter(prefix="/v1/drift", tags=["Drift"], dependencies=[Depends(entitled)])


class DifferenceTold(Told):
    """One field that differs."""

    field: str
    agreed: str | None = Field(description="What both books had.")
    observed: str | None = Field(description="What QuickBooks has now.")
    owner: str = Field(description="Whose value counts: billing or quickbooks.")


class DriftTold(Told):
    """A document that differs, or did."""

    company_id: UUID
    kind: str = Field(description="invoice, credit_note or credit_application.")
    document_id: str = Field(description="Billing's id.")
    change: str = Field(description="changed, voided or deleted.")
    state: str = Field(description="open or closed.")
    differences: list[DifferenceTold]
    exception_id: UUID | None
    detected_at: datetime
    resolution: str | None = Field(description="How it was closed.")


class VersionsTold(DriftTold):
    """A document that differs, with both versions as QuickBooks writes them."""

    agreed: dict[str, Any]
    observed: dict[str, Any] | None = Field(description="Null when it was deleted.")


class DriftQuery(PageQuery):
    """Which to list."""

    state: list[Literal["open", "closed"]] = Field(default=["open"])
    realm_id: str | None = Field(default=None, max_length=100)


class DocumentQuery(BaseModel):
    """Which document."""

    kind: str = Field(max_length=100)
    document_id: str = Field(max_length=200)
    realm_id: str | None = Field(default=None, max_length=100, description="Default: the default company.")


class ResolutionGiven(Given):
    """What is to be done about a difference, and why."""

    kind: str = Field(max_length=100, examples=["invoice"])
    document_id: str = Field(max_length=200, examples=["inv-7"])
    realm_id: str | None = Field(default=None, max_length=100, description="Default: the default company.")
    resolution: Resolution
    reason: str = Field(min_length=1, max_length=1000, examples=["edited by mistake"])


class Resolved(BaseModel):
    """What was done: settled at once, or by an operation."""

    resolution: Resolution
    operation_id: UUID | None = Field(description="The operation that exports it, if one is needed.")


@router.get("", response_model=Page[DriftTold])
def list_drift(query: Annotated[DriftQuery, Query()], work: Reader) -> Page[DriftTold]:
    """List documents that differ, by kind and id."""
    behind = behind_of(query.cursor, 2)
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id) if query.realm_id is not None else None
        found = drift.page(
            connection,
            work.tenant,
            states=query.state,
            company_id=company.company_id if company else None,
            after=(behind[1][0], behind[1][1], behind[0]) if behind else drift.START,
            limit=query.limit,
        )
    last = found[-1] if len(found) == query.limit else None
    return Page(
        data=[DriftTold.model_validate(one) for one in found],
        next_cursor=cursor_of((last.company_id, last.kind, last.document_id)) if last else None,
    )


@router.get("/versions", response_model=VersionsTold)
def show_versions(query: Annotated[DocumentQuery, Query()], work: Reader) -> VersionsTold:
    """Show both versions of a document that differs, or did."""
    with work.transaction() as connection:
        company = company_of(work, connection, query.realm_id)
        found = drift.get(connection, company.company_id, query.kind, query.document_id)
    if found is None:
        raise missing(f"{query.kind} {query.document_id} was never seen to differ in this QuickBooks company")
    return _versions(found)


@router.post("/resolutions", response_model=Resolved)
def resolve(given: ResolutionGiven, work: Manager) -> Response:
    """Settle a difference. Refused, with the reason, where it does not fit what QuickBooks has now."""

    def act(connection: Connection) -> Resolved:
        company = company_of(work, connection, given.realm_id)
        operation_id = resolutions.resolve(
            connection,
            company.company_id,
            given.kind,
            given.document_id,
            given.resolution,
            actor=work.caller.actor,
            reason=given.reason,
        )
        return Resolved(resolution=given.resolution, operation_id=operation_id)

    return work.once(act)


def _versions(found: Drift) -> VersionsTold:
    told = DriftTold.model_validate(found)
    agreed, observed = (simplejson.loads(simplejson.dumps(one)) for one in (found.agreed, found.observed))
    return VersionsTold(**told.model_dump(), agreed=agreed, observed=observed)
