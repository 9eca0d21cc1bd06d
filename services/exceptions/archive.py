"""Dead letters on file: pages of them, and one with its body."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.refusals import missing

STATES = ("open", "replayed", "discarded", "resolved")


@dataclass(frozen=True, slots=True)
class FiledLetter:
    """One letter, without its body. `attempt` above 1: it failed again after a replay."""

    letter_id: UUID
    tenant_id: str | None
    subject: str
    attempt: int
    queue: str
    type: str | None
    reason: str
    code: str
    message: str
    headers: dict[str, Any]
    state: str
    occurrences: int
    replays: int
    operation_id: UUID | None
    event_id: UUID | None
    exception_id: UUID | None
    company_id: UUID | None
    created_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters; None and empty mean all. `reason` is the broker's word or our code."""

    tenant: str | None = None
    states: Collection[str] = ("open",)
    company_id: UUID | None = None
    queue: str | None = None
    reason: str | None = None
    type: str | None = None
    since: datetime | None = None
    ids: Collection[UUID] = ()
    exception_id: UUID | None = None
    operation_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page, oldest first, because letters are worked off in that order; `after` continues it.

    `counts` are of everything the filters match, by state, whatever `states` says.
    """

    letters: list[FiledLetter]
    counts: dict[str, int]
    after: tuple[datetime, UUID] | None


COLUMNS = ", ".join(f"l.{one.name}" for one in fields(FiledLetter))
"""Select list of a `FiledLetter`, for queries that alias the table as `l`."""


def page(
    connection: Connection,
    filters: Filters = Filters(),
    *,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> Page:
    """A page of the letters that the transaction's scope may see, and the counts, from one snapshot."""
    where, values = _where(filters)
    chosen = [*where]
    if filters.states:
        chosen.append("l.state = ANY (CAST(:states AS text[]))")
        values["states"] = list(filters.states)
    if after is not None:
        chosen.append("(l.created_at, l.letter_id) > (:after_at, :after_id)")
        values["after_at"], values["after_id"] = after
    query = f"""
        SELECT counted.counts, p.*
          FROM (SELECT coalesce(jsonb_object_agg(s.state, s.number), '{{}}') AS counts
                  FROM (SELECT l.state, count(*) AS number FROM letter l
                         WHERE {" AND ".join(where)} GROUP BY l.state) s) counted
          LEFT JOIN LATERAL (SELECT {COLUMNS} FROM letter l WHERE {" AND ".join(chosen)}
                              ORDER BY l.created_at, l.letter_id LIMIT :limit) p ON true
         ORDER BY p.created_at, p.letter_id"""  # noqa: S608 - constant fragments
    rows = connection.execute(text(query), values | {"limit": limit + 1}).all()
    found = [FiledLetter(*row[1:]) for row in rows if row.letter_id is not None]
    counts = dict.fromkeys(STATES, 0) | rows[0].counts
    more = len(found) > limit
    found = found[:limit]
    return Page(found, counts, (found[-1].created_at, found[-1].letter_id) if more else None)


def get(connection: Connection, letter_id: UUID, *, lock: bool = False) -> FiledLetter:
    """One letter, locked for change when asked for. Raises `Refusal`."""
    query = f"SELECT {COLUMNS} FROM letter l WHERE l.letter_id = :id"  # noqa: S608 - constant columns
    row = connection.execute(text(query + (" FOR UPDATE" if lock else "")), {"id": letter_id}).one_or_none()
    if row is None:
        raise missing(f"there is no dead letter {letter_id}")
    return FiledLetter(*row)


def body(connection: Connection, letter_id: UUID) -> bytes:
    """The message of a letter, byte by byte as it died."""
    return bytes(
        connection.execute(
            text("SELECT body FROM letter WHERE letter_id = :id"), {"id": letter_id}
        ).scalar_one()
    )


def _where(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    """Conditions on `l`, except the states."""
    where, values = ["true"], dict[str, Any]()
    for condition, name, value in (
        ("l.tenant_id = :tenant", "tenant", filters.tenant),
        ("l.company_id = :company_id", "company_id", filters.company_id),
        ("l.queue = :queue", "queue", filters.queue),
        ("(l.reason = :reason OR l.code = :reason)", "reason", filters.reason),
        ("l.type IN (:type, 'com.algapsa.billing.' || :type)", "type", filters.type),
        ("l.created_at >= :since", "since", filters.since),
        ("l.exception_id = :exception_id", "exception_id", filters.exception_id),
        ("l.operation_id = :operation_id", "operation_id", filters.operation_id),
    ):
        if value is not None:
            where.append(condition)
            values[name] = value
    if filters.ids:
        where.append("l.letter_id = ANY (CAST(:ids AS uuid[]))")
        values["ids"] = list(filters.ids)
    return where, values
