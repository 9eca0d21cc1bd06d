"""Errors as the API tells them: application/problem+json that names the field, the cause and the request.

https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from messages import BadJson, BadMessage, TooDeep, TooLarge
from outbox import EmitError
from services.quickbooks.errors import QuickBooksError
from services.refusals import Refusal

MEDIA_TYPE = "application/problem+json"

_STATUS = {"invalid": 422, "missing": 404, "conflict": 409, "forbidden": 403}
_BODY_STATUS = {BadJson: 400, TooDeep: 400, TooLarge: 413}
_EMIT_STATUS = {"refused": 422, "key_reused": 409, "wrong_tenant": 403}

_log = structlog.get_logger()


class FieldError(BaseModel):
    """One field at fault."""

    field: str = Field(description="Where: `body.client_id`, `query.limit`, `data.lines[2].net_amount`.")
    message: str = Field(description="What is wrong with it, and what is expected.")


class Problem(BaseModel):
    """Why a request was refused. Nothing was changed."""

    type: str = Field(description="The code again, as a URN.")
    title: str = Field(description="The status in words.")
    status: int
    code: str = Field(description="A stable word for programs.")
    detail: str = Field(description="What happened, why, and what to do next.")
    errors: list[FieldError] = Field(description="Every field at fault; empty when it is not about a field.")
    request_id: str = Field(description="Name it when you ask for help.")


class ApiError(Exception):
    """Something the API itself refuses, before any service is asked."""

    def __init__(
        self, status: int, code: str, detail: str, *, field: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = [FieldError(field=field, message=detail)] if field else []
        self.headers = headers or {}


def response(
    request: Request,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem as a response."""
    problem = Problem(
        type=f"urn:algasync:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=list(errors),
        request_id=getattr(request.state, "request_id", ""),
    )
    return JSONResponse(problem.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Answer every kind of failure with a problem; `routes` are the endpoints there are."""

    @app.exception_handler(ApiError)
    def api_error(request: Request, error: ApiError) -> Response:
        return response(request, error.status, error.code, error.detail, error.errors, error.headers)

    @app.exception_handler(Refusal)
    def refused(request: Request, refusal: Refusal) -> Response:
        errors = [FieldError(field=refusal.field, message=refusal.sentence)] if refusal.field else []
        return response(request, _STATUS[refusal.kind], refusal.code, refusal.sentence, errors)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [_field_error(one) for one in error.errors()]
        if any(one["type"] == "json_invalid" for one in error.errors()):
            return response(request, 400, "bad_json", "the body is not JSON", errors)
        return response(request, 422, "invalid_request", "; ".join(map(_said, errors)), errors)

    @app.exception_handler(BadMessage)
    def bad_message(request: Request, error: BadMessage) -> Response:
        errors = [FieldError(field=one.field, message=one.message) for one in error.problems]
        status = next((code for kind, code in _BODY_STATUS.items() if isinstance(error, kind)), 422)
        return response(request, status, error.reason, "; ".join(map(_said, errors)), errors)

    @app.exception_handler(EmitError)
    def not_emitted(request: Request, error: EmitError) -> Response:
        errors = [FieldError(field="id", message=str(error))] if error.reason == "key_reused" else []
        return response(request, _EMIT_STATUS[error.reason], error.reason, str(error), errors)

    @app.exception_handler(QuickBooksError)
    def quickbooks(request: Request, error: QuickBooksError) -> Response:
        return response(request, 502, "quickbooks_failed", str(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}.get(
            error.status_code, "http"
        )
        detail = {
            404: f"there is nothing at {request.url.path}; see /docs",
            405: f"{request.url.path} does not take {request.method}; see /docs",
        }.get(error.status_code, str(error.detail))
        errors = [FieldError(field="body", message=detail)] if error.status_code == 413 else []
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(request, routes))
        return response(request, error.status_code, code, detail, errors, headers)

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    def database_away(request: Request, error: Exception) -> Response:
        _log.error("database_unavailable", error=type(error).__name__)
        detail = "the database does not answer; nothing was changed, try again in some seconds"
        return response(request, 503, "database_unavailable", detail, headers={"Retry-After": "5"})

    @app.exception_handler(ClientDisconnect)
    def left(request: Request, error: ClientDisconnect) -> Response:
        detail = "the connection ended before the whole body had arrived"  # nobody is there to read it
        return response(request, 400, "incomplete_body", detail)

    @app.exception_handler(Exception)
    def surprise(request: Request, error: Exception) -> Response:
        detail = "an unexpected error on our side; name the request id when you ask for help"
        return response(request, 500, "internal_error", detail)


def _methods(request: Request, routes: Sequence[BaseRoute]) -> list[str]:
    """What the address takes, by all its endpoints: Starlette names those of the first one only."""
    matching = [one for one in routes if one.matches(request.scope)[0] is not Match.NONE]
    taken = {method for one in matching for method in getattr(one, "methods", None) or ()}
    return sorted(taken | {"HEAD"} if "GET" in taken else taken)


def _said(error: FieldError) -> str:
    return f"{error.field}: {error.message}"


def _field_error(error: dict[str, Any]) -> FieldError:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return FieldError(
            field=where, message="is not a field of this request; see /docs for those there are"
        )
    return FieldError(field=where, message=error["msg"])
