"""`/v1/pause`: stop switches of a tenant and its companies. Paused work waits; nothing is lost."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, Work
from services.connections import companies
from services.connections.companies import Company
from services.ledger import pauses
from services.ledger.pauses import Scope
from services.refusals import conflict

router = APIRouter(prefix="/v1/pause", tags=["Pause"])


class Target(Given):
    """What to stop: one company, or the whole tenant when none is named."""

    realm_id: str | None = Field(default=None, description="Only this company.")
    kind: str | None = Field(
        default=None,
        max_length=100,
        description="Only this kind of the company's work, e.g. export_invoice; the brake stops such by itself.",
    )

    @model_validator(mode="after")
    def _of_a_company(self) -> Self:
        if self.kind is not None and self.realm_id is None:
            raise ValueError("kind is work of one company: give realm_id too")
        return self


class PauseGiven(Target):
    """Why."""

    reason: str = Field(min_length=1, max_length=500, examples=["month end: the books are being closed"])


class PauseTold(Told):
    """One stop switch that is on. The fleet's is the operator's."""

    scope: str = Field(description="fleet, tenant, company or kind.")
    realm_id: str | None
    kind: str | None = Field(description="Of operations, with scope kind.")
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
            _scope(given),
            actor=work.caller.actor,
            reason=given.reason,
            tenant=work.tenant,
            company_id=company.company_id if company else None,
            kind=given.kind,
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
            _scope(target),
            actor=work.caller.actor,
            tenant=work.tenant,
            company_id=company.company_id if company else None,
            kind=target.kind,
        )
        if woken is None:
            raise conflict("not_paused", f"{company.label if company else 'the tenant'} is not paused")
        return Resumed(data=_active(work, connection), woken=woken)

    return work.once(act)


def _scope(target: Target) -> Scope:
    if target.kind is not None:
        return "kind"
    return "company" if target.realm_id is not None else "tenant"


def _company(work: Work, connection: Connection, target: Target) -> Company | None:
    return company_of(work, connection, target.realm_id) if target.realm_id is not None else None


def _active(work: Work, connection: Connection) -> list[PauseTold]:
    realms = {one.company_id: one.realm_id for one in companies.listed(connection, work.tenant)}
    return [
        PauseTold(
            scope=one.scope,
            realm_id=realms.get(one.company_id) if one.company_id else None,
            reason=one.reason,
            kind=one.kind,
            actor=one.actor,
            created_at=one.created_at,
        )
        for one in pauses.active(connection)
    ]
