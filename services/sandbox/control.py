"""The control port: a JSON API without authentication, for tests, demonstrations and verifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from services.sandbox.amounts import encode
from services.sandbox.entities import ENTITIES
from services.sandbox.settings import App, CompanySpec
from services.sandbox.store import Company, Unit
from services.sandbox.troubles import Kind, Trouble
from services.sandbox.world import World


class Strict(BaseModel):
    """A body whose unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class NewCompany(Strict):
    """A company to open; `preferences` and `switches` as in the two PATCH calls."""

    realm: str = Field(pattern=r"^\d+$")
    name: str = ""
    country: str = "US"
    multicurrency: bool = False
    plan: str = "Plus"
    customers: bool = True
    preferences: dict[str, dict[str, Any]] = {}
    switches: dict[str, Any] = {}


class NewApp(Strict):
    """An app; the same client id again replaces it."""

    client_id: str
    client_secret: str
    redirect_uris: list[str] = []
    webhook_url: str = ""
    webhook_format: str = Field(default="cloudevents", pattern="^(cloudevents|legacy)$")
    verifier_token: str = "sandbox-verifier-token"  # noqa: S105 - a sandbox's default


class NewTrouble(Strict):
    """A rule of the bad day; the fields of `troubles.Trouble`."""

    kind: Kind
    realm: str = ""
    method: str = ""
    entity: str = ""
    operation: str = ""
    path: str = ""
    skip: int = 0
    times: int = 0
    probability: float = 1.0
    seconds: float = 0.0
    jitter_seconds: float = 0.0
    status: int = 0
    format: str = Field(default="", pattern="^(|json|xml)$")
    retry_after: int = 0
    code: str = "10000"
    message: str = "An application error has occurred while processing your request"
    detail: str = "System Failure Error: injected by the sandbox"
    fault_type: str = "SystemFault"


class NewGrant(Strict):
    """Tokens without the browser, as Intuit's OAuth playground gives them."""

    client_id: str
    realm: str
    scopes: str = "com.intuit.quickbooks.accounting"


class Advance(Strict):
    """How far to move the clock."""

    seconds: float = Field(ge=0)


def reply(value: Any, status: int = 200) -> Response:
    """JSON with decimals as plain numbers."""
    return Response(encode(value), status, media_type="application/json")


def create_control(world: World) -> FastAPI:
    """The control application over a world."""
    app = FastAPI(title="Control of the QuickBooks Online sandbox")

    @app.middleware("http")
    async def keep(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call_next(request)
        world.journal.flush()
        return answer

    @app.exception_handler(ValueError)
    async def bad_value(_request: Request, error: ValueError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    def company_of(realm: str) -> Company:
        company = world.companies.get(realm)
        if company is None:
            raise HTTPException(404, f"no company {realm}; there are {', '.join(world.companies)}")
        return company

    @app.get("/")
    def summary() -> Response:
        return reply(
            {"companies": [_summary(x) for x in world.companies.values()], "apps": list(world.authority.apps)}
        )

    @app.post("/reset")
    def reset() -> Response:
        world.reset()
        return summary()

    @app.post("/companies")
    def open_company(body: NewCompany) -> Response:
        spec = CompanySpec(body.realm, body.country, body.name, body.multicurrency)
        company = world.open(spec, customers=body.customers)
        company.plan = body.plan
        company.switches.change(body.switches)
        _set_preferences(company, body.preferences)
        world.keep_company(company)
        return reply(_summary(company), 201)

    @app.get("/companies/{realm}")
    def show_company(realm: str) -> Response:
        return reply(_summary(company_of(realm)))

    @app.patch("/companies/{realm}/preferences")
    def change_preferences(realm: str, body: dict[str, dict[str, Any]]) -> Response:
        company = company_of(realm)
        _set_preferences(company, body)
        return reply(company.preferences)

    @app.get("/switches")
    def show_switches() -> Response:
        return reply(world.defaults.as_dict())

    @app.patch("/switches")
    def change_switches(body: dict[str, Any]) -> Response:
        world.defaults.change(body)
        for company in world.companies.values():
            company.switches.change(body)
            world.keep_company(company)
        return show_switches()

    @app.get("/companies/{realm}/switches")
    def show_company_switches(realm: str) -> Response:
        return reply(company_of(realm).switches.as_dict())

    @app.patch("/companies/{realm}/switches")
    def change_company_switches(realm: str, body: dict[str, Any]) -> Response:
        company = company_of(realm)
        company.switches.change(body)
        world.keep_company(company)
        return show_company_switches(realm)

    @app.get("/troubles")
    def list_troubles() -> Response:
        return reply([trouble.as_dict() for trouble in world.troubles.rules])

    @app.post("/troubles")
    def add_trouble(body: NewTrouble) -> Response:
        return reply(world.troubles.add(Trouble(**body.model_dump())).as_dict(), 201)

    @app.delete("/troubles")
    def clear_troubles() -> Response:
        world.troubles.rules.clear()
        return reply([])

    @app.delete("/troubles/{key}")
    def remove_trouble(key: str) -> Response:
        if not world.troubles.remove(key):
            raise HTTPException(404, f"no trouble {key}")
        return list_troubles()

    @app.get("/counters")
    def counters() -> Response:
        tallies = {realm: tally.as_dict() for realm, tally in world.counters.tallies.items()}
        return reply({"companies": tallies, "oauth": dict(world.authority.stats)})

    @app.delete("/counters")
    def clear_counters() -> Response:
        world.counters.clear()
        world.authority.stats.clear()
        return counters()

    @app.get("/requests")
    def requests(realm: str = "", limit: int = 1000) -> Response:
        rows = [row._asdict() for row in world.counters.log if realm in ("", row.realm)]
        return reply(rows[-limit:])

    @app.get("/unmodelled")
    def unmodelled() -> Response:
        return reply(
            {realm: dict(t.unmodelled) for realm, t in world.counters.tallies.items() if t.unmodelled}
        )

    @app.get("/companies/{realm}/objects/{entity}")
    def objects(realm: str, entity: str) -> Response:
        if entity not in ENTITIES:
            raise HTTPException(404, f"no entity {entity}; there are {', '.join(ENTITIES)}")
        return reply(list(company_of(realm).all(entity)))

    @app.get("/companies/{realm}/history")
    def history(realm: str, entity: str = "", id: str = "") -> Response:  # noqa: A002 - the query parameter's name
        rows = company_of(realm).history
        return reply([x._asdict() for x in rows if entity in ("", x.entity) and id in ("", x.id)])

    @app.get("/apps")
    def apps() -> Response:
        return reply([_app(x) for x in world.authority.apps.values()])

    @app.post("/apps")
    def register(body: NewApp) -> Response:
        app = App(**{**body.model_dump(), "redirect_uris": tuple(body.redirect_uris)})
        world.register(app)
        return reply(_app(app), 201)

    @app.post("/tokens")
    def mint(body: NewGrant) -> Response:
        if body.client_id not in world.authority.apps:
            raise HTTPException(404, f"no app {body.client_id}")
        company_of(body.realm)
        grant = world.authority.grant(body.client_id, body.realm, body.scopes)
        return reply(world.authority.reply(grant, hard=True), 201)

    @app.get("/clock")
    def clock() -> Response:
        return reply({"now": world.clock.now(), "offset": world.clock.offset})

    @app.post("/clock")
    def advance(body: Advance) -> Response:
        world.clock.advance(body.seconds)
        world.keep_clock()
        return clock()

    return app


def _summary(company: Company) -> dict[str, Any]:
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


def _app(app: App) -> dict[str, Any]:
    values = dataclasses.asdict(app)
    return {
        name: "***" if name in ("client_secret", "verifier_token") else value
        for name, value in values.items()
    }


def _set_preferences(company: Company, areas: dict[str, dict[str, Any]]) -> None:
    if not areas:
        return
    current = company.preferences
    unknown = areas.keys() - current.keys()
    if unknown:
        raise ValueError(f"unknown preference area {unknown.pop()!r}")
    unit = Unit(company, "bookkeeper")
    merged = {area: {**current[area], **values} for area, values in areas.items()}
    unit.put("Preferences", {**current, **merged})
    unit.commit()
