"""`/v1/mappings`: what of ours is what in QuickBooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.paging import Page, PageQuery, cursor_of, texts_of
from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, entitled
from services.exceptions import causes
from services.mapping import mappings
from services.mapping.mappings import Kind, Mapping
from services.refusals import missing

router = APIRouter(prefix="/v1/mappings", tags=["Mappings"], dependencies=[Depends(entitled)])


class Place(Given):
    """Which mapping is meant."""

    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")
    kind: Kind
    key: str = Field(default="", description="Your own id; empty for discount_item.", examples=["svc-backup"])
    variant: str = Field(default="", description="Currency of a customer, treatment of a tax code.")


class MappingGiven(Place):
    """What it is in QuickBooks."""

    external_id: str = Field(description="The id in QuickBooks.", examples=["17"])
    external_name: str = Field(default="", description="Its name there, for people.", examples=["Backup"])
    details: dict[str, Any] = Field(default={}, description="What belongs to it, such as an item's class.")


class MappingTold(Told):
    """One mapping."""

    company_id: UUID
    kind: str
    key: str
    variant: str
    external_id: str
    external_name: str
    details: dict[str, Any]
    updated_at: datetime
    updated_by: str


class MappingSet(BaseModel):
    """The mapping as it is now, and the operations that failed for its lack and start again."""

    mapping: MappingTold
    released: list[UUID]


class MappingGone(BaseModel):
    """A mapping that is no more."""

    deleted: bool


class MappingQuery(PageQuery):
    """Which mappings to list."""

    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")
    kind: Kind | None = None


@router.get("", response_model=Page[MappingTold])
def list_mappings(query: Annotated[MappingQuery, Query()], work: Reader) -> Page[MappingTold]:
    """List mappings by kind, key and variant."""
    after = texts_of(query.cursor, 3) or ["", "", ""]
    with work.transaction() as connection:
        company_id = company_of(work, connection, query.realm_id).company_id
        found = mappings.page(
            connection,
            work.tenant,
            company_id,
            kind=query.kind,
            after=(after[0], after[1], after[2]),
            limit=query.limit + 1,
        )
    shown, more = found[: query.limit], len(found) > query.limit
    return Page(
        data=[MappingTold.model_validate(one) for one in shown],
        next_cursor=cursor_of(shown[-1].at) if more else None,
    )


@router.put("", response_model=MappingSet)
def set_mapping(given: MappingGiven, work: Manager) -> Response:
    """Map something; documents that failed for the lack of it start their next attempt at once."""

    def act(connection: Connection) -> MappingSet:
        released: list[UUID] = []

        def release(connection: Connection, tenant: str, cause: str) -> None:
            reason = f"{given.kind} {given.key} was mapped"
            released.extend(causes.release(connection, tenant, cause, work.caller.actor, reason))

        mapping: Mapping = mappings.put(
            connection,
            work.tenant,
            company_of(work, connection, given.realm_id).company_id,
            (given.kind, given.key, given.variant),
            external_id=given.external_id,
            external_name=given.external_name,
            details=given.details,
            actor=work.caller.actor,
            on_mapping_set=release,
        )
        return MappingSet(mapping=MappingTold.model_validate(mapping), released=released)

    return work.once(act)


@router.delete("", response_model=MappingGone)
def delete_mapping(query: Annotated[Place, Query()], work: Manager) -> Response:
    """Forget a mapping; documents that need it fail again, by name."""

    def act(connection: Connection) -> MappingGone:
        company_id = company_of(work, connection, query.realm_id).company_id
        at = (query.kind, query.key, query.variant)
        if not mappings.delete(connection, work.tenant, company_id, at, actor=work.caller.actor):
            raise missing(f"{query.kind} {query.key!r} is not mapped in this company")
        return MappingGone(deleted=True)

    return work.once(act)
