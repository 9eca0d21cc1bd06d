"""`/v1/pause`: stop switches of a tenant and its companies. Paused work waits; nothing is lost."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, Work
from services.connections import companies
from services.connections.companies import Company
from services.ledger import pauses
from services.refusals import conflict

router = APIRouter(prefix="/v1/pause", tags=["Pause"])


class Target(Given):
    """What to stop: one company, or the whole tenant when none is named."""

    realm_id: str | None = Field(default=None, description="Only this company.")


class PauseGiven(Target):
    """Why."""

    reason: str = Field(min_length=1, max_length=500, examples=["month end: the books are being closed"])


class PauseTold(Told):
    """One stop switch that is on. The fleet's is the operator's."""

    scope: str = Field(description="fleet, tenant or company.")
    realm_id: str | None
    reason: str
    actor: str
    created_at: datetime


class PausesTold(BaseModel):
    """Every stop switch that holds work of this tenant."""

    data: list[PauseTold]


class Resumed(PausesTold):
    """What is left, and how many operations went on."""

    woken: int


@router.get("", response_model=PausesTold)
def list_pauses(work: Reader) -> PausesTold:
    """List what is stopped, by whom and why."""
    with work.transaction() as connection:
        return PausesTold(data=_active(work, connection))


@router.post("", response_model=PausesTold)
def pause(given: PauseGiven, work: Manager) -> Response:
    """Stop: calls under way finish, nothing new starts. Doing it twice keeps the first reason."""

    def act(connection: Connection) -> PausesTold:
        company = _company(work, connection, given)
        pauses.pause(
            connection,
            "company" if company else "tenant",
            actor=work.caller.actor,
            reason=given.reason,
            tenant=work.tenant,
            company_id=company.company_id if company else None,
        )
        return PausesTold(data=_active(work, connection))

    return work.once(act)


@router.delete("", response_model=Resumed)
def resume(target: Annotated[Target, Query()], work: Manager) -> Response:
    """Go on: what waited for this switch starts at once."""

    def act(connection: Connection) -> Resumed:
        company = _company(work, connection, target)
        woken = pauses.resume(
            connection,
            "company" if company else "tenant",
            actor=work.caller.actor,
            tenant=work.tenant,
            company_id=company.company_id if company else None,
        )
        if woken is None:
            raise conflict("not_paused", f"{company.label if company else 'the tenant'} is not paused")
        return Resumed(data=_active(work, connection), woken=woken)

    return work.once(act)


def _company(work: Work, connection: Connection, target: Target) -> Company | None:
    return company_of(work, connection, target.realm_id) if target.realm_id is not None else None


def _active(work: Work, connection: Connection) -> list[PauseTold]:
    realms = {one.company_id: one.realm_id for one in companies.listed(connection, work.tenant)}
    return [
        PauseTold(
            scope=one.scope,
            realm_id=realms.get(one.company_id) if one.company_id else None,
            reason=one.reason,
            actor=one.actor,
            created_at=one.created_at,
        )
        for one in pauses.active(connection)
    ]
