"""Second chances: replay a failed operation, discard it, or supersede what became pointless.

A replay is a new attempt of the same operation, never a new operation: idempotency key, `requestid` rules and
timeline go on.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger import timeline, waits
from services.ledger.operations import COLUMNS, Operation, State, from_row
from services.ledger.ports import Condition

_LOCKED = text(f"SELECT {COLUMNS} FROM operation o WHERE o.operation_id = :id FOR UPDATE")  # noqa: S608 - constant columns
_REPLAY = text(
    f"""UPDATE operation o SET state = 'queued', attempt = attempt + 1, tries = 0, due_at = clock_timestamp(),
              dispatched_at = NULL, reason_code = NULL, reason = NULL, payload = payload - 'seen',
              updated_at = clock_timestamp()
        WHERE operation_id = :id RETURNING {COLUMNS}"""  # noqa: S608 - constant columns
)
_FINISH = text(
    """UPDATE operation SET state = :state, reason_code = :code, reason = :reason, dispatched_at = NULL,
              finished_at = clock_timestamp(), updated_at = clock_timestamp()
        WHERE operation_id = ANY (CAST(:ids AS uuid[]))""",
)
# Unsent for certain: never called, definitely not sent, or definitely refused. An unknown outcome is never superseded,
# nor is an effect of several calls that has begun.
_POINTLESS = text(
    f"""SELECT {COLUMNS} FROM operation o
         WHERE o.tenant_id = :tenant AND o.document_kind = :kind AND o.document_id = :id
           AND o.kind = ANY (CAST(:kinds AS text[]))
           AND o.state IN ('queued', 'scheduled', 'waiting', 'failed')
           AND o.outcome IN ('none', 'unsent', 'refused') AND o.payload -> 'steps' IS NULL
         ORDER BY o.operation_id FOR UPDATE"""  # noqa: S608 - constant columns
)


class CannotChange(Exception):
    """The operation is not in a state that allows this; the message says which and what to do instead."""


def replay(connection: Connection, operation_id: UUID, actor: str, reason: str) -> Operation:
    """Start a new attempt of a failed operation. Raises `CannotChange` unless it is `failed`."""
    operation = _failed(connection, operation_id, "replayed")
    timeline.append(
        connection,
        operation.tenant_id,
        operation.document_kind,
        operation.document_id,
        actor,
        "replayed",
        {"operation_id": str(operation_id), "attempt": operation.attempt + 1, "reason": reason},
    )
    return from_row(connection.execute(_REPLAY, {"id": operation_id}).one())


def discard(connection: Connection, operation_id: UUID, actor: str, reason: str) -> Operation:
    """Give a failed operation up, with a reason; later steps of its document go on.

    Raises `CannotChange` unless it is `failed`, or when its call may have taken effect in QuickBooks.
    """
    operation = _failed(connection, operation_id, "discarded")
    if operation.outcome in {"intended", "unknown"}:
        raise CannotChange(
            f"operation {operation_id} may have taken effect in QuickBooks: replay it, which first finds out"
        )
    finish(connection, [operation], State.DISCARDED, "discarded", reason, actor)
    found = connection.execute(_LOCKED, {"id": operation_id}).one()
    return from_row(found)


def supersede(
    connection: Connection,
    tenant: str,
    document_kind: str,
    document_id: str,
    kinds: Collection[str],
    because: str,
) -> list[Operation]:
    """Skip steps of a document that were never sent and that a later revision or void made pointless."""
    values = {"tenant": tenant, "kind": document_kind, "id": document_id, "kinds": sorted(kinds)}
    pointless = [from_row(row) for row in connection.execute(_POINTLESS, values)]
    if pointless:
        finish(connection, pointless, State.SKIPPED, "superseded", because, "algasync")
    return pointless


def finish(
    connection: Connection,
    operations: Collection[Operation],
    state: State,
    code: str,
    reason: str,
    actor: str,
) -> None:
    """End operations without a call, in the timeline too, and wake what waited for them."""
    ids = [operation.operation_id for operation in operations]
    connection.execute(_FINISH, {"ids": ids, "state": state, "code": code, "reason": reason})
    connection.execute(text("DELETE FROM wait WHERE operation_id = ANY (CAST(:ids AS uuid[]))"), {"ids": ids})
    for operation in operations:
        timeline.append(
            connection,
            operation.tenant_id,
            operation.document_kind,
            operation.document_id,
            actor,
            str(state),
            {
                "operation_id": str(operation.operation_id),
                "operation": operation.kind,
                "code": code,
                "reason": reason,
            },
        )
        waits.release_all(
            connection,
            operation.tenant_id,
            [
                Condition("step", str(operation.operation_id)),
                waits.link_condition(operation.document_kind, operation.document_id),
            ],
        )


def _failed(connection: Connection, operation_id: UUID, verb: str) -> Operation:
    row = connection.execute(_LOCKED, {"id": operation_id}).one_or_none()
    if row is None:
        raise CannotChange(f"operation {operation_id} does not exist")
    operation = from_row(row)
    if operation.state != State.FAILED:
        raise CannotChange(
            f"operation {operation_id} is {operation.state}; only a failed operation can be {verb}"
        )
    return operation
