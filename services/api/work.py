"""What an endpoint works with: the caller, its tenant's transactions, and writes that may be repeated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.responses import Response

from messages import body as bodies
from services.api import keys, outcomes
from services.api.context import Context
from services.api.keys import Caller, Scope
from services.api.problems import ApiError
from services.api.requests import MAX_BODY
from services.connections import edition

_BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer algasync_...`")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key in a header of its own.")

Act = Callable[[Connection], BaseModel]


@dataclass(frozen=True, slots=True)
class Work:
    """One request of one caller."""

    context: Context
    caller: Caller
    request_hash: bytes
    idempotency_key: str | None

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction that sees the caller's tenant only; commits at its end, before the answer is sent."""
        return self.context.database.transaction(self.tenant)

    def once(self, act: Act, status: int = 200) -> Response:
        """Write in a transaction of its own and answer; with an Idempotency-Key, at most once."""
        with self.transaction() as connection:
            if self.idempotency_key is None:
                return _json(act(connection).model_dump_json(), status)
            outcome = outcomes.once(
                connection,
                self.tenant,
                self.idempotency_key,
                self.request_hash,
                lambda: (status, act(connection).model_dump_json()),
            )
        headers = {"Idempotent-Replayed": "true"} if outcome.repeated else None
        return _json(outcome.body, outcome.status, headers)


def context_of(request: Request) -> Context:
    """The API's context, which `create_app` left on the application."""
    found = request.app.state.context
    assert isinstance(found, Context)
    return found


def authenticated(
    context: Annotated[Context, Depends(context_of)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> Caller:
    """The caller behind the key of the request, or 401."""
    secret = bearer.credentials if bearer else header
    if not secret:
        raise _unauthorized("no_key", "send an API key: Authorization: Bearer algasync_...")
    with context.database.engine.begin() as connection:  # no tenant yet: sees no row of anybody
        caller = keys.find(connection, secret)
    if caller is None:
        raise _unauthorized("bad_key", "this API key is unknown, expired or revoked; ask for a new one")
    return caller


async def fingerprint(request: Request) -> bytes:
    """What makes two requests the same one: method, address and body.

    A body must be JSON that every reader understands alike, down to characters that PostgreSQL cannot hold.
    """
    body = await request.body()
    if body:
        request.state.json = bodies.read(body, limit=MAX_BODY)
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    digest.update(body)
    return digest.digest()


def allowed(scope: Scope) -> Callable[..., Work]:
    """A dependency: the request's work, if the caller's key allows it; else 403."""

    def work(
        context: Annotated[Context, Depends(context_of)],
        caller: Annotated[Caller, Depends(authenticated)],
        request_hash: Annotated[bytes, Depends(fingerprint)],
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=255,
                description="On writes: repeating the request with the same key returns the first outcome.",
            ),
        ] = None,
    ) -> Work:
        if not caller.may(scope):
            raise ApiError(
                403, "scope_missing", f"this needs the scope {scope}; the key {caller.name} does not have it"
            )
        return Work(context, caller, request_hash, idempotency_key)

    return work


Reader = Annotated[Work, Depends(allowed(Scope.READ))]
Manager = Annotated[Work, Depends(allowed(Scope.MANAGE))]
Emitter = Annotated[Work, Depends(allowed(Scope.EVENTS))]


def entitled(work: Reader) -> None:
    """Refuse a tenant whose edition does not include QuickBooks."""
    with work.transaction() as connection:
        edition.require(connection, work.tenant)


def _json(body: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def _unauthorized(code: str, detail: str) -> ApiError:
    return ApiError(401, code, detail, headers={"WWW-Authenticate": "Bearer"})
