"""Routes on the control port about one company: opening, looking into it, its switches, its tokens."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import Field
from starlette.responses import Response

from services.sandbox import bookkeeper
from services.sandbox.desk import Strict, reply
from services.sandbox.entities import ENTITIES
from services.sandbox.settings import CompanySpec
from services.sandbox.store import Company
from services.sandbox.world import World

Plan = Literal["SimpleStart", "Essentials", "Plus", "Advanced"]


class NewCompany(Strict):
    """A company to open; `preferences` and `switches` as in the PATCH calls."""

    realm: str = Field(pattern=r"^\d+$")
    name: str = ""
    country: str = "US"
    multicurrency: bool = False
    plan: Plan = "Plus"
    customers: bool = True
    preferences: dict[str, dict[str, Any]] = Field(default_factory=dict)
    switches: dict[str, Any] = Field(default_factory=dict)


class Condition(Strict):
    """What changes about a company; `active` false is an expired subscription (6190)."""

    active: bool | None = None
    plan: Plan | None = None


class TokenAction(Strict):
    """What happens to the tokens of an app (empty: of every app) in this company."""

    action: Literal["revoke", "expire_access", "expire_refresh"]
    client_id: str = ""


def create_premises(world: World) -> APIRouter:
    """The routes over a world."""
    router = APIRouter(prefix="/companies")

    @router.post("")
    async def open_company(body: NewCompany) -> Response:
        spec = CompanySpec(body.realm, body.country, body.name, body.multicurrency)
        company = world.open(spec, customers=body.customers)
        company.plan = body.plan
        company.switches.change(body.switches)
        if body.preferences:
            bookkeeper.set_preferences(company, body.preferences)
        world.keep_company(company)
        return reply(summary(company), 201)

    @router.get("/{realm}")
    async def show(realm: str) -> Response:
        return reply(summary(company_of(world, realm)))

    @router.patch("/{realm}")
    async def change(realm: str, body: Condition) -> Response:
        company = company_of(world, realm)
        company.active = company.active if body.active is None else body.active
        company.plan = body.plan or company.plan
        world.keep_company(company)
        return reply(summary(company))

    @router.patch("/{realm}/preferences")
    async def change_preferences(realm: str, body: dict[str, dict[str, Any]]) -> Response:
        return reply(bookkeeper.set_preferences(company_of(world, realm), body))

    @router.get("/{realm}/switches")
    async def show_switches(realm: str) -> Response:
        return reply(company_of(world, realm).switches.as_dict())

    @router.patch("/{realm}/switches")
    async def change_switches(realm: str, body: dict[str, Any]) -> Response:
        company = company_of(world, realm)
        company.switches.change(body)
        world.keep_company(company)
        return reply(company.switches.as_dict())

    @router.get("/{realm}/objects/{entity}")
    async def objects(realm: str, entity: str) -> Response:
        if entity not in ENTITIES:
            raise HTTPException(404, f"no entity {entity}; there are {', '.join(ENTITIES)}")
        return reply(list(company_of(world, realm).all(entity)))

    @router.get("/{realm}/receivables")
    async def receivables(realm: str) -> Response:
        balances = {key: amount for key, amount in company_of(world, realm).balances.items() if amount}
        return reply({"customers": balances, "total": sum(balances.values())})

    @router.get("/{realm}/history")
    async def history(realm: str, entity: str = "", key: str = "") -> Response:
        rows = company_of(world, realm).history
        return reply([row._asdict() for row in rows if entity in ("", row.entity) and key in ("", row.id)])

    @router.post("/{realm}/tokens")
    async def tokens(realm: str, body: TokenAction) -> Response:
        company_of(world, realm)
        act = getattr(world.authority, body.action)
        grants = [
            grant
            for grant in world.authority.grants
            if grant.realm == realm and not grant.revoked and body.client_id in ("", grant.client_id)
        ]
        for grant in grants:
            act(grant)
        return reply({"grants": len(grants)})

    return router


def company_of(world: World, realm: str) -> Company:
    """The company of a realm, or 404."""
    company = world.companies.get(realm)
    if company is None:
        raise HTTPException(404, f"no company {realm}; there are {', '.join(world.companies)}")
    return company


def summary(company: Company) -> dict[str, Any]:
    """What a company is and how much is in it."""
    return {
        "realm": company.realm,
        "name": company.name,
        "country": company.country,
        "currency": company.currency,
        "multicurrency": company.multicurrency,
        "plan": company.plan,
        "active": company.active,
        "objects": {entity: len(rows) for entity, rows in company.objects.items()},
    }
