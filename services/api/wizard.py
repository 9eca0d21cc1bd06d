"""What the wizard's endpoints share: the run they work on, and lists of matches continued where they stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from services.api.paging import cursor_of, texts_of
from services.api.shapes import Given
from services.api.work import Work
from services.onboarding import runs
from services.onboarding.releases import Releases
from services.onboarding.runs import Run

T = TypeVar("T")


class MatchQuery(Given):
    """Which matches to list."""

    status: str = Field(default="", max_length=20, description="Only this status.")
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of the page before.")


class Linked(BaseModel):
    """How many were linked just now."""

    model_config = ConfigDict(extra="forbid")

    linked: int


def opened(work: Work, run_id: UUID) -> Run:
    """The run, which must be open. Raises `Refusal`."""
    with work.transaction() as connection:
        return runs.opened(connection, run_id)


def known(work: Work, run_id: UUID) -> Run:
    """The run, whatever its state. Raises `Refusal`."""
    with work.transaction() as connection:
        return runs.get(connection, run_id)


def hook(work: Work) -> Callable[[Connection, str, str], None]:
    """Start again what failed for a missing link."""
    return Releases(work.caller.actor, "the wizard linked what it lacked")


def page(
    found: Sequence[T], query: MatchQuery, place: Callable[[T], Sequence[str]], status: Callable[[T], str]
) -> tuple[list[T], str | None]:
    """The rows of one page and the cursor of the next; rows that change their status meanwhile are not repeated."""
    after = texts_of(query.cursor, len(place(found[0]))) if found else None
    if after is not None:
        places = [list(place(one)) for one in found]
        found = found[places.index(after) + 1 :] if after in places else []
    shown: list[T] = []
    for one in found:
        if query.status in ("", status(one)):
            if len(shown) == query.limit:
                return shown, cursor_of(list(place(shown[-1])))
            shown.append(one)
    return shown, None
