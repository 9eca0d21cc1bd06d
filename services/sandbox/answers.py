"""Answers that are none: a connection cut before or within the answer, or left hanging."""

from __future__ import annotations

import asyncio
from asyncio import Transport
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

TRANSPORT = "sandbox.transport"


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with the connection within reach of the application."""

    def on_message_begin(self) -> None:
        """Put the connection into the scope of the request that starts."""
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # a TypedDict without our extension
        scope["extensions"] = {TRANSPORT: self.transport}


class Cut(Response):
    """The connection is closed without a byte."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Instead of answering."""
        _transport(scope).abort()
        await _gone(receive)


class CutWithin(Response):
    """Headers and half of the body of another answer, then the connection is closed."""

    def __init__(self, whole: Response) -> None:
        super().__init__()
        self.whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Instead of answering."""
        body = bytes(self.whole.body)
        start = {
            "type": "http.response.start",
            "status": self.whole.status_code,
            "headers": self.whole.raw_headers,
        }
        await send(start)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        _transport(scope).close()  # close, not abort: what was written still goes out
        await _gone(receive)


class Hang(Response):
    """No answer; the connection stays open for `seconds` (0: until the client leaves)."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Instead of answering."""
        try:
            await asyncio.wait_for(_gone(receive), self.seconds or None)
        except TimeoutError:
            _transport(scope).abort()
            await _gone(receive)


SILENT = (Cut, CutWithin, Hang)


def _transport(scope: Scope) -> Transport:
    transport: Transport = scope["extensions"][TRANSPORT]
    return transport


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
