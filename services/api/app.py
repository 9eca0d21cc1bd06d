"""The application: routers, errors, documentation, and what surrounds every request."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from services.api import documentation, problems
from services.api.context import Context
from services.api.problems import MEDIA_TYPE, Problem
from services.api.requests import Requests
from services.api.routers import (
    asyncapi,
    books,
    connect,
    csv,
    decisions,
    drift,
    events,
    exception_acts,
    exceptions,
    history,
    mappings,
    notices,
    onboarding,
    onboarding_books,
    operations,
    pauses,
    quickbooks,
    readiness,
    reconcile,
    settings,
    subscriptions,
    sync_state,
    system,
    webhooks,
)

_DESCRIPTION = """algasync keeps AlgaPSA and QuickBooks Online in step.

Send your API key as `Authorization: Bearer algasync_...`. Lists are paged by `next_cursor`. Writes honour
`Idempotency-Key`: a repetition returns the first outcome and does nothing. Every refusal is
`application/problem+json` with a `code` for programs, a `detail` for people and the fields at fault; it has
changed nothing. Amounts are integers in minor units of their currency."""

_ROUTERS = (
    quickbooks,
    connect,
    webhooks,
    mappings,
    settings,
    readiness,
    onboarding,
    onboarding_books,
    events,
    operations,
    decisions,
    csv,
    exceptions,
    exception_acts,
    drift,
    books,
    pauses,
    sync_state,
    reconcile,
    history,
    notices,
    subscriptions,
    system,
    asyncapi,
)


def create_app(context: Context) -> FastAPI:
    """The API over a context. Its documentation page loads nothing from elsewhere."""
    refused = {"model": Problem, "description": "Refused; nothing was changed.", "content": {MEDIA_TYPE: {}}}
    failed = {**refused, "description": "QuickBooks, the database or algasync failed; nothing was changed."}
    app = FastAPIOffline(
        title="algasync",
        version=version("algasync"),
        description=_DESCRIPTION,
        redoc_url=None,
        responses={"4XX": refused, "5XX": failed},
        static_url="/docs/assets",
    )
    app.state.context = context
    app.add_middleware(Requests)
    problems.install(app, [route for module in _ROUTERS for route in module.router.routes])
    for module in _ROUTERS:
        app.include_router(module.router)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            documentation.complete(generate())
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend its document
    return app
