"""Around every request: an id that appears in answers and logs, a limit on bodies, a log line, metrics."""

from __future__ import annotations

import re
import time

import structlog
from fastapi import HTTPException, Request
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from services.api import problems

MAX_BODY = 8 * 1024 * 1024
"""Bytes. One event has at most 1 MB; a batch of events may hold several."""

_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REQUESTS = Counter(
    "algasync_api_requests", "Requests to the API by route, method and status.", ["method", "route", "status"]
)
_SECONDS = Histogram(
    "algasync_api_seconds",
    "Time to answer, in seconds, by route.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_log = structlog.get_logger()


class Requests:
    """The ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _GIVEN_ID.fullmatch(given) else str(uuid7())
        scope.setdefault("state", {})["request_id"] = request_id
        if b"%00" in scope.get("raw_path", b"") + scope["query_string"]:
            said = "the address holds a NUL character (%00), which nothing here can be named by"
            await problems.response(Request(scope), 400, "bad_address", said)(scope, receive, send)
            return
        # What GET shows, HEAD shows without its body. https://www.rfc-editor.org/rfc/rfc9110#name-head
        head = scope["method"] == "HEAD"
        if head:
            scope = {**scope, "method": "GET"}
        started, status, read = time.perf_counter(), 500, 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY:
                raise HTTPException(413, f"the body is larger than {MAX_BODY} bytes; send smaller batches")
            return message

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in (scope["state"].get("headers", {}) | _HEADERS).items():
                    headers.setdefault(name, value)
            elif head:
                message = {**message, "body": b""}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, bounded, answered)
            except Exception:
                _log.exception("request_failed", method=scope["method"], path=scope["path"])
                raise
            finally:
                seconds = time.perf_counter() - started
                # The template, not the path: ids in labels would make a time series each.
                route = getattr(scope.get("route"), "path", "unknown")
                _REQUESTS.labels(scope["method"], route, status).inc()
                _SECONDS.labels(route).observe(seconds)
                _log.info(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    milliseconds=round(seconds * 1000),
                    **scope["state"].get("who", {}),
                )
