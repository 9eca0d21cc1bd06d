"""What an endpoint works with: the caller, its tenant's transactions, and writes that may be repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Header, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from sqlalchemy import Connection, text
from starlette.responses import Response

from messages import body as bodies
from services.api import etags, keys, outcomes, pace, tokens
from services.api.context import Context
from services.api.keys import Caller, Scope
from services.api.outcomes import Outcome
from services.api.problems import ApiError
from services.api.requests import MAX_BODY
from services.api.tokens import BadToken
from services.connections import edition
from services.exceptions import bulk
from services.exceptions.bulk import Result

_BEARER = HTTPBearer(
    auto_error=False,
    description="An API key, `Authorization: Bearer algasync_...`, or a token (JWT) that the tenant's PSA signed.",
)
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key in a header of its own.")

Act = Callable[[Connection], BaseModel]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="The ETag of what you have seen; 412 if somebody changed it since."),
]

# Whoever edits the same thing waits here, so that what an If-Match was compared with is still there.
_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:tenant || chr(31) || :what, 1))")


@dataclass(frozen=True, slots=True)
class Work:
    """One request of one caller."""

    context: Context
    caller: Caller
    request_hash: bytes
    idempotency_key: str | None = None

    @property
    def tenant(self) -> str:
        """The caller's tenant."""
        return self.caller.tenant

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that sees the caller's tenant only; commits at its end, before the answer is sent."""
        with self.context.database.transaction(self.tenant) as connection:
            yield connection

    def once(self, act: Act, status: int = 200, *, tagged: bool = False) -> Response:
        """Write in a transaction of its own and answer; with an Idempotency-Key, at most once.

        `tagged`: the answer is what was edited as it is now, and carries its ETag.
        """
        with self.transaction() as connection:

            def written() -> tuple[int, str]:
                return status, act(connection).model_dump_json()

            if self.idempotency_key is None:
                outcome = Outcome(*written())
            else:
                outcome = outcomes.once(
                    connection, self.tenant, self.idempotency_key, self.request_hash, written
                )
        return _answer(outcome, tagged=tagged)

    def beyond(self, act: Callable[[], BaseModel]) -> Response:
        """Do what is more than one transaction, such as asking Intuit; a repetition that was answered does nothing.

        An interruption between effect and answer is repeated, so `act` must bear to be.
        """
        if self.idempotency_key is not None:
            with self.transaction() as connection:
                before = outcomes.seen(connection, self.tenant, self.idempotency_key, self.request_hash)
            if before is not None:
                return _answer(before)
        told = act()
        return self.once(lambda _: told)

    def each(self, ids: Iterable[UUID], act: Callable[[Connection, UUID], object]) -> list[Result]:
        """Act on each in a transaction of its own; with an Idempotency-Key, on each at most once."""
        key = self.idempotency_key
        if key is None:
            return list(bulk.each(self.transaction, ids, act))
        with self.transaction() as connection:  # another request under the same key is refused as a whole
            outcomes.once(connection, self.tenant, key, self.request_hash, lambda: (200, ""))

        def once(connection: Connection, one: UUID) -> None:
            def do() -> tuple[int, str]:
                act(connection, one)
                return 200, ""

            outcomes.once(connection, self.tenant, f"{key}/{one}", self.request_hash, do)

        return list(bulk.each(self.transaction, ids, once))

    def alone(self, connection: Connection, what: str) -> None:
        """Be the only one who edits `what` through the API until the transaction ends."""
        connection.execute(_ALONE, {"tenant": self.tenant, "what": what})


def context_of(request: Request) -> Context:
    """The API's context, which `create_app` left on the application."""
    found = request.app.state.context
    assert isinstance(found, Context)
    return found


def authenticated(
    request: Request,
    context: Annotated[Context, Depends(context_of)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_HEADER)],
) -> Caller:
    """The caller behind the key or token of the request, or 401; 429 when it calls too often."""
    secret = bearer.credentials if bearer else header
    if not secret:
        raise _unauthorized("no_key", "send an API key: Authorization: Bearer algasync_...")
    with context.database.engine.begin() as connection:  # no tenant yet: sees no row of anybody
        caller = _caller(connection, secret)
        stands = pace.step(connection, caller)
    request.state.headers = stands.headers()
    request.state.who = {"tenant": caller.tenant, "caller": caller.actor}
    if stands.exceeded:
        sentence = f"more than {stands.per_minute} requests a minute; wait as long as Retry-After says"
        raise ApiError(429, "too_many_requests", sentence)
    return caller


def _caller(connection: Connection, secret: str) -> Caller:
    if tokens.is_token(secret):
        try:
            return tokens.read(connection, secret)
        except BadToken as bad:
            raise _unauthorized(bad.code, str(bad)) from bad
    caller = keys.find(connection, secret)
    if caller is None:
        raise _unauthorized("bad_key", "this API key is unknown, expired or revoked; ask for a new one")
    return caller


def acting(context: Context, request: Request, caller: Caller | None = None) -> Context:
    """The context of one request, whose acts tell where they came from; a browser on its way to Intuit has no key."""
    told = {
        "address": request.client.host if request.client else None,
        "key": str(caller.key_id) if caller else None,
        "user": caller.user if caller else None,
        "request": request.state.request_id,
    }
    via = json.dumps({name: value for name, value in told.items() if value is not None})
    return replace(context, database=context.database.acting(via))


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


def known_parameters(request: Request) -> None:
    """Refuse query parameters that the endpoint does not document: a typing mistake must not widen a request."""
    if not request.query_params:
        return
    known = set(_query_names(request.scope["route"].dependant))
    unknown = [
        {"type": "extra_forbidden", "loc": ("query", name), "msg": "unknown", "input": value}
        for name, value in request.query_params.items()
        if name not in known
    ]
    if unknown:
        raise RequestValidationError(unknown)


def _query_names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (one.alias or name for name, one in kind.model_fields.items())
        else:
            yield field.alias
    for needed in dependant.dependencies:
        yield from _query_names(needed)


def allowed(scope: Scope) -> Callable[..., Work]:
    """A dependency: the request's work, if the caller may do it; else 403."""

    def work(
        request: Request,
        context: Annotated[Context, Depends(context_of)],
        caller: Annotated[Caller, Depends(authenticated)],
        request_hash: Annotated[bytes, Depends(fingerprint)],
        _: Annotated[None, Depends(known_parameters)],
    ) -> Work:
        if not caller.may(scope):
            raise ApiError(
                403, "scope_missing", f"this needs the scope {scope}, which {caller.name} does not have"
            )
        return Work(acting(context, request, caller), caller, request_hash)

    return work


def writing(scope: Scope) -> Callable[..., Work]:
    """As `allowed`, for what writes: a repetition under the same Idempotency-Key does nothing."""

    def work(
        permitted: Work = Depends(allowed(scope)),  # as a default, because annotations do not see `scope`
        idempotency_key: Annotated[
            str | None,
            Header(
                min_length=1,
                max_length=255,
                description="Repeating the request with the same key returns the first outcome.",
            ),
        ] = None,
    ) -> Work:
        return replace(permitted, idempotency_key=idempotency_key)

    return work


def shown(request: Request, model: BaseModel) -> Response:
    """An answer that can be edited, with its ETag; 304 when the caller has it already."""
    body = model.model_dump_json()
    etag = etags.of(body)
    held = request.headers.get("if-none-match")
    if held is not None and etags.matches(held, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return _json(body, 200, {"ETag": etag})


Reader = Annotated[Work, Depends(allowed(Scope.READ))]
Manager = Annotated[Work, Depends(writing(Scope.MANAGE))]
Emitter = Annotated[Work, Depends(writing(Scope.EVENTS))]


def entitled(work: Reader) -> None:
    """Refuse a tenant whose edition does not include QuickBooks."""
    with work.transaction() as connection:
        edition.require(connection, work.tenant)


def _answer(outcome: Outcome, *, tagged: bool = False) -> Response:
    headers = {"Idempotent-Replayed": "true"} if outcome.repeated else {}
    if tagged:
        headers["ETag"] = etags.of(outcome.body)
    return _json(outcome.body, outcome.status, headers)


def _json(body: str, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def _unauthorized(code: str, detail: str) -> ApiError:
    return ApiError(401, code, detail, headers={"WWW-Authenticate": "Bearer"})
