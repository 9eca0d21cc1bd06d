"""Recording what became of a call. Every write carries the lease token: who lost the lease writes nothing."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import simplejson
from sqlalchemy import Connection, text

from services.database.statement import Statement
from services.ledger import timeline, waits
from services.ledger.operations import Operation, State
from services.ledger.ports import Condition, Desk, Handler, Problem
from services.quickbooks.reply import Reply

FIRST_BACKOFF = 2.0  # seconds
LONGEST_BACKOFF = 600.0  # seconds
MAX_TRIES = 12  # about an hour; then a person should know, and the operation stays repairable

# And whether there is anything that the desk could close, which for most operations there is not.
_SUCCEEDED = Statement(
    """UPDATE operation o SET state = 'succeeded', outcome = 'answered', tries = tries + 1, lease_token = NULL,
              lease_until = NULL, reply_digest = :digest, intuit_tid = :tid, finished_at = clock_timestamp(),
              reason_code = NULL, reason = NULL, updated_at = clock_timestamp()
        WHERE operation_id = :id AND lease_token = :token
       RETURNING attempt > 1
         OR EXISTS (SELECT FROM exception e
                     WHERE e.operation_id = o.operation_id AND e.state IN ('open', 'in_progress'))
         OR EXISTS (SELECT FROM exception e
                     WHERE e.tenant_id = o.tenant_id AND e.entity_kind = o.document_kind
                       AND e.entity_id = o.document_id AND e.state IN ('open', 'in_progress'))"""
)
# Noted and released in this order, which intake keeps too: whoever holds the one may wait for the other.
_SETTLED = Statement(
    """SELECT CASE WHEN CAST(:action AS text) IS NOT NULL THEN
                timeline_append(:tenant, :kind, :document, 'algasync', :action, CAST(:details AS jsonb)) END,
              CASE WHEN NOT :again THEN
                wait_release(:tenant, ARRAY['step', 'link'], ARRAY[CAST(:id AS text), :kind || '/' || :document]) END"""
)
# A part is done: what it changed is committed with this, and the next call is decided on with fresh eyes.
_NEXT_STEP = text(
    """UPDATE operation SET state = 'queued', finished_at = NULL, tries = 0, due_at = clock_timestamp(),
              dispatched_at = NULL, updated_at = clock_timestamp(),
              payload = (payload - 'seen') || jsonb_build_object('steps', coalesce((payload ->> 'steps')::int, 0) + 1)
        WHERE operation_id = :id"""
)
# As text, because a driver's JSON would make floats of the amounts.
_SEEN = text(
    """UPDATE operation SET payload = payload || jsonb_build_object('seen', CAST(:seen AS text))
        WHERE operation_id = :id AND lease_token = :token"""
)
_ENDED = text(
    """UPDATE operation SET state = :state, outcome = :outcome, tries = tries + 1, lease_token = NULL,
              lease_until = NULL, due_at = clock_timestamp() + CAST(:after AS interval), intuit_tid = :tid,
              reason_code = :code, reason = :reason, updated_at = clock_timestamp()
        WHERE operation_id = :id AND lease_token = :token"""
)
_NEW_GENERATION = text("UPDATE operation SET generation = generation + 1 WHERE operation_id = :id")


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
    row = _SUCCEEDED.first(connection, values)
    if row is None:
        raise LeaseLost
    (troubled,) = row
    settled = handler.settle(connection, operation, reply)
    if settled.again:
        connection.execute(_NEXT_STEP, values)
    elif troubled:
        desk.close(connection, operation, "QuickBooks accepted it")
    for problem in settled.problems:
        desk.open(connection, operation, problem)
    noted = bool(reply.call.writes or settled.note)
    done = "step_done" if settled.again else "adopted" if adopted else "succeeded"
    facts = {
        "operation_id": str(operation.operation_id),
        "operation": operation.kind,
        "attempt": operation.attempt,
        "requestid": operation.requestid,
        "intuit_tid": reply.intuit_tid,
        "reply_sha256": digest,
        **settled.note,
    }
    _SETTLED.run(
        connection,
        {
            "id": operation.operation_id,
            "tenant": operation.tenant_id,
            "kind": operation.document_kind,
            "document": operation.document_id,
            "action": done if noted else None,
            "details": json.dumps(facts, default=str),
            "again": settled.again,
        },
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
    timeline.note(
        connection,
        operation,
        "will_retry",
        {"code": code, "reason": reason, "outcome": outcome, "intuit_tid": intuit_tid},
    )


def look_again(
    connection: Connection, operation: Operation, seen: Mapping[str, Any], reason: str, intuit_tid: str | None
) -> None:
    """A refusal is explained by what was read: due at once, to decide anew. Raises `LeaseLost`."""
    values = {"id": operation.operation_id, "token": operation.lease_token}
    connection.execute(_SEEN, {**values, "seen": simplejson.dumps(seen, use_decimal=True)})
    _end(connection, operation, State.SCHEDULED, "refused", "look_again", reason, timedelta(), intuit_tid)
    timeline.note(connection, operation, "looked_again", {"reason": reason, "intuit_tid": intuit_tid})


def wait_for_company(
    connection: Connection, operation: Operation, reason: str, intuit_tid: str | None, *, outcome: str
) -> None:
    """The authorization is gone: wait for a reconnect without spending an attempt. Raises `LeaseLost`."""
    _end(connection, operation, State.WAITING, outcome, "company", reason, timedelta(), intuit_tid)
    waits.hold(
        connection,
        operation.operation_id,
        operation.tenant_id,
        [Condition("company", str(operation.company_id))],
    )
    timeline.note(
        connection, operation, "waiting", {"for": [f"company:{operation.company_id}"], "reason": reason}
    )


def failed(
    connection: Connection,
    operation: Operation,
    problem: Problem,
    desk: Desk,
    *,
    outcome: str,
    intuit_tid: str | None,
    gone: bool = False,
) -> UUID:
    """Failed and its exception in one transaction. Raises `LeaseLost`.

    `gone`: the call took effect and its object was deleted since; a later attempt must not get that answer again.
    """
    _end(
        connection, operation, State.FAILED, outcome, problem.code, problem.happened, timedelta(), intuit_tid
    )
    if gone:
        connection.execute(_NEW_GENERATION, {"id": operation.operation_id})
    exception_id = desk.open(connection, operation, problem)
    timeline.note(
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
