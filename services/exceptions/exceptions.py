"""The exception list: pages with counts that agree with them, and everything about one exception."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import archive, pointers, versions
from services.exceptions.archive import FiledLetter
from services.exceptions.pointers import Pointer
from services.exceptions.versions import Side
from services.ledger import timeline
from services.ledger.timeline import Entry
from services.refusals import missing

STATES = ("open", "in_progress", "ignored", "resolved")
NEED_SOMEBODY = ("open", "in_progress")


@dataclass(frozen=True, slots=True)
class SyncException:
    """One row of the list. `amount` is in minor units of `currency`."""

    exception_id: UUID
    tenant_id: str
    type: str
    entity_kind: str
    entity_id: str
    company_id: UUID | None
    state: str
    cause: str
    code: str
    title: str
    happened: str
    why: str
    fix: str
    details: dict[str, Any]
    client_id: str | None
    direction: str
    amount: int | None
    currency: str | None
    operation_id: UUID | None
    occurrences: int
    assignee: str | None
    resolution: str | None
    created_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    number: str | None  # the document's own
    client_name: str | None
    company_name: str | None
    operation_state: str | None
    operation_attempt: int | None


Sort = Literal["newest", "oldest", "seen", "amount"]
"""Newest or oldest first, last seen first, or the largest amount first, as a number of minor units."""

Place = tuple[datetime | int, UUID]
"""Where a page ended: the value it is sorted by, and the id."""

_ORDER: dict[Sort, tuple[str, str]] = {  # expression, direction
    "newest": ("e.created_at", "DESC"),
    "oldest": ("e.created_at", "ASC"),
    "seen": ("e.last_seen_at", "DESC"),
    "amount": ("coalesce(abs(e.amount), -1)", "DESC"),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which exceptions; None and empty mean all. `since` and `before` judge when it was opened.

    Amounts are minor units without sign, so that a credit note is found by what is on it. `search` is looked for
    in title, words, the document's id and number and the client's name.
    """

    tenant: str | None = None
    states: Collection[str] = NEED_SOMEBODY
    type: str | None = None
    cause: str | None = None
    company_id: UUID | None = None
    client_id: str | None = None
    direction: str | None = None
    entity: tuple[str, str] | None = None
    since: datetime | None = None
    before: datetime | None = None
    code: str | None = None
    assignee: str | None = None
    amount_from: int | None = None
    amount_to: int | None = None
    search: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `counts` are of everything the filters match, by state, whatever `states` says.

    `after` continues the list; None at its end.
    """

    exceptions: list[SyncException]
    counts: dict[str, int]
    after: Place | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One exception: its letters, what was done about it (oldest first), both versions, and where to go."""

    exception: SyncException
    letters: list[FiledLetter]
    history: list[Entry] = field(default_factory=list)
    versions: list[Side] = field(default_factory=list)
    links: list[Pointer] = field(default_factory=list)


_OWN = [
    name
    for name in (one.name for one in fields(SyncException))
    if name not in {"number", "client_name", "company_name", "operation_state", "operation_attempt"}
]
_COLUMNS = ", ".join(f"e.{name}" for name in _OWN) + (
    ", d.number, coalesce(d.client_name, c.client_name) AS client_name, k.name AS company_name"
    ", o.state AS operation_state, o.attempt AS operation_attempt"
)
_JOINS = """LEFT JOIN document d ON d.tenant_id = e.tenant_id AND d.kind = e.entity_kind
                                AND d.document_id = e.entity_id
            LEFT JOIN company k ON k.company_id = e.company_id
            LEFT JOIN operation o ON o.operation_id = e.operation_id
            LEFT JOIN LATERAL (SELECT client_name FROM document x
                                WHERE x.tenant_id = e.tenant_id AND x.client_id = e.client_id
                                ORDER BY x.document_date DESC LIMIT 1) c ON d.client_name IS NULL"""


_SEARCH = """(e.title ILIKE :search OR e.happened ILIKE :search OR e.entity_id ILIKE :search OR EXISTS (
    SELECT FROM document s WHERE s.tenant_id = e.tenant_id AND (s.number ILIKE :search OR s.client_name ILIKE :search)
       AND s.kind = e.entity_kind AND s.document_id = e.entity_id))"""


def page(
    connection: Connection,
    filters: Filters = Filters(),
    *,
    sort: Sort = "newest",
    after: Place | None = None,
    limit: int = 50,
) -> Page:
    """A page of the list and the counts, from one snapshot of the database."""
    where, values = _where(filters)
    chosen = [*where]
    if filters.states:
        chosen.append("e.state = ANY (CAST(:states AS text[]))")
        values["states"] = list(filters.states)
    by, direction = _ORDER[sort]
    if after is not None:
        chosen.append(
            f"({by}, e.exception_id) {'<' if direction == 'DESC' else '>'} (:after_value, :after_id)"
        )
        values["after_value"], values["after_id"] = after
    order = f"{by} {direction}, e.exception_id {direction}"
    query = f"""
        SELECT counted.counts, p.*
          FROM (SELECT coalesce(jsonb_object_agg(s.state, s.number), '{{}}') AS counts
                  FROM (SELECT e.state, count(*) AS number FROM exception e
                         WHERE {" AND ".join(where)} GROUP BY e.state) s) counted
          LEFT JOIN LATERAL (
            SELECT {_COLUMNS}
              FROM (SELECT * FROM exception e WHERE {" AND ".join(chosen)} ORDER BY {order} LIMIT :limit) e
              {_JOINS}) p ON true
         ORDER BY {order.replace("e.", "p.")}"""  # noqa: S608 - constant fragments
    rows = connection.execute(text(query), values | {"limit": limit + 1}).all()
    found = [SyncException(*row[1:]) for row in rows if row.exception_id is not None]
    counts = dict.fromkeys(STATES, 0) | rows[0].counts
    more = len(found) > limit
    found = found[:limit]
    return Page(found, counts, _place(found[-1], sort) if more else None)


def _place(last: SyncException, sort: Sort) -> Place:
    value: datetime | int = last.last_seen_at if sort == "seen" else last.created_at
    if sort == "amount":
        value = -1 if last.amount is None else abs(last.amount)
    return value, last.exception_id


def get(connection: Connection, exception_id: UUID) -> SyncException:
    """One exception; raises `Refusal`."""
    query = f"SELECT {_COLUMNS} FROM exception e {_JOINS} WHERE e.exception_id = :id"  # noqa: S608 - constant
    row = connection.execute(text(query), {"id": exception_id}).one_or_none()
    if row is None:
        raise missing(f"there is no exception {exception_id}")
    return SyncException(*row)


def show(connection: Connection, exception_id: UUID) -> Shown:
    """One exception with everything around it; raises `Refusal`."""
    found = get(connection, exception_id)
    letters = archive.page(
        connection, archive.Filters(states=(), exception_id=exception_id), limit=100
    ).letters
    ours = {str(exception_id), str(found.operation_id)}
    history = [
        entry
        for entry in timeline.read(connection, found.tenant_id, found.entity_kind, found.entity_id)
        if {str(entry.details.get("exception_id")), str(entry.details.get("operation_id"))} & ours
    ]
    return Shown(
        found, letters, history, versions.side_by_side(connection, found), pointers.of(connection, found)
    )


def _where(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    """Conditions on `e`, except the states."""
    where, values = ["true"], dict[str, Any]()
    for column, value in (
        ("tenant_id", filters.tenant),
        ("type", filters.type),
        ("cause", filters.cause),
        ("company_id", filters.company_id),
        ("client_id", filters.client_id),
        ("direction", filters.direction),
        ("code", filters.code),
        ("assignee", filters.assignee),
    ):
        if value is not None:
            where.append(f"e.{column} = :{column}")
            values[column] = value
    if filters.entity is not None:
        where.append("e.entity_kind = :entity_kind AND e.entity_id = :entity_id")
        values["entity_kind"], values["entity_id"] = filters.entity
    if filters.since is not None:
        where.append("e.created_at >= :since")
        values["since"] = filters.since
    if filters.before is not None:
        where.append("e.created_at < :before")
        values["before"] = filters.before
    if filters.amount_from is not None:
        where.append("abs(e.amount) >= :amount_from")
        values["amount_from"] = filters.amount_from
    if filters.amount_to is not None:
        where.append("abs(e.amount) <= :amount_to")
        values["amount_to"] = filters.amount_to
    if filters.search:
        where.append(_SEARCH)
        values["search"] = "%" + re.sub(r"([\\%_])", r"\\\1", filters.search) + "%"
    return where, values
