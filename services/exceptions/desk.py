"""Opening and closing exceptions inside the transactions that find them.

There is one open exception for a (tenant, type, entity); the same trouble again is counted on it. Every change
commits with its timeline entry and its event to billing, or not at all.

Lock order, to keep workers and people out of each other's way: operation, timeline, exception, letter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import Connection, Row, TextClause, text

from services.exceptions import announcements
from services.ledger.operations import Operation
from services.ledger.ports import Problem
from services.ledger.troubles import EXPORT_ERROR
from services.refusals import missing

ACTOR = "algasync"
"""Who acts in the timeline when no person does."""

POISON = "accounting_sync_poison_message"

_DIRECTIONS = {
    "inbound_poll": "inbound",
    "inbound_apply": "inbound",
    "drift_check": "inbound",
    "token_refresh": "connection",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What an exception is about. `kind` is a document kind, or connection, client, event, message."""

    tenant: str
    kind: str
    id: str
    direction: str = "outbound"  # outbound, inbound, connection, fleet
    company_id: UUID | None = None
    operation_id: UUID | None = None


# A repeat and a person's act on the same exception meet here, whatever either does next.
_LOCK_TIMELINE = text("SELECT timeline_lock(:tenant, :kind, :id)")
_LOCK_OPERATION = text(
    """SELECT FROM operation
        WHERE operation_id = (SELECT operation_id FROM exception WHERE exception_id = :id) FOR UPDATE"""
)
_FACTS = """cause = :cause, code = :code, title = :title, happened = :happened, why = :why, fix = :fix,
            details = CAST(:details AS jsonb), client_id = coalesce(:client_id, e.client_id),
            amount = coalesce(:amount, e.amount), currency = coalesce(:currency, e.currency),
            company_id = coalesce(:company_id, e.company_id),
            operation_id = coalesce(:operation_id, e.operation_id),
            occurrences = e.occurrences + 1, last_seen_at = clock_timestamp()"""
# Somebody has said that this very trouble may stay as it is: it is counted and stays ignored.
_IGNORED = text(
    f"""UPDATE exception e SET {_FACTS}
         WHERE e.state = 'ignored' AND e.cause = :cause AND e.exception_id = (
           SELECT exception_id FROM exception
            WHERE tenant_id = :tenant AND type = :type AND entity_kind = :kind AND entity_id = :id
            ORDER BY created_at DESC, exception_id DESC LIMIT 1)
     RETURNING e.exception_id"""  # noqa: S608 - constant fragment
)
_OPEN = text(
    f"""INSERT INTO exception AS e
          (exception_id, tenant_id, type, entity_kind, entity_id, company_id, cause, code, title, happened,
           why, fix, details, client_id, direction, amount, currency, operation_id)
        VALUES
          (:exception_id, :tenant, :type, :kind, :id, :company_id, :cause, :code, :title, :happened,
           :why, :fix, CAST(:details AS jsonb), :client_id, :direction, :amount, :currency, :operation_id)
        ON CONFLICT (tenant_id, type, entity_kind, entity_id) WHERE state IN ('open', 'in_progress')
        DO UPDATE SET {_FACTS}
        RETURNING e.exception_id"""  # noqa: S608 - constant fragment
)
_SEEN = "SELECT exception_id, tenant_id, entity_kind, entity_id, state FROM exception"
_OF_ID = text(f"{_SEEN} WHERE exception_id = :id")
_OF_ENTITY = text(
    f"""{_SEEN}
        WHERE tenant_id = :tenant AND type = :type AND entity_kind = :kind AND entity_id = :id
          AND state IN ('open', 'in_progress')"""
)
# The step's own trouble, and whatever kept its document from QuickBooks before.
_OF_OPERATION = text(
    f"""{_SEEN}
        WHERE tenant_id = :tenant AND state IN ('open', 'in_progress')
          AND (operation_id = :operation_id OR (type = :type AND entity_kind = :kind AND entity_id = :id))
        ORDER BY exception_id"""
)
_RESOLVE = text(
    """UPDATE exception SET state = 'resolved', resolution = :resolution, closed_at = clock_timestamp()
        WHERE exception_id = :exception_id AND state IN ('open', 'in_progress')"""
)
_RESOLVE_LETTERS = text(
    """UPDATE letter SET state = 'resolved', closed_at = clock_timestamp(), closed_by = :actor,
              close_reason = :resolution
        WHERE operation_id = :operation_id AND state IN ('open', 'replayed')"""
)


def report(connection: Connection, subject: Subject, problem: Problem) -> UUID:
    """Open the exception, or count a repeat of the open one; returns its id.

    A repeat of an ignored one with the same cause is counted there and stays ignored.
    """
    values = {
        "exception_id": UUID(str(uuid_utils.uuid7())),
        "tenant": subject.tenant,
        "type": problem.type,
        "kind": subject.kind,
        "id": subject.id,
        "company_id": subject.company_id,
        "direction": subject.direction,
        "operation_id": subject.operation_id,
        "cause": problem.cause,
        "code": problem.code,
        "title": problem.title,
        "happened": problem.happened,
        "why": problem.why,
        "fix": problem.fix,
        "details": json.dumps(problem.details, default=str),
        "client_id": problem.client_id,
        "amount": problem.amount,
        "currency": problem.currency,
    }
    connection.execute(_LOCK_TIMELINE, values)
    ignored: UUID | None = connection.execute(_IGNORED, values).scalar_one_or_none()
    if ignored is not None:
        return ignored
    exception_id: UUID = connection.execute(_OPEN, values).scalar_one()
    if exception_id == values["exception_id"]:
        facts = {"type": problem.type, "code": problem.code, "cause": problem.cause, "title": problem.title}
        announcements.note(connection, seen(connection, exception_id), ACTOR, "exception_opened", facts)
        announcements.opened(connection, exception_id)
    return exception_id


def resolve(
    connection: Connection, subject: Subject, type_: str, resolution: str, *, actor: str = ACTOR
) -> bool:
    """Close the open exception of this type because its cause is gone; False when there is none."""
    values = {"tenant": subject.tenant, "type": type_, "kind": subject.kind, "id": subject.id}
    found = connection.execute(_OF_ENTITY, values).one_or_none()
    return found is not None and _resolve(connection, found, resolution, actor)


def settle(
    connection: Connection, operation: Operation, resolution: str, *, actor: str = ACTOR
) -> list[UUID]:
    """Close every open exception that a finished operation answers, and its letters; returns their ids."""
    values = {
        "tenant": operation.tenant_id,
        "type": EXPORT_ERROR,
        "kind": operation.document_kind,
        "id": operation.document_id,
        "operation_id": operation.operation_id,
    }
    found = connection.execute(_OF_OPERATION, values).all()
    closed = [one.exception_id for one in found if _resolve(connection, one, resolution, actor)]
    if found or operation.attempt > 1:  # what never failed has no letters worth a statement
        connection.execute(_RESOLVE_LETTERS, values | {"resolution": resolution, "actor": actor})
    return closed


def resolve_one(connection: Connection, exception_id: UUID, resolution: str, actor: str) -> bool:
    """Close one exception by its id; False when it is closed already. Raises `Refusal`."""
    return _resolve(connection, seen(connection, exception_id), resolution, actor)


class ExceptionDesk:
    """`services.ledger.ports.Desk`: the exception list as the ledger sees it."""

    def open(self, connection: Connection, operation: Operation, problem: Problem) -> UUID:
        """Open the exception of an operation's document, or count a repeat; returns its id."""
        return report(connection, about(operation), problem)

    def close(self, connection: Connection, operation: Operation, resolution: str) -> None:
        """Close what is open for an operation's document because its cause is gone."""
        settle(connection, operation, resolution)


def about(operation: Operation) -> Subject:
    """The subject of an operation's exceptions: its document."""
    return Subject(
        tenant=operation.tenant_id,
        kind=operation.document_kind,
        id=operation.document_id,
        direction=_DIRECTIONS.get(operation.queue, "outbound"),
        company_id=operation.company_id,
        operation_id=operation.operation_id,
    )


def seen(connection: Connection, exception_id: UUID) -> Row[Any]:
    """Whose an exception is, what it is about and its state. Raises `Refusal`."""
    row = connection.execute(_OF_ID, {"id": exception_id}).one_or_none()
    if row is None:
        raise missing(f"there is no exception {exception_id}")
    return row


def lock(connection: Connection, exception_id: UUID) -> None:
    """Let nobody else act on an exception until the transaction ends. Raises `Refusal`."""
    found = seen(connection, exception_id)
    connection.execute(_LOCK_OPERATION, {"id": exception_id})
    subject = {"tenant": found.tenant_id, "kind": found.entity_kind, "id": found.entity_id}
    connection.execute(_LOCK_TIMELINE, subject)


def change(
    connection: Connection,
    found: Row[Any],
    actor: str,
    action: str,
    details: dict[str, Any],
    update: TextClause,
    values: dict[str, Any],
) -> bool:
    """Timeline entry and update of one exception, both or neither; False when the update no longer applies.

    `found` is what `seen` returned.
    """
    with connection.begin_nested() as savepoint:
        announcements.note(connection, found, actor, action, details)
        if connection.execute(update, values | {"exception_id": found.exception_id}).rowcount:
            return True
        savepoint.rollback()
    return False


def _resolve(connection: Connection, found: Row[Any], resolution: str, actor: str) -> bool:
    facts = {"resolution": resolution}
    done = change(connection, found, actor, "exception_resolved", facts, _RESOLVE, facts)
    if done:
        announcements.closed(connection, found.exception_id)
    return done
