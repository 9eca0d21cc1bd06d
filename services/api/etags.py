"""Versions of what is edited: an ETag for each, and writes that go through only if nobody was faster.

https://www.rfc-editor.org/rfc/rfc9110#name-conditional-requests
"""

from __future__ import annotations

import hashlib
from typing import Final

from services.api.problems import ApiError

ANY: Final = "*"
NONE: Final = ""
"""The ETag of what is not there: no header matches it."""


def of(shown: str) -> str:
    """The ETag of what is shown, as JSON: the same for the same content."""
    return f'"{hashlib.sha256(shown.encode()).hexdigest()[:32]}"'


def matches(header: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match header names this version."""
    named = [one.strip().removeprefix("W/") for one in header.split(",")]
    return etag in named or (ANY in named and etag != NONE)


def require(header: str | None, etag: str) -> None:
    """Refuse with 412 unless the caller has seen what is there now. Without the header nothing is asked for."""
    if header is not None and not matches(header, etag):
        raise ApiError(
            412,
            "changed_meanwhile",
            "somebody changed it since you read it; read it again, decide anew, and send its present ETag",
            field="header.If-Match",
        )
