"""Cursors: opaque to callers, a place in an order to us. A list continued by one neither repeats nor skips rows."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.api.problems import ApiError

T = TypeVar("T")


class PageQuery(BaseModel):
    """What every list takes. Unknown parameters are refused, so a typing mistake never widens a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200, description="Rows a page.")
    cursor: str | None = Field(default=None, max_length=500, description="`next_cursor` of the page before.")


class Page(BaseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    next_cursor: str | None = Field(description="Continues the list; null at its end.")


def cursor_of(place: Sequence[object] | None) -> str | None:
    """Write a place in an order as a cursor."""
    if place is None:
        return None
    parts = [part.isoformat() if isinstance(part, datetime) else str(part) for part in place]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def texts_of(cursor: str | None, count: int, name: str = "cursor") -> list[str] | None:
    """Read a cursor of so many texts, given as `name`; raises `ApiError` for one that is not ours."""
    if cursor is None:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise _not_ours(name) from None
    if not isinstance(parts, list) or len(parts) != count or not all(isinstance(one, str) for one in parts):
        raise _not_ours(name)
    return parts


def moment_of(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Read a cursor made of a moment and an id."""
    parts = texts_of(cursor, 2)
    try:
        return (datetime.fromisoformat(parts[0]), UUID(parts[1])) if parts else None
    except ValueError:
        raise _not_ours() from None


def behind_of(cursor: str | None, count: int) -> tuple[UUID, list[str]] | None:
    """Read a cursor made of an id and so many texts."""
    parts = texts_of(cursor, 1 + count)
    if parts is None:
        return None
    if any("\0" in part for part in parts):
        raise _not_ours()
    try:
        return UUID(parts[0]), parts[1:]
    except ValueError:
        raise _not_ours() from None


def number_of(cursor: str | None) -> tuple[int, UUID] | None:
    """Read a cursor made of a number and an id."""
    parts = texts_of(cursor, 2)
    try:
        return (int(parts[0][:20]), UUID(parts[1])) if parts else None
    except ValueError:
        raise _not_ours() from None


def position_of(cursor: str | None, name: str = "cursor") -> int:
    """Read a cursor made of a position; 0 without one."""
    parts = texts_of(cursor, 1, name)
    if parts is None:
        return 0
    if not parts[0].isascii() or not parts[0].isdigit() or len(parts[0]) > 18:
        raise _not_ours(name)
    return int(parts[0])


def _not_ours(name: str = "cursor") -> ApiError:
    sentence = "this is no cursor of this list; send back the one you were given as it is"
    return ApiError(422, "bad_cursor", sentence, field=f"query.{name}")
