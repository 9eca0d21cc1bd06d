"""Operations: what we owe QuickBooks or billing, one row each, from opening to a recorded outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import simplejson
import uuid_utils
from sqlalchemy import Connection, text


class State(StrEnum):
    """The words of the Sync Health card."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SCHEDULED = "scheduled"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    DISCARDED = "discarded"


FINISHED = frozenset({State.SUCCEEDED, State.SKIPPED, State.DISCARDED})
"""States that nothing leaves; `failed` is not among them, it rests with a person."""


class Lane(StrEnum):
    """Order of dispatch within a company."""

    URGENT = "urgent"
    NORMAL = "normal"
    BACKFILL = "backfill"
    LOCAL = (
        "local"  # needs no call to QuickBooks, so it waits neither for call limits nor for the other lanes
    )

    @property
    def rank(self) -> int:
        """The number stored in the database, 0 first."""
        return list(Lane).index(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation that an event asks for, before it is opened."""

    kind: str
    queue: str
    company_id: UUID | None
    company_condition: str = "default"  # what to wait for when company_id is None
    lane: Lane = Lane.NORMAL
    payload: Mapping[str, Any] = field(default_factory=dict)
    supersedes: frozenset[str] = frozenset()  # kinds of unsent steps of the document that it makes pointless


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the operation table."""

    operation_id: UUID
    tenant_id: str
    company_id: UUID | None
    kind: str
    queue: str
    lane: int
    document_kind: str
    document_id: str
    revision: int
    repair: int
    event_id: UUID | None
    payload: dict[str, Any]
    state: str
    attempt: int
    tries: int
    due_at: datetime
    dispatched_at: datetime | None
    lease_token: UUID | None
    lease_until: datetime | None
    outcome: str
    generation: int
    requestid: str | None
    call: dict[str, Any] | None
    called_at: datetime | None
    reply_digest: str | None
    intuit_tid: str | None
    reason_code: str | None
    reason: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """Whether an outcome is recorded that nothing changes any more."""
        return self.state in FINISHED

    @property
    def steps(self) -> int:
        """How many calls of an effect that takes several are answered."""
        return int(self.payload.get("steps", 0))

    @property
    def seen(self) -> dict[str, Any] | None:
        """What was read in QuickBooks after a refusal, for the next decision; see `Handler.inspect`."""
        seen = self.payload.get("seen")
        return None if seen is None else simplejson.loads(seen, use_decimal=True)


COLUMNS = ", ".join(f"o.{column.name}" for column in fields(Operation))
"""Select list that `from_row` understands, for queries that alias the table as `o`."""


def from_row(row: Any) -> Operation:
    """An operation from the first columns of a row selected with `COLUMNS`."""
    return Operation(*row[: len(fields(Operation))])


_GET = text(f"SELECT {COLUMNS} FROM operation o WHERE o.operation_id = :id")  # noqa: S608 - constant columns
_INSERT = text(
    """INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, lane, document_kind, document_id,
                              revision, repair, event_id, payload, state, reason_code, reason)
       VALUES (:operation_id, :tenant, :company_id, :kind, :queue, :lane, :document_kind, :document_id,
               :revision, :repair, :event_id, CAST(:payload AS jsonb), :state, :reason_code, :reason)
       ON CONFLICT DO NOTHING""",
)


def get(connection: Connection, operation_id: UUID) -> Operation | None:
    """The operation, or None when it does not exist or belongs to another tenant."""
    found = connection.execute(_GET, {"id": operation_id}).one_or_none()
    return from_row(found) if found else None


def insert(
    connection: Connection,
    tenant: str,
    document_kind: str,
    document_id: str,
    plan: Plan,
    *,
    revision: int,
    repair: int = 0,
    event_id: UUID | None = None,
) -> UUID | None:
    """Open an operation; None when the same effect was opened before (idempotency key).

    Without a company it opens as `waiting`; the caller records the wait.
    """
    new = row(tenant, Step(document_kind, document_id, plan, revision, repair), event_id)
    operation_id: UUID = new["operation_id"]
    return operation_id if connection.execute(_INSERT, new).rowcount else None


@dataclass(frozen=True, slots=True)
class Step:
    """A plan in its place: which document, and which revision and repair of it."""

    document_kind: str
    document_id: str
    plan: Plan
    revision: int
    repair: int = 0


def insert_all(connection: Connection, tenant: str, steps: Sequence[Step]) -> None:
    """Open many operations at once; those that were opened before stay as they are."""
    if steps:
        connection.execute(_INSERT, [row(tenant, step, None) for step in steps])


def row(tenant: str, step: Step, event_id: UUID | None) -> dict[str, Any]:
    """The columns of an operation that is opened."""
    plan, waiting = step.plan, step.plan.company_id is None
    return {
        "operation_id": UUID(str(uuid_utils.uuid7())),
        "tenant": tenant,
        "company_id": plan.company_id,
        "kind": plan.kind,
        "queue": plan.queue,
        "lane": plan.lane.rank,
        "document_kind": step.document_kind,
        "document_id": step.document_id,
        "revision": step.revision,
        "repair": step.repair,
        "event_id": event_id,
        "payload": json.dumps(dict(plan.payload)),
        "state": State.WAITING if waiting else State.QUEUED,
        "reason_code": "no_company" if waiting else None,
        "reason": _no_company(plan.company_condition) if waiting else None,
    }


def _no_company(condition: str) -> str:
    kind, _, realm = condition.partition(":")
    if kind == "realm":
        return f"the QuickBooks company it is meant for ({realm}) is not connected; it goes to no other"
    return "no QuickBooks company is connected for this document yet"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `after` continues it, None at its end."""

    operations: list[Operation]
    after: tuple[datetime, UUID] | None


def page(
    connection: Connection,
    tenant: str | None = None,
    *,
    state: str | None = None,
    kind: str | None = None,
    company_id: UUID | None = None,
    document: tuple[str, str] | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> Page:
    """Operations of the tenant, or all that the scope of the transaction may see, newest first, by keyset."""
    where, values = ["true"], dict[str, Any](limit=limit + 1)
    if state is not None:
        where.append("o.state = :state")
        values["state"] = state
    if tenant is not None:
        where.append("o.tenant_id = :tenant")
        values["tenant"] = tenant
    if kind is not None:
        where.append("o.kind = :kind")
        values["kind"] = kind
    if company_id is not None:
        where.append("o.company_id = :company_id")
        values["company_id"] = company_id
    if document is not None:
        where.append("o.document_kind = :document_kind AND o.document_id = :document_id")
        values["document_kind"], values["document_id"] = document
    if after is not None:
        where.append("(o.created_at, o.operation_id) < (:after_at, :after_id)")
        values["after_at"], values["after_id"] = after
    wanted = " AND ".join(where)
    newest = "ORDER BY o.created_at DESC, o.operation_id DESC LIMIT :limit"
    source = f"operation o WHERE {wanted}"
    if tenant is not None and state is None:  # a tenant's operations are indexed by state: the newest of each
        newest_of_one = f"SELECT o.* FROM {source} AND o.state = one.state {newest}"  # noqa: S608 - constant fragments
        source = f"unnest(CAST(:states AS text[])) AS one (state) CROSS JOIN LATERAL ({newest_of_one}) AS o"
        values["states"] = list(map(str, State))
    query = f"SELECT {COLUMNS} FROM {source} {newest}"  # noqa: S608 - constant fragments
    found = [from_row(row) for row in connection.execute(text(query), values)]
    more = len(found) > limit
    found = found[:limit]
    return Page(found, (found[-1].created_at, found[-1].operation_id) if more else None)


def counts(connection: Connection) -> dict[str, int]:
    """How many operations there are in each state."""
    found = {str(state): 0 for state in State}
    rows = connection.execute(text("SELECT state, count(*) FROM operation GROUP BY state"))
    found.update({state: count for state, count in rows})
    return found
