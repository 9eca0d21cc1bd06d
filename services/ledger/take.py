"""Taking an operation: the intent is written down, with the exact call, before anything is sent.

One transaction: lock the documents, check order and conditions, reserve the limiter slot, store call and lease.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection

from services.database.statement import Statement
from services.ledger import documents, record, timeline, waits
from services.ledger.attempts import finish
from services.ledger.operations import COLUMNS, Operation, State, from_row
from services.ledger.ports import (
    Adopt,
    Clients,
    Condition,
    Desk,
    Done,
    Fail,
    Handler,
    Hold,
    Move,
    Problem,
    Send,
    Skip,
)
from services.quickbooks import body
from services.quickbooks.call import Call
from services.quickbooks.reply import Reply

LONGEST_SLOT_WAIT = (
    10.0  # seconds a worker thread sleeps for its limiter slot; beyond that it puts the work back
)

# The documents involved are locked in the order of their ids; `earlier` and the rest is decided under these locks
# once more by whoever acts on it. Of documents that nobody has seen yet there are fewer than references.
_READ = Statement(
    f"""WITH mine AS MATERIALIZED (
          SELECT tenant_id, document_kind, document_id, payload -> 'involves' AS involves
            FROM operation WHERE operation_id = :id
        ), involved AS MATERIALIZED (
          SELECT tenant_id, document_kind AS kind, document_id FROM mine
           UNION
          SELECT tenant_id, reference ->> 0, reference ->> 1
            FROM mine, jsonb_array_elements(coalesce(involves, '[]')) AS reference
        ), locked AS MATERIALIZED (
          SELECT FROM document d
           WHERE (d.tenant_id, d.kind, d.document_id) IN (SELECT tenant_id, kind, document_id FROM involved)
           ORDER BY d.kind, d.document_id FOR UPDATE
        )
        SELECT {COLUMNS}, clock_timestamp() AS now, coalesce(c.state, 'missing') AS company_state,
               EXISTS (SELECT FROM pause p WHERE p.scope = 'fleet' OR (p.tenant_id = o.tenant_id
                         AND (p.scope = 'tenant' OR (p.company_id = o.company_id
                              AND (p.kind IS NULL OR (p.kind = o.kind AND o.attempt = 1)))))) AS paused,
               condition_met(o.tenant_id, 'auto_sync', 'tenant') AS auto_sync,
               (SELECT e.operation_id FROM operation e
                 WHERE e.tenant_id = o.tenant_id AND e.document_kind = o.document_kind
                   AND e.document_id = o.document_id
                   AND (e.revision, e.repair, e.created_at) < (o.revision, o.repair, o.created_at)
                   AND e.state IN ('queued', 'running', 'waiting', 'scheduled', 'failed')
                 ORDER BY e.revision, e.repair, e.created_at LIMIT 1) AS earlier,
               (SELECT count(*) FROM involved) - (SELECT count(*) FROM locked) AS unseen
          FROM operation o LEFT JOIN company c ON c.company_id = o.company_id
         WHERE o.operation_id = :id"""  # noqa: S608 - constant columns
)
# Everything read before is still true only if nobody wrote the row since: `updated_at` moves with every write.
_TAKE = Statement(
    """WITH taken AS (
         UPDATE operation SET state = 'running', lease_token = :token, outcome = 'intended',
                lease_until = clock_timestamp() + CAST(:lease AS interval), dispatched_at = NULL,
                generation = :generation, requestid = :requestid, call = CAST(:call AS jsonb),
                called_at = CASE WHEN :same_call THEN coalesce(called_at, clock_timestamp()) ELSE clock_timestamp() END,
                reason_code = :reason_code, reason = NULL, updated_at = clock_timestamp()
          WHERE operation_id = :id AND updated_at = :seen
         RETURNING tenant_id, document_kind, document_id)
       SELECT CASE WHEN CAST(:action AS text) IS NOT NULL THEN
                timeline_append(tenant_id, document_kind, document_id, 'algasync', :action, CAST(:details AS jsonb)) END
         FROM taken"""
)
_PUT_BACK = Statement(
    """UPDATE operation SET state = :state, reason_code = :code, reason = :reason, dispatched_at = NULL,
              lease_token = NULL, lease_until = NULL, updated_at = clock_timestamp(),
              due_at = clock_timestamp() + CAST(:after AS interval)
        WHERE operation_id = :id AND updated_at = :seen"""
)
_UNTOUCHED = Statement("SELECT FROM operation WHERE operation_id = :id AND updated_at = :seen FOR UPDATE")
_MOVE = Statement(
    """UPDATE operation SET company_id = :company, state = 'queued', dispatched_at = NULL, lease_token = NULL,
              lease_until = NULL, due_at = clock_timestamp(), updated_at = clock_timestamp()
        WHERE operation_id = :id AND updated_at = :seen AND outcome = 'none'"""
)


@dataclass(frozen=True, slots=True)
class Seen:
    """An operation and what surrounds it, as one statement saw them."""

    operation: Operation
    now: datetime  # the database's clock
    company_state: str
    paused: bool
    auto_sync: bool
    earlier: UUID | None  # an unfinished earlier step of the same document


@dataclass(frozen=True, slots=True)
class Taken:
    """Ours until the lease ends: make `call` after `slot` seconds, or first ask whether it took effect."""

    operation: Operation
    call: Call
    slot: float  # seconds until the reserved limiter slot
    read_back: bool
    unsure: bool  # an earlier try of the same call may have taken effect


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing to call. With a `problem` the operation has failed and its message belongs to the dead letters."""

    code: str
    reason: str
    problem: bool = False


class Raced(Exception):
    """Somebody else wrote the operation meanwhile; their write stands and the transaction must roll back."""


def request_id(operation: Operation, generation: int) -> str:
    """The `requestid` of an operation's effect: a digest of its idempotency key and generation, 32 characters.

    Intuit allows 50 characters, 36 in a batch.
    https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#request-id
    """
    key = [
        operation.tenant_id,
        str(operation.company_id),
        operation.kind,
        operation.document_kind,
        operation.document_id,
        operation.revision,
        operation.repair,
        generation,
    ]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def take(
    connection: Connection,
    operation_id: UUID,
    attempt: int,
    *,
    handlers: Mapping[str, Handler],
    clients: Clients,
    desk: Desk,
    lease: timedelta,
    replay_within: timedelta,
) -> Taken | Ended:
    """Take the operation if it is ours to do; otherwise record what it became. Raises `Raced`."""
    row = _READ.first(connection, {"id": operation_id})
    if row is None:
        return Ended("unknown_operation", f"operation {operation_id} is not in the ledger")
    *columns, unseen = row
    operation = from_row(columns)
    seen = Seen(operation, *columns[-5:])
    stale = _not_ours(operation, attempt, seen.now)
    if stale is not None:
        return stale
    if unseen:
        involved = [(operation.document_kind, operation.document_id), *_involved(operation)]
        documents.lock(connection, operation.tenant_id, involved)
    handler = handlers[operation.kind]
    held = _hold(connection, operation, _general_conditions(seen, handler))
    if held is not None:
        return held
    company_id = operation.company_id
    assert company_id is not None  # the table allows none only while waiting
    if operation.outcome in {"intended", "unknown"} and operation.call is not None:
        stored = Call.from_json(operation.call)
        old = operation.called_at is not None and seen.now - operation.called_at > replay_within
        if old and stored.lingers and operation.reason_code != "read_back":
            said = "QuickBooks may still be at it; what it made is looked for afterwards"
            _write(
                connection, operation, State.SCHEDULED, "read_back", said, timedelta(seconds=stored.lingers)
            )
            return Ended("read_back", said)
        # A change is guarded by its SyncToken; a create by nothing, once QuickBooks has forgotten the request id, or
        # where it went in a batch under another one.
        read_back = old or stored.operation in {"create", "batch"} or operation.reason_code == "read_back"
        return _start(connection, operation, stored, clients, lease, read_back=read_back, unsure=True)
    requestid = request_id(operation, operation.generation)
    prepared = handler.prepare(connection, operation, requestid)
    if isinstance(prepared, Hold):
        held = _hold(connection, operation, prepared.conditions, prepared.reason)
        if held is not None:
            return held
        raise Raced  # the condition came true between the handler's look and ours: start over
    if isinstance(prepared, (Skip, Done)):
        state = State.SKIPPED if isinstance(prepared, Skip) else State.SUCCEEDED
        if _UNTOUCHED.first(connection, {"id": operation_id, "seen": operation.updated_at}) is None:
            raise Raced
        finish(connection, [operation], state, prepared.code, prepared.reason, "algasync")
        desk.close(connection, operation, prepared.reason)
        return Ended(prepared.code, prepared.reason)
    if isinstance(prepared, Fail):
        return fail(connection, operation, prepared.problem, desk)
    if isinstance(prepared, Move):
        return _move(connection, operation, prepared)
    if isinstance(prepared, Adopt):
        return _adopt(connection, operation, prepared, handler, desk, lease)
    sent = operation.call
    if operation.requestid is not None and sent is not None and sent != prepared.call.to_json():
        # The id was used for another body, and that body is known to have had no effect: a new generation.
        operation = replace(operation, generation=operation.generation + 1)
        again = handler.prepare(connection, operation, request_id(operation, operation.generation))
        assert isinstance(again, Send)  # same transaction, same locks, same answer
        prepared = again
    taken = _start(
        connection, operation, prepared.call, clients, lease, read_back=prepared.look_first, unsure=False
    )
    if prepared.along is not None and isinstance(taken, Taken):
        prepared.along(connection)
    return taken


def fail(connection: Connection, operation: Operation, problem: Problem, desk: Desk) -> Ended:
    """Failed and its exception in one transaction; a person must act first."""
    _write(connection, operation, State.FAILED, problem.code, problem.happened, timedelta())
    exception_id = desk.open(connection, operation, problem)
    timeline.note(
        connection,
        operation,
        "failed",
        {"code": problem.code, "what": problem.happened, "exception_id": str(exception_id)},
    )
    return Ended(problem.code, problem.happened, problem=True)


def _move(connection: Connection, operation: Operation, moved: Move) -> Ended:
    """To the company of the documents it refers to: nothing was sent for it, so its key is free to change."""
    values = {"id": operation.operation_id, "seen": operation.updated_at, "company": moved.company_id}
    if not _MOVE.run(connection, values):
        raise Raced
    companies = {"from": str(operation.company_id), "to": str(moved.company_id)}
    timeline.note(connection, operation, "moved", {**companies, "reason": moved.reason})
    return Ended("moved", moved.reason)


def _adopt(
    connection: Connection,
    operation: Operation,
    adopted: Adopt,
    handler: Handler,
    desk: Desk,
    lease: timedelta,
) -> Ended:
    """Taken and settled in one transaction: the effect stands already."""
    taken = _intend(connection, operation, adopted.call, lease, action=None)
    data = {adopted.call.entity: adopted.data}
    reply = Reply(adopted.call, 200, body.dump(data), data)
    record.succeeded(connection, taken, reply, handler, desk, adopted=True)
    return Ended("adopted", "QuickBooks had it already")


def _not_ours(operation: Operation, attempt: int, now: datetime) -> Ended | None:
    if operation.finished or attempt != operation.attempt:
        return Ended("already_settled", f"the operation is {operation.state}, attempt {operation.attempt}")
    if operation.state == State.FAILED:
        return Ended(operation.reason_code or "failed", operation.reason or "", problem=True)
    if operation.state == State.WAITING:
        return Ended("waiting", operation.reason or "")
    if operation.state == State.RUNNING and operation.lease_until and operation.lease_until > now:
        return Ended("taken", "another worker holds the lease")
    return None


def _involved(operation: Operation) -> list[tuple[str, str]]:
    return [(kind, document_id) for kind, document_id in operation.payload.get("involves", [])]


def _general_conditions(seen: Seen, handler: Handler) -> list[Condition]:
    conditions = []
    company = str(seen.operation.company_id)
    if seen.paused:
        switches = ["fleet", "tenant", company]
        if seen.operation.attempt == 1:  # a retry shows whether what stopped its kind is mended
            switches.append(f"{company}/{seen.operation.kind}")
        conditions += [Condition("pause", key) for key in switches]
    if seen.earlier is not None:
        conditions.append(Condition("step", str(seen.earlier)))
    if seen.company_state != "active":
        conditions.append(Condition("company", company))
    if handler.needs_auto_sync and not seen.auto_sync:
        conditions.append(Condition("auto_sync", "tenant"))
    return conditions


_REASONS = {
    "pause": "sync is paused",
    "step": "an earlier step of this document is not finished",
    "company": "the QuickBooks company is not connected",
    "auto_sync": "automatic sync is off",
    "link": "a document it refers to is not in QuickBooks yet",
}


def _hold(
    connection: Connection, operation: Operation, wanted: Sequence[Condition], reason: str = ""
) -> Ended | None:
    if not wanted or not waits.hold(connection, operation.operation_id, operation.tenant_id, wanted):
        return None
    code = wanted[0].condition
    said = reason or _REASONS[code]
    _write(connection, operation, State.WAITING, code, said, timedelta())
    timeline.note(
        connection,
        operation,
        "waiting",
        {"for": [f"{c.condition}:{c.key}" for c in wanted], "reason": said},
    )
    return Ended("waiting", said)


def _start(
    connection: Connection,
    operation: Operation,
    call: Call,
    clients: Clients,
    lease: timedelta,
    *,
    read_back: bool,
    unsure: bool,
) -> Taken | Ended:
    assert operation.company_id is not None
    slot = clients.reserve(connection, operation.company_id, "batch" if call.operation == "batch" else "call")
    if slot > LONGEST_SLOT_WAIT:
        said = "waiting for room under QuickBooks' call limits"
        _write(connection, operation, State.SCHEDULED, "limiter", said, timedelta(seconds=slot))
        return Ended("limiter", said)
    reason = "read_back" if read_back else None
    # A look changes nothing in either book, so it is nothing for the history.
    action = reason or ("calling" if call.writes else None)
    taken = _intend(connection, operation, call, lease + timedelta(seconds=slot), reason, action=action)
    return Taken(taken, call, slot, read_back, unsure)


def _intend(
    connection: Connection,
    operation: Operation,
    call: Call,
    lease: timedelta,
    reason_code: str | None = None,
    *,
    action: str | None,
) -> Operation:
    """Write the intent down: the exact call, under a lease of ours; `action` for the timeline. Raises `Raced`.

    `read_back` as reason outlives the worker: whoever comes after it asks first, too.
    """
    token = uuid4()
    stored = call.to_json()
    values = {
        "id": operation.operation_id,
        "seen": operation.updated_at,
        "token": token,
        "lease": lease,
        "generation": operation.generation,
        "requestid": call.requestid,
        "call": json.dumps(stored),
        "same_call": operation.call == stored,
        "reason_code": reason_code,
        "action": action,
        "details": json.dumps(
            {
                **timeline.facts(operation),
                "requestid": call.requestid,
                "generation": operation.generation,
                "try": operation.tries + 1,
            }
        ),
    }
    if _TAKE.first(connection, values) is None:
        raise Raced
    return replace(
        operation,
        state=State.RUNNING,
        lease_token=token,
        outcome="intended",
        requestid=call.requestid,
        call=stored,
    )


def _write(
    connection: Connection, operation: Operation, state: State, code: str, reason: str, after: timedelta
) -> None:
    values = {
        "id": operation.operation_id,
        "seen": operation.updated_at,
        "state": state,
        "code": code,
        "reason": reason,
        "after": after,
    }
    if not _PUT_BACK.run(connection, values):
        raise Raced
