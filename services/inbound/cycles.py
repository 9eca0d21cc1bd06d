"""Cycles: each reading of a company's changes, with what is left to ask and its certificate of completeness.

The cursor is the company's: everything that changed before it is stored. It moves when a cycle is complete, to the
time that QuickBooks' first answer of the cycle bore, and never otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.inbound import asking
from services.inbound.asking import Question
from services.inbound.sightings import Sighting

State = Literal["running", "complete", "incomplete"]


@dataclass(frozen=True, slots=True)
class Cycle:
    """A cycle and its certificate.

    `answered` counts the objects in all answers by entity, `outcomes` what they were: new, seen (an older or the same
    version), echo (our own), unlinked and unmapped (not ours to follow). `resolution` says step by step how answers
    that may have been cut were made whole. `reads` is what the cycle cost. A cycle is complete when everything
    between `asked_from` and `cursor_after` was seen.
    """

    company_id: UUID
    number: int
    tenant_id: str
    operation_id: UUID
    cause: str
    state: State
    reason: str | None
    cursor_before: datetime
    asked_from: datetime
    cursor_after: datetime | None
    todo: list[dict[str, Any]]
    answered: dict[str, int]
    outcomes: dict[str, int]
    resolution: list[str]
    reads: int
    started_at: datetime
    finished_at: datetime | None

    @property
    def questions(self) -> list[Question]:
        """What is left to ask, in order."""
        return [asking.from_json(stored) for stored in self.todo]


_COLUMNS = ", ".join(field.name for field in fields(Cycle))
_OPEN = text(
    """INSERT INTO poll_cycle (company_id, number, tenant_id, operation_id, cause, cursor_before, asked_from, todo)
       VALUES (:company, :number, :tenant, :operation, :cause, :cursor, :asked_from, CAST(:todo AS jsonb))"""
)
_OF_OPERATION = text(f"SELECT {_COLUMNS} FROM poll_cycle WHERE operation_id = :operation")  # noqa: S608 - constant columns
_PAGE = text(
    f"""SELECT {_COLUMNS} FROM poll_cycle WHERE company_id = :company AND number < :before
         ORDER BY number DESC LIMIT :limit"""  # noqa: S608 - constant columns
)
_ANSWERED = text(
    """UPDATE poll_cycle SET todo = CAST(:todo AS jsonb), answered = CAST(:answered AS jsonb), state = 'running',
              outcomes = CAST(:outcomes AS jsonb), resolution = resolution || CAST(:resolution AS jsonb),
              reads = reads + :reads, reason = NULL, cursor_after = coalesce(cursor_after, :time)
        WHERE operation_id = :operation"""
)
# A cursor that somebody set while the cycle was under way stays: it asks for more than the cycle saw. What the feed
# did not answer alone is asked for again from so far back as queries may not have shown it.
_COMPLETE = text(
    """WITH whole AS (
         UPDATE poll_cycle SET state = 'complete', finished_at = clock_timestamp()
          WHERE operation_id = :operation RETURNING company_id, cursor_before, cursor_after
                - CASE WHEN resolution = '[]' THEN interval '0' ELSE CAST(:lag AS interval) END AS reached),
       seen AS (DELETE FROM poll_seen s USING whole w WHERE s.company_id = w.company_id)
       UPDATE change_feed f SET cursor = greatest(f.cursor, w.reached) FROM whole w
        WHERE f.company_id = w.company_id AND f.cursor = w.cursor_before"""
)
_ASKING = text(
    """UPDATE poll_cycle SET todo = CAST(:todo AS jsonb), resolution = resolution || CAST(:resolution AS jsonb)
        WHERE operation_id = :operation"""
)
_INCOMPLETE = text(
    "UPDATE poll_cycle SET state = 'incomplete', reason = :reason WHERE operation_id = :operation AND state = 'running'"
)
_MET = text(
    """INSERT INTO poll_seen (company_id, tenant_id, entity, external_id)
       SELECT :company, :tenant, :entity, u.id FROM unnest(CAST(:ids AS text[])) AS u (id) ON CONFLICT DO NOTHING"""
)
# What is younger than the answer's lag is left to the next cycle: a query may not show it yet.
_MISSING = text(
    """SELECT k.id, count(*) OVER () AS total FROM (
         SELECT external_id AS id FROM link
          WHERE company_id = :company AND external_type = :entity AND state IN ('synced', 'drift')
            AND created_at < :before
         UNION SELECT o.external_id FROM quickbooks_object o JOIN quickbooks_change c USING (change_id)
          WHERE o.company_id = :company AND o.entity = :entity AND NOT o.deleted AND c.seen_at < :before
            AND o.external_id NOT LIKE 'unreadable-%'
         UNION SELECT external_id FROM mapping
          WHERE company_id = :company AND :entity = 'Customer' AND kind IN ('customer', 'billing_profile')
            AND updated_at < :before) k
        WHERE NOT EXISTS (SELECT FROM poll_seen s
                           WHERE s.company_id = :company AND s.entity = :entity AND s.external_id = k.id)
        ORDER BY k.id LIMIT :limit"""
)
LAG = timedelta(minutes=15)
"""How long what was written may take to show in a query; Intuit names no limit."""


def begin(
    connection: Connection,
    *,
    company_id: UUID,
    number: int,
    tenant: str,
    operation_id: UUID,
    cause: str,
    cursor: datetime,
    asked_from: datetime,
    questions: Sequence[Question],
) -> None:
    """Write a new cycle down."""
    values = {
        "company": company_id,
        "number": number,
        "tenant": tenant,
        "operation": operation_id,
        "cause": cause,
        "cursor": cursor,
        "asked_from": asked_from,
        "todo": written(questions),
    }
    connection.execute(_OPEN, values)


def of_operation(connection: Connection, operation_id: UUID) -> Cycle:
    """The cycle that an operation carries out."""
    return Cycle(*connection.execute(_OF_OPERATION, {"operation": operation_id}).one())


def page(
    connection: Connection, company_id: UUID, *, before: int | None = None, limit: int = 50
) -> list[Cycle]:
    """Certificates of a company, the newest first, from below number `before`."""
    values = {"company": company_id, "before": 2**62 if before is None else before, "limit": limit}
    return [Cycle(*row) for row in connection.execute(_PAGE, values)]


def asking_for(
    connection: Connection, cycle: Cycle, questions: Sequence[Question], resolution: Sequence[str] = ()
) -> None:
    """Note what is asked next, so that its answer can be read."""
    values = {
        "operation": cycle.operation_id,
        "todo": written(questions),
        "resolution": json.dumps(list(resolution)),
    }
    connection.execute(_ASKING, values)


def answered(
    connection: Connection,
    cycle: Cycle,
    *,
    time: datetime | None,
    sightings: Sequence[Sighting],
    outcomes: Mapping[str, int],
    questions: Sequence[Question],
    resolution: Iterable[str],
    reads: int,
) -> None:
    """Take an answer into the certificate; `questions` are left.

    `time` of the first answer is where the cursor will go.
    """
    counts = Counter(cycle.answered) + Counter(sighting.entity for sighting in sightings)
    values = {
        "operation": cycle.operation_id,
        "todo": written(questions),
        "answered": json.dumps(counts),
        "outcomes": json.dumps(Counter(cycle.outcomes) + Counter(outcomes)),
        "resolution": json.dumps(list(resolution)),
        "reads": reads,
        "time": time,
    }
    connection.execute(_ANSWERED, values)


def complete(connection: Connection, operation_id: UUID, lag: timedelta = LAG) -> None:
    """Everything was seen: the certificate says so and the cursor moves."""
    connection.execute(_COMPLETE, {"operation": operation_id, "lag": lag})


def incomplete(connection: Connection, operation_id: UUID, reason: str) -> None:
    """A part was not seen, and this is why; the cursor stays."""
    connection.execute(_INCOMPLETE, {"operation": operation_id, "reason": reason})


def met(connection: Connection, cycle: Cycle, entity: str, ids: Sequence[str]) -> None:
    """Note objects that live."""
    values = {"company": cycle.company_id, "tenant": cycle.tenant_id, "entity": entity, "ids": list(ids)}
    connection.execute(_MET, values)


@dataclass(frozen=True, slots=True)
class Missing:
    """Objects we know and have not met in this cycle: some of their ids, and how many they are."""

    ids: list[str]
    total: int


def missing(connection: Connection, cycle: Cycle, entity: str, limit: int, lag: timedelta = LAG) -> Missing:
    """What is to be looked for by id, as far as it was there `lag` before the cycle began."""
    values = {
        "company": cycle.company_id,
        "entity": entity,
        "before": cycle.started_at - lag,
        "limit": limit,
    }
    rows = connection.execute(_MISSING, values).all()
    return Missing([row.id for row in rows], rows[0].total if rows else 0)


def written(questions: Sequence[Question]) -> str:
    """The questions as JSON text."""
    return json.dumps([question.to_json() for question in questions])
