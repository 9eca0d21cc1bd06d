"""`/v1/settings`: how a tenant wants its sync."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

from services.api.keys import Scope as KeyScope
from services.api.shapes import Given, Told
from services.api.targets import company_of
from services.api.work import Manager, Reader, Work
from services.mapping import settings
from services.mapping.settings import OPERATOR_ONLY, Scope, Settings
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


@router.get("", response_model=SettingsTold)
def show_settings(where: Annotated[Where, Query()], work: Reader) -> SettingsTold:
    """Show the settings in force for the tenant, a company, a client, or a client in a company."""
    with work.transaction() as connection:
        return _told(work, connection, where)


@router.get("/schema")
def schema(work: Reader) -> dict[str, Any]:
    """Name, type, default, description and levels of every setting, as a JSON Schema."""
    return Settings.model_json_schema()


@router.put("/{name}", response_model=SettingsTold)
def set_setting(name: str, given: SettingGiven, work: Manager) -> Response:
    """Set one setting; no other one is touched."""
    _check(work, name)

    def act(connection: Connection) -> SettingsTold:
        scope = _scope(work, connection, given)
        settings.put(connection, work.tenant, scope, name, given.value, actor=work.caller.actor)
        return _told(work, connection, given)

    return work.once(act)


@router.delete("/{name}", response_model=SettingsTold)
def reset_setting(name: str, where: Annotated[Where, Query()], work: Manager) -> Response:
    """Let one setting fall back to the wider place, or to its default."""
    _check(work, name)

    def act(connection: Connection) -> SettingsTold:
        scope = _scope(work, connection, where)
        if not settings.reset(connection, work.tenant, scope, name, actor=work.caller.actor):
            raise missing(f"{name} is not set here", field="path.name")
        return _told(work, connection, where)

    return work.once(act)


def _check(work: Work, name: str) -> None:
    if name in OPERATOR_ONLY and not work.caller.may(KeyScope.OPERATOR):
        raise forbidden(
            "operator_only", f"{name} is set by the operator; it needs a key with the scope operator"
        )


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
