"""`/v1/documents/.../sync-state`: the badge on a document, with its number and its page in QuickBooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from services.api.shapes import Given, Told
from services.api.work import Reader
from services.psa import sync_state
from services.psa.sync_state import LIMIT, State, Type

router = APIRouter(prefix="/v1/documents", tags=["Sync state"])


class DocumentNamed(Given):
    """A document of billing, by its type and billing's own id."""

    type: Type
    id: str = Field(min_length=1, max_length=200, examples=["inv-1042"])


class DocumentsNamed(Given):
    """Documents to ask about."""

    documents: list[DocumentNamed] = Field(max_length=LIMIT)


class SyncStateTold(Told):
    """Where a document stands between billing and QuickBooks."""

    type: str
    id: str
    state: State = Field(description="not_synced, queued, synced, drift, error or voided.")
    number: str | None = Field(description="QuickBooks' number of it once it is there, else billing's.")
    time: datetime | None = Field(description="When it came to this state.")
    url: str | None = Field(description="Its page in QuickBooks, of the environment its company belongs to.")
    quickbooks_type: str | None
    quickbooks_id: str | None
    company_id: UUID | None
    realm_id: str | None
    company_name: str | None
    code: str | None = Field(description="Why it is not synced, for programs.")
    reason: str | None = Field(description="Why it is not synced, for people.")
    exception_id: UUID | None = Field(description="The exception that waits for a person.")


class SyncStates(BaseModel):
    """States in the order in which they were asked for."""

    data: list[SyncStateTold]


@router.get("/{type}/{document_id:path}/sync-state", response_model=SyncStateTold)
def show_sync_state(
    type: Type,  # noqa: A002 - the field's name
    document_id: Annotated[str, Path(min_length=1, max_length=200)],
    work: Reader,
) -> SyncStateTold:
    """Tell the state of one document; one that nobody has heard of yet is not synced."""
    with work.transaction() as connection:
        (found,) = sync_state.of(connection, work.tenant, [(type, document_id)])
    return SyncStateTold.model_validate(found)


@router.post("/sync-state", response_model=SyncStates)
def list_sync_states(asked: DocumentsNamed, work: Reader) -> SyncStates:
    """Tell the states of up to 500 documents at once; reads only."""
    with work.transaction() as connection:
        found = sync_state.of(connection, work.tenant, [(one.type, one.id) for one in asked.documents])
    return SyncStates(data=[SyncStateTold.model_validate(one) for one in found])
