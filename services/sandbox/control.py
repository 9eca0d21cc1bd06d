"""The control port: a JSON API without authentication, for tests, demonstrations and verifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request
from pydantic import Field, field_validator
from starlette.responses import JSONResponse, Response

from services.sandbox.desk import Strict, create_desk, reply
from services.sandbox.faults import Refusal
from services.sandbox.premises import company_of, create_premises, summary
from services.sandbox.settings import App
from services.sandbox.troubles import Kind, Trouble
from services.sandbox.world import World


class NewApp(Strict):
    """An app; the same client id again replaces it."""

    client_id: str
    client_secret: str
    redirect_uris: list[str] = Field(default_factory=list)
    webhook_url: str = ""
    webhook_format: str = Field(default="cloudevents", pattern="^(cloudevents|legacy)$")
    verifier_token: str = "sandbox-verifier-token"  # noqa: S105 - a sandbox's default

    @field_validator("redirect_uris")
    @classmethod
    def _https(cls, value: list[str]) -> list[str]:
        for address in value:
            parts = urlsplit(address)
            local = parts.hostname in ("localhost", "127.0.0.1", "::1")
            if parts.scheme != "https" and not (parts.scheme == "http" and local):
                raise ValueError(f"{address!r} is neither https nor http on this machine")
        return value


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


def create_control(world: World) -> FastAPI:
    """The control application over a world."""
    # Every handler is a coroutine: control and API take turns on one event loop and never run at once.
    app = FastAPI(title="Control of the QuickBooks Online sandbox")
    app.include_router(create_premises(world))
    app.include_router(create_desk(lambda realm: company_of(world, realm)))

    @app.middleware("http")
    async def keep(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call_next(request)
        world.journal.flush()
        return answer

    @app.exception_handler(ValueError)
    async def bad_value(_request: Request, error: ValueError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    @app.exception_handler(Refusal)
    async def refused(_request: Request, refusal: Refusal) -> Response:
        return Response(refusal.body(world.clock.now()), refusal.status, media_type="application/json")

    @app.get("/healthz")
    async def healthy() -> Response:
        return reply({"status": "ok"})

    @app.get("/")
    async def overview() -> Response:
        companies = [summary(company) for company in world.companies.values()]
        return reply({"companies": companies, "apps": list(world.authority.apps)})

    @app.post("/reset")
    async def reset() -> Response:
        world.reset()
        return await overview()

    @app.get("/switches")
    async def show_switches() -> Response:
        return reply(world.defaults.as_dict())

    @app.patch("/switches")
    async def change_switches(body: dict[str, Any]) -> Response:
        world.change_switches(body)
        return reply(world.defaults.as_dict())

    @app.get("/troubles")
    async def list_troubles() -> Response:
        return reply([trouble.as_dict() for trouble in world.troubles.rules])

    @app.post("/troubles")
    async def add_trouble(body: NewTrouble) -> Response:
        return reply(world.troubles.add(Trouble(**body.model_dump())).as_dict(), 201)

    @app.delete("/troubles")
    async def clear_troubles() -> Response:
        world.troubles.rules.clear()
        return reply([])

    @app.delete("/troubles/{key}")
    async def remove_trouble(key: str) -> Response:
        if not world.troubles.remove(key):
            raise HTTPException(404, f"no trouble {key}")
        return await list_troubles()

    @app.get("/counters")
    async def counters() -> Response:
        tallies = {realm: tally.as_dict() for realm, tally in world.counters.tallies.items()}
        return reply({"companies": tallies, "oauth": dict(world.authority.stats)})

    @app.delete("/counters")
    async def clear_counters() -> Response:
        world.counters.clear()
        world.authority.stats.clear()
        return await counters()

    @app.get("/requests")
    async def requests(realm: str = "", limit: int = 1000) -> Response:
        rows = [row._asdict() for row in world.counters.log if realm in ("", row.realm)]
        return reply(rows[-limit:])

    @app.get("/unmodelled")
    async def unmodelled() -> Response:
        tallies = world.counters.tallies.items()
        return reply({realm: dict(tally.unmodelled) for realm, tally in tallies if tally.unmodelled})

    @app.get("/apps")
    async def apps() -> Response:
        return reply([_app(app) for app in world.authority.apps.values()])

    @app.post("/apps")
    async def register(body: NewApp) -> Response:
        values = {**body.model_dump(), "redirect_uris": tuple(body.redirect_uris)}
        world.register(App(**values))
        return reply(_app(world.authority.apps[body.client_id]), 201)

    @app.post("/tokens")
    async def mint(body: NewGrant) -> Response:
        if body.client_id not in world.authority.apps:
            raise HTTPException(404, f"no app {body.client_id}")
        company_of(world, body.realm)
        grant = world.authority.grant(body.client_id, body.realm, body.scopes)
        return reply(world.authority.reply(grant, hard=True), 201)

    @app.get("/webhooks")
    async def webhooks() -> Response:
        waiting = {
            key: [event._asdict() for event in box.waiting] for key, box in world.webhooks.mailboxes.items()
        }
        return reply({"waiting": waiting, "attempts": [row._asdict() for row in world.webhooks.attempts]})

    @app.get("/clock")
    async def clock() -> Response:
        return reply({"now": world.clock.now(), "offset": world.clock.offset})

    @app.post("/clock")
    async def advance(body: Advance) -> Response:
        world.advance(body.seconds)
        return await clock()

    return app


def _app(app: App) -> dict[str, Any]:
    secret = ("client_secret", "verifier_token")
    return {name: "***" if name in secret else value for name, value in dataclasses.asdict(app).items()}
