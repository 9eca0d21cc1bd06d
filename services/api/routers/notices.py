"""`/v1/notices`: what the tenant's people were told without asking, and whether it reached them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from services.api.paging import Page, PageQuery, cursor_of, moment_of
from services.api.shapes import Told
from services.api.work import Reader
from services.exceptions import notices
from services.exceptions.notices import Kind

router = APIRouter(prefix="/v1/notices", tags=["Notices"])


class RecipientTold(Told):
    """Somebody to whom a notice goes."""

    channel: str = Field(description="mail or webhook.")
    recipient: str
    state: str = Field(description="pending, delivered or failed.")
    attempts: int
    error: str | None
    closed_at: datetime | None


class NoticeTold(Told):
    """One notice."""

    notice_id: UUID
    kind: str = Field(description="connection, token, digest, backlog, reconciliation or deliveries.")
    title: str = Field(examples=["Accounting connection needs attention"])
    message: str
    details: dict[str, Any]
    company_id: UUID | None
    created_at: datetime
    told: list[RecipientTold] = Field(description="Empty when the tenant had set no recipients.")


class NoticeQuery(PageQuery):
    """Which notices."""

    kind: Kind | None = None


@router.get("", response_model=Page[NoticeTold])
def list_notices(query: Annotated[NoticeQuery, Query()], work: Reader) -> Page[NoticeTold]:
    """List notices, newest first, each with where it went."""
    with work.transaction() as connection:
        found = notices.page(
            connection, work.tenant, kind=query.kind, after=moment_of(query.cursor), limit=query.limit
        )
    data = [NoticeTold.model_validate(one) for one in found.notices]
    return Page(data=data, next_cursor=cursor_of(found.after))
