"""The two applications of a sandbox: what the world sees (API and OAuth), and the control port."""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import Response

from services.sandbox.api import CompanyApi
from services.sandbox.control import create_control
from services.sandbox.faults import NotModelled
from services.sandbox.gateway import JSON
from services.sandbox.pages import Pages
from services.sandbox.settings import Settings
from services.sandbox.world import World


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API application; its world is `app.state.world`, its control application `app.state.control`."""
    world = World(settings or Settings())
    app = FastAPI(title="QuickBooks Online sandbox", openapi_url=None)
    app.state.world = world
    app.state.control = create_control(world)
    app.include_router(Pages(world).router)
    app.mount("/v3", CompanyApi(world))

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def anything_else(request: Request) -> Response:
        refusal = NotModelled(f"{request.method} {request.url.path}")
        world.counters.of("").unmodelled[refusal.what] += 1
        return Response(refusal.body(world.clock.now()), 404, media_type=JSON)

    return app
