"""The exception list as CSV, for whoever works it off in a spreadsheet."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from messages.money import to_decimal
from services import spreadsheets
from services.exceptions import exceptions
from services.exceptions.exceptions import Filters, Sort, SyncException
from services.spreadsheets import Cell

MOST: Final = 50_000
"""Rows of a file; what is older is found with narrower filters."""

COLUMNS: Final = (
    "exception_id",
    "opened",
    "last_seen",
    "state",
    "type",
    "code",
    "title",
    "happened",
    "why",
    "fix",
    "about",
    "id",
    "number",
    "client",
    "company",
    "direction",
    "amount",
    "currency",
    "times",
    "assigned_to",
    "resolution",
    "cause",
)


def csv(connection: Connection, filters: Filters, sort: Sort = "newest") -> str:
    """All that the filters match, at most `MOST` rows, as one text with a heading."""
    found = exceptions.page(connection, filters, sort=sort, limit=MOST).exceptions
    return spreadsheets.write(COLUMNS, map(_row, found))


def _row(one: SyncException) -> tuple[Cell, ...]:
    amount = None
    if one.amount is not None and one.currency is not None:
        amount = to_decimal(one.amount, one.currency)
    return (
        str(one.exception_id),
        one.created_at,
        one.last_seen_at,
        one.state,
        one.type,
        one.code,
        one.title,
        one.happened,
        one.why,
        one.fix,
        one.entity_kind,
        one.entity_id,
        one.number,
        one.client_name or one.client_id,
        one.company_name,
        one.direction,
        amount,
        one.currency,
        one.occurrences,
        one.assignee,
        one.resolution,
        one.cause,
    )
