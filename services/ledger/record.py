"""Recording what became of a call. Every write carries the lease token: who lost the lease writes nothing."""

from __future__ import annotations

import hashlib
import random
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger import timeline, waits
from services.ledger.operations import Operation, State
from services.ledger.ports import Condition, Desk, Handler, Problem
from services.quickbooks.reply import Reply

FIRST_BACKOFF = 2.0  # seconds
LONGEST_BACKOFF = 600.0  # seconds
MAX_TRIES = 12  # about an hour; then a person should know, and the operation stays repairable

_SUCCEEDED = text(
    """UPDATE operation SET state = 'succeeded', outcome = 'answered', tries = tries + 1, lease_token = NULL,
              lease_until = NULL, reply_digest = :digest, intuit_tid = :tid, finished_at = clock_timestamp(),
              reason_code = NULL, reason = NULL, updated_at = clock_timestamp()
        WHERE operation_id = :id AND lease_token = :token"""
)
_ENDED = text(
    """UPDATE operation SET state = :state, outcome = :outcome, tries = tries + 1, lease_token = NULL,
              lease_until = NULL, due_at = clock_timestamp() + CAST(:after AS interval), intuit_tid = :tid,
              reason_code = :code, reason = :reason, updated_at = clock_timestamp()
        WHERE operation_id = :id AND lease_token = :token"""
)


class LeaseLost(Exception):
    """The lease ended before the outcome was recorded; another worker finds out by the same `requestid`."""


def backoff(tries: int) -> timedelta:
    """Time until the next try after `tries` failed ones: doubling, capped, with a fifth of jitter."""
    seconds = min(FIRST_BACKOFF * 2.0**tries, LONGEST_BACKOFF)
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing


def succeeded(
    connection: Connection, operation: Operation, reply: Reply, handler: Handler, desk: Desk, *, adopted: bool
) -> None:
    """Reply digest, link, timeline, events and the release of whatever waited: one transaction. Raises `LeaseLost`."""
    digest = hashlib.sha256(reply.text.encode()).hexdigest()
    values = {
        "id": operation.operation_id,
        "token": operation.lease_token,
        "digest": digest,
        "tid": reply.intuit_tid,
    }
    if not connection.execute(_SUCCEEDED, values).rowcount:
        raise LeaseLost
    settled = handler.settle(connection, operation, reply)
    desk.close(connection, operation, "QuickBooks accepted it")
    for problem in settled.problems:
        desk.open(connection, operation, problem)
    _note(
        connection,
        operation,
        "adopted" if adopted else "succeeded",
        {
            "requestid": operation.requestid,
            "intuit_tid": reply.intuit_tid,
            "reply_sha256": digest,
            **settled.note,
        },
    )
    assert operation.company_id is not None
    waits.release_all(
        connection,
        operation.tenant_id,
        [
            Condition("step", str(operation.operation_id)),
            waits.link_condition(operation.company_id, operation.document_kind, operation.document_id),
        ],
    )


def again(
    connection: Connection,
    operation: Operation,
    *,
    outcome: str,
    code: str,
    reason: str,
    after: timedelta,
    intuit_tid: str | None,
) -> None:
    """Due again later, in the ledger. `outcome` says what is known of the call. Raises `LeaseLost`."""
    _end(connection, operation, State.SCHEDULED, outcome, code, reason, after, intuit_tid)
    _note(
        connection,
        operation,
        "will_retry",
        {"code": code, "reason": reason, "outcome": outcome, "intuit_tid": intuit_tid},
    )


def wait_for_company(
    connection: Connection, operation: Operation, reason: str, intuit_tid: str | None
) -> None:
    """The authorization is gone: wait for a reconnect without spending an attempt. Raises `LeaseLost`."""
    _end(connection, operation, State.WAITING, "unsent", "company", reason, timedelta(), intuit_tid)
    waits.hold(
        connection,
        operation.operation_id,
        operation.tenant_id,
        [Condition("company", str(operation.company_id))],
    )
    _note(connection, operation, "waiting", {"for": [f"company:{operation.company_id}"], "reason": reason})


def failed(
    connection: Connection,
    operation: Operation,
    problem: Problem,
    desk: Desk,
    *,
    outcome: str,
    intuit_tid: str | None,
) -> UUID:
    """Failed and its exception in one transaction. Raises `LeaseLost`."""
    _end(
        connection, operation, State.FAILED, outcome, problem.code, problem.happened, timedelta(), intuit_tid
    )
    exception_id = desk.open(connection, operation, problem)
    _note(
        connection,
        operation,
        "failed",
        {
            "code": problem.code,
            "what": problem.happened,
            "intuit_tid": intuit_tid,
            "exception_id": str(exception_id),
        },
    )
    return exception_id


def _end(
    connection: Connection,
    operation: Operation,
    state: State,
    outcome: str,
    code: str,
    reason: str,
    after: timedelta,
    intuit_tid: str | None,
) -> None:
    values = {
        "id": operation.operation_id,
        "token": operation.lease_token,
        "state": state,
        "outcome": outcome,
        "code": code,
        "reason": reason,
        "after": after,
        "tid": intuit_tid,
    }
    if not connection.execute(_ENDED, values).rowcount:
        raise LeaseLost


def _note(connection: Connection, operation: Operation, action: str, details: dict[str, object]) -> None:
    timeline.append(
        connection,
        operation.tenant_id,
        operation.document_kind,
        operation.document_id,
        "algasync",
        action,
        {
            "operation_id": str(operation.operation_id),
            "operation": operation.kind,
            "attempt": operation.attempt,
            **details,
        },
    )
