"""Whether the API lives and is ready, and its figures. Open to whoever reaches the port, and without tenants' data."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.responses import Response

from services.api.context import Context
from services.api.problems import ApiError
from services.api.work import context_of
from services.database import head_revision

router = APIRouter(tags=["System"])

_REVISION = text("SELECT version_num FROM alembic_version")


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """The process can do its work."""

    status: str
    revision: str


@router.get("/healthz", response_model=Alive)
async def healthz() -> Alive:
    """Say that the process lives, whatever its surroundings do."""
    return Alive(status="alive")


@router.get("/readyz", response_model=Ready)
def readyz(context: Annotated[Context, Depends(context_of)], request: Request) -> Ready:
    """Say whether the database answers and has been migrated to what this version needs; 503 otherwise."""
    try:
        with context.database.engine.begin() as connection:
            revision = connection.execute(_REVISION).scalar()
    except DBAPIError as failure:
        raise ApiError(503, "database_unavailable", "the database does not answer") from failure
    if revision != head_revision():
        raise ApiError(
            503,
            "not_migrated",
            f"the database is at {revision}, this version needs {head_revision()}; run algasync migrate",
        )
    return Ready(status="ready", revision=str(revision))


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Figures for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
