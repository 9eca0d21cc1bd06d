"""The same act on many things: a transaction each, and a result each, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from services.refusals import Refusal

BUSY = frozenset({"40P01", "55P03"})
"""deadlock_detected and lock_not_available: somebody else works on the row; the act may simply be repeated."""

Begin = Callable[[], AbstractContextManager[Connection]]
Act = Callable[[Connection, UUID], object]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one. `code` is done, or the stable word of why not; `message` says it in words."""

    id: UUID
    code: str
    message: str

    @property
    def done(self) -> bool:
        """Whether the act was carried out."""
        return self.code == "done"


def each(begin: Begin, ids: Iterable[UUID], act: Act) -> Iterator[Result]:
    """Act on each in a transaction that `begin` opens. Ends only with the ids, or with the database."""
    for one in ids:
        try:
            with begin() as connection:
                act(connection, one)
        except Refusal as refusal:
            yield Result(one, refusal.code, refusal.sentence)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in BUSY:
                raise
            yield Result(one, "busy", f"somebody else works on {one}; try again")
        else:
            yield Result(one, "done", "")
