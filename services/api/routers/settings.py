"""`/v1/settings`: how a tenant wants its sync."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api import etags, lists
from services.api import work as works
from services.api.keys import Scope as KeyScope
from services.api.shapes import EntryTold, Given, Told
from services.api.targets import company_of
from services.api.work import IfMatch, Manager, Reader, Work
from services.mapping import settings
from services.mapping.settings import OPERATOR_ONLY, Scope, Settings
from services.onboarding import choices, company_settings
from services.onboarding.assigning import Wanted
from services.onboarding.company_settings import Pointing
from services.refusals import forbidden, invalid, missing

router = APIRouter(prefix="/v1/settings", tags=["Settings"])


class Where(Given):
    """Whose setting: the tenant's when neither is given."""

    realm_id: str | None = Field(default=None, description="Of this QuickBooks company.")
    client_id: str | None = Field(default=None, min_length=1, max_length=200, description="Of this client.")


class SettingGiven(Where):
    """A new value."""

    value: Any = Field(description="See GET /v1/settings/schema for the type of each.")


class SettingTold(Told):
    """One setting that was set."""

    scope: str = Field(description="tenant, company:<id> or client:<id>.")
    name: str
    value: Any
    updated_at: datetime
    updated_by: str


class SettingsTold(BaseModel):
    """What is in force, and what of it was set at exactly this place."""

    effective: Settings
    set_here: list[SettingTold]


class SettingSet(SettingsTold):
    """The settings in force now, and what the new value set going."""

    released: list[UUID] = Field(description="Operations that failed for the former value and start again.")
    unchecked: str = Field(description="Why QuickBooks could not be asked whether it is there; else empty.")


class ChoiceTold(Told):
    """Something in QuickBooks that a setting can point at."""

    id: str
    name: str
    label: str = Field(description="For people: an account with its type and currency.")


class ChoicesTold(BaseModel):
    """All that a setting can point at, by label."""

    data: list[ChoiceTold]
    stale: str = Field(description="Why QuickBooks could not be asked just now; else empty.")


class ChoiceQuery(Given):
    """Choices of which setting."""

    name: Pointing
    realm_id: str | None = Field(default=None, description="The company; the tenant's default when left out.")
    refresh: bool = Field(default=False, description="Ask QuickBooks even if the list is recent.")


class HistoryTold(BaseModel):
    """Who set it to what, oldest first."""

    data: list[EntryTold]


@router.get("", response_model=SettingsTold)
def show_settings(where: Annotated[Where, Query()], request: Request, work: Reader) -> Response:
    """Show the settings in force for the tenant, a company, a client, or a client in a company."""
    with work.transaction() as connection:
        return works.shown(request, _told(work, connection, where))


@router.get("/schema")
def schema(work: Reader) -> dict[str, Any]:
    """Name, type, default, description and levels of every setting, as a JSON Schema."""
    return Settings.model_json_schema()


@router.get("/choices", response_model=ChoicesTold)
def show_choices(query: Annotated[ChoiceQuery, Query()], work: Reader) -> ChoicesTold:
    """What the company has to choose from for a setting, as QuickBooks had it at most twelve hours ago."""
    with work.transaction() as connection:
        company_id = company_of(work, connection, query.realm_id).company_id
    stale = lists.have(work, company_id, [Wanted(query.name, "")], refresh=query.refresh)
    with work.transaction() as connection:
        found = choices.listed(connection, company_id, query.name)
    return ChoicesTold(data=[ChoiceTold.model_validate(one) for one in found], stale=stale)


@router.get("/{name}/history", response_model=HistoryTold)
def show_history(name: str, where: Annotated[Where, Query()], work: Reader) -> HistoryTold:
    """Who set it to what at exactly this place."""
    with work.transaction() as connection:
        scope = _scope(work, connection, where)
        entries = settings.history(connection, work.tenant, scope, name)
    return HistoryTold(data=[EntryTold.model_validate(entry) for entry in entries])


@router.put("/deposit_accounts/{method}", response_model=SettingSet)
def set_deposit_account(
    method: str, given: SettingGiven, work: Manager, if_match: IfMatch = None
) -> Response:
    """Set the deposit account of one payment method (`card`), or of a method and provider (`card:stripe`).

    The accounts of other methods stay, whoever sets them meanwhile; null takes this one out.
    """
    return _set(work, "deposit_accounts", given, if_match, key=method)


@router.put("/{name}", response_model=SettingSet)
def set_setting(name: str, given: SettingGiven, work: Manager, if_match: IfMatch = None) -> Response:
    """Set one setting; no other one is touched. What points into QuickBooks must be there and usable."""
    _check(work, name)
    return _set(work, name, given, if_match)


@router.delete("/{name}", response_model=SettingsTold)
def reset_setting(
    name: str, where: Annotated[Where, Query()], work: Manager, if_match: IfMatch = None
) -> Response:
    """Let one setting fall back to the wider place, or to its default."""
    _check(work, name)

    def act(connection: Connection) -> SettingsTold:
        _unchanged(work, connection, where, if_match)
        scope = _scope(work, connection, where)
        if not settings.reset(connection, work.tenant, scope, name, actor=work.caller.actor):
            raise missing(f"{name} is not set here", field="path.name")
        return _told(work, connection, where)

    return work.once(act, tagged=True)


def _check(work: Work, name: str) -> None:
    if name in OPERATOR_ONLY and not work.caller.may(KeyScope.OPERATOR):
        raise forbidden(
            "operator_only", f"{name} is set by the operator; it needs a key with the scope operator"
        )


def _unchanged(work: Work, connection: Connection, where: Where, if_match: str | None) -> None:
    """Let one editor pass at a time, and only with the present version if one was named."""
    work.alone(connection, "settings")
    if if_match is not None:
        etags.require(if_match, etags.of(_told(work, connection, where).model_dump_json()))


def _set(work: Work, name: str, given: SettingGiven, if_match: str | None, *, key: str = "") -> Response:
    wanted = company_settings.wanted(name, given.value, key)
    unchecked = ""
    if wanted:
        with work.transaction() as connection:
            scope = _scope(work, connection, given)
            company_id = company_settings.company_of(connection, work.tenant, scope)
        unchecked = lists.have(work, company_id, wanted) if company_id is not None else ""

    def act(connection: Connection) -> SettingSet:
        _unchanged(work, connection, Where(realm_id=given.realm_id, client_id=given.client_id), if_match)
        scope = _scope(work, connection, given)
        outcome = company_settings.put(
            connection,
            work.tenant,
            scope,
            name,
            given.value,
            actor=work.caller.actor,
            key=key,
            unchecked=unchecked,
        )
        told = _told(work, connection, given).model_dump()
        return SettingSet(**told, released=outcome.released, unchecked=outcome.unchecked)

    return work.once(act)


def _scope(work: Work, connection: Connection, where: Where) -> Scope:
    if where.realm_id is not None and where.client_id is not None:
        raise invalid("client_id", "a setting belongs to a company or to a client; name one of the two")
    if where.realm_id is not None:
        return settings.of_company(company_of(work, connection, where.realm_id).company_id)
    return settings.of_client(where.client_id) if where.client_id is not None else settings.TENANT


def _told(work: Work, connection: Connection, where: Where) -> SettingsTold:
    company_id = None
    if where.realm_id is not None:
        company_id = company_of(work, connection, where.realm_id).company_id
    effective = settings.resolve(connection, work.tenant, company_id=company_id, client_id=where.client_id)
    here = settings.TENANT
    if company_id is not None:
        here = settings.of_company(company_id)
    if where.client_id is not None:
        here = settings.of_client(where.client_id)
    rows = settings.listed(connection, work.tenant, here)
    return SettingsTold(effective=effective, set_here=[SettingTold.model_validate(row) for row in rows])
