"""Exporting many documents in one call, each of them settled as if it had gone alone.

A batch is an operation of its own: its intent, lease, `requestid`, replay and lost answers are the runner's. It only
takes the place of its members' calls. From its intent until its end they wait for it, each with an unknown outcome, so
that nobody sends, supersedes or discards one while the batch may still take effect. What the answer says of a member
is then recorded as for a call of its own; whom it says nothing certain of goes alone, and is looked for first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from services.database.statement import Statement
from services.exceptions.desk import ExceptionDesk
from services.ledger import record, troubles
from services.ledger.operations import COLUMNS, Operation, State, from_row
from services.ledger.ports import Found, Look, Prepared, Send, Settled, Skip
from services.ledger.take import request_id
from services.mapping import settings
from services.outbound.batch_backlog import FEWEST, KIND
from services.outbound.export_form import EXPORT_CREDIT_MEMO, EXPORT_INVOICE, ExportForm
from services.outbound.handler import OutboundHandler
from services.quickbooks import batch, calls, query
from services.quickbooks.call import Call
from services.quickbooks.errors import QuickBooksError, Refused, UnknownOutcome
from services.quickbooks.reply import Reply

log = structlog.get_logger()

ALONE = (
    "it goes alone, and fails there with the whole story"  # which takes its time: here a transaction is open
)

_FORMS: Mapping[str, ExportForm] = {form.kind: form for form in (EXPORT_INVOICE, EXPORT_CREDIT_MEMO)}

# In the order in which everybody locks documents, and with them what happens to documents.
_MEMBERS = Statement(
    f"""SELECT {COLUMNS},
               NOT EXISTS (SELECT FROM operation e
                            WHERE e.tenant_id = o.tenant_id AND e.document_kind = o.document_kind
                              AND e.document_id = o.document_id
                              AND (e.revision, e.repair, e.created_at) < (o.revision, o.repair, o.created_at)
                              AND e.state IN ('queued', 'running', 'waiting', 'scheduled', 'failed'))
               AND NOT EXISTS (SELECT FROM pause p WHERE p.company_id = o.company_id AND p.kind = o.kind) AS in_turn
          FROM operation o
         WHERE o.operation_id = ANY (CAST(:ids AS uuid[])) AND o.company_id = :company AND o.state = 'waiting'
           AND EXISTS (SELECT FROM wait w WHERE w.operation_id = o.operation_id
                          AND w.condition = 'step' AND w.key = :batch)
         ORDER BY o.document_kind, o.document_id, o.operation_id FOR UPDATE OF o"""  # noqa: S608 - constant columns
)
_ALONE = Statement(
    """WITH free AS (DELETE FROM wait WHERE operation_id = ANY (CAST(:ids AS uuid[])))
       UPDATE operation SET state = 'queued', due_at = clock_timestamp(), reason_code = NULL, reason = NULL,
              outcome = CASE outcome WHEN 'unknown' THEN 'unsent' ELSE outcome END, updated_at = clock_timestamp()
        WHERE operation_id = ANY (CAST(:ids AS uuid[]))"""
)
_INTENDED = Statement(
    """WITH sent AS (
         UPDATE operation o SET outcome = 'unknown', call = m.call, requestid = m.call ->> 'requestid',
                called_at = clock_timestamp(), updated_at = clock_timestamp()
           FROM jsonb_to_recordset(CAST(:members AS jsonb)) AS m (id uuid, call jsonb)
          WHERE o.operation_id = m.id
         RETURNING o.tenant_id, o.document_kind, o.document_id, o.operation_id, o.kind, o.attempt)
       SELECT timeline_append(tenant_id, document_kind, document_id, 'algasync', 'calling', jsonb_build_object(
                'operation_id', operation_id, 'operation', kind, 'attempt', attempt) || CAST(:details AS jsonb))
         FROM (SELECT * FROM sent ORDER BY document_kind, document_id) s"""
)
# Recording takes histories first and wake-ups then, as intake does; so a batch takes all of the one before all of
# the other, each in an order that everybody keeps.
_HISTORIES = Statement(
    """SELECT timeline_lock(:tenant, kind, id)
         FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)"""
)
_WAKING = Statement(
    """SELECT pg_advisory_xact_lock(lock) FROM (
         SELECT DISTINCT condition_lock(:tenant, wanted, about) AS lock
           FROM unnest(CAST(:wanted AS text[]), CAST(:about AS text[])) AS u (wanted, about) ORDER BY 1) x"""
)
# The batch's lease is its members' while it records what came of them; nobody sees them like that.
_LEASED = Statement(
    """WITH free AS (DELETE FROM wait WHERE operation_id = ANY (CAST(:ids AS uuid[])))
       UPDATE operation SET state = 'running', lease_token = :token, lease_until = clock_timestamp() + interval '1 hour'
        WHERE operation_id = ANY (CAST(:ids AS uuid[]))"""
)


@dataclass(frozen=True, slots=True)
class _Member:
    """One document of a batch; `name` is the `bId` of its item, its place among all that were ever put into it."""

    name: str
    operation: Operation
    in_turn: bool


class ExportBatch(OutboundHandler):
    """Handler of `export_batch`."""

    kind = KIND

    def __init__(self) -> None:
        self._desk = ExceptionDesk()

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Put the calls of those whose turn it is into one; whoever cannot go along goes alone, and says why there."""
        members = _members(connection, operation)
        wanted = settings.resolve(connection, operation.tenant_id, company_id=operation.company_id)
        refused = (operation.seen or {}).get("refused")
        together: dict[str, Call] = {}
        if wanted.export_batch_size and not refused:
            asked = ((one.name, _call(connection, one.operation)) for one in members if one.in_turn)
            together = {name: call for name, call in asked if call is not None}
        if len(together) < FEWEST:
            together = {}
        alone = [one.operation.operation_id for one in members if one.name not in together]
        _ALONE.run(connection, {"ids": alone})
        if refused:
            return Skip("refused", f"its documents go one by one, because QuickBooks refused it: {refused}")
        if not wanted.export_batch_size:
            return Skip("switched_off", "its documents go one by one, because export_batch_size is 0")
        if not together:
            return Skip("too_few", "too few of its documents could go in one call; they go one by one")
        intended = [
            {"id": str(one.operation.operation_id), "call": together[one.name].to_json()}
            for one in members
            if one.name in together
        ]
        note = {"batch": str(operation.operation_id), "requestid": requestid}
        values = {"members": json.dumps(intended), "details": json.dumps(note)}

        def along(connection: Connection) -> None:
            _INTENDED.all(connection, values)

        return Send(calls.batch(together, requestid=requestid), along=along)

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Record what came of each member as if the call had been its own."""
        members = _leased(connection, operation)
        items = {name: Call.from_json(one.call) for name, one in members.items() if one.call is not None}
        came = batch.outcomes(items, reply)
        for name, member in members.items():
            try:
                with connection.begin_nested():
                    self._record(connection, operation, member, came[name], adopted=reply.time is None)
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                # It stands in QuickBooks; alone it is found there, and what is wrong with it holds up only itself.
                said = f"recording it stopped at {type(error).__name__}"
                log.warning("settling_failed", member=str(member.operation_id), said=said, advice=ALONE)
                _alone(connection, member, "read_back", said)
        made = sum(isinstance(one, Reply) for one in came.values())
        return Settled({"documents": len(members), "made": made, "alone": len(members) - made})

    def _record(
        self,
        connection: Connection,
        operation: Operation,
        member: Operation,
        came: Reply | QuickBooksError,
        *,
        adopted: bool,
    ) -> None:
        if isinstance(came, Reply):
            handler = _FORMS[member.kind]
            if came.data[handler.entity].get("status") == batch.DELETED:
                problem = troubles.gone(member)
                record.failed(
                    connection,
                    member,
                    problem,
                    self._desk,
                    outcome="refused",
                    intuit_tid=came.intuit_tid,
                    gone=True,
                )
            else:
                record.succeeded(connection, member, came, handler, self._desk, adopted=adopted)
        elif isinstance(came, UnknownOutcome) or operation.called_at is not None:
            # What the first of several tries made, a later one may be refused for.
            _alone(connection, member, "read_back", str(came))
        else:
            _alone(connection, member, "refused_in_batch", str(came))

    def find(self, operation: Operation, look: Look) -> Found:
        """Look for all of it at once by number; adopted is what is there in full.

        What is there in part may still be growing. Only once that is over (`read_back`) the rest is left open; before,
        the batch is made again under its id, by which QuickBooks tells what became of every item.
        """
        assert operation.call is not None
        call = Call.from_json(operation.call)
        wires = batch.sent(call)
        found = {}
        for form in _FORMS.values():
            mine = {name: wire for name, (entity, wire) in wires.items() if entity == form.entity}
            if not mine:
                continue
            numbers = [wire["DocNumber"] for wire in mine.values()]
            reply = look(calls.query(query.select(form.entity).where("DocNumber", "IN", numbers)))
            rows = reply.data["QueryResponse"].get(form.entity) or ()
            for name, wire in mine.items():
                ours = next((raw for raw in rows if form.is_ours(raw, wire)), None)
                if ours is not None:
                    found[name] = (form.entity, ours)
        if len(found) == len(wires) or operation.reason_code == "read_back":
            return Found(reply=batch.answer(call, found))
        return Found()

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any]:
        """A batch that is refused as a whole is taken apart: alone, the one that it was refused for says so."""
        return {"refused": refusal.fault.label}


def _call(connection: Connection, member: Operation) -> Call | None:
    """The call it would make alone; None when it would make none, needs to be looked for, or cannot go along."""
    savepoint = connection.begin_nested()
    try:
        prepared = _FORMS[member.kind].prepare(connection, member, request_id(member, member.generation))
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        log.warning(
            "preparing_failed", member=str(member.operation_id), error=type(error).__name__, advice=ALONE
        )
        savepoint.rollback()
        return None
    if isinstance(prepared, Send) and not prepared.look_first:
        call = prepared.call
        if call.operation == "create" and calls.batchable(call):
            savepoint.commit()
            return call
    savepoint.rollback()
    return None


def _members(connection: Connection, operation: Operation) -> list[_Member]:
    """Who still waits for the batch, locked."""
    ids = operation.payload["members"]
    names = {UUID(id_): str(place) for place, id_ in enumerate(ids, start=1)}
    values = {"ids": ids, "company": operation.company_id, "batch": str(operation.operation_id)}
    found = []
    for *columns, in_turn in _MEMBERS.all(connection, values):
        member = from_row(columns)
        found.append(_Member(names[member.operation_id], member, in_turn))
    return found


def _leased(connection: Connection, operation: Operation) -> dict[str, Operation]:
    """The members by the names of their items, as if each had been called alone by whoever holds the batch."""
    members = {one.name: one.operation for one in _members(connection, operation)}
    tenant, mine = operation.tenant_id, members.values()
    kinds, ids = [one.document_kind for one in mine], [one.document_id for one in mine]
    _HISTORIES.all(connection, {"tenant": tenant, "kinds": kinds, "ids": ids})
    steps = [str(one.operation_id) for one in mine]
    links = [f"{one.document_kind}/{one.document_id}" for one in mine]
    wanted = ["step"] * len(steps) + ["link"] * len(links)
    _WAKING.all(connection, {"tenant": tenant, "wanted": wanted, "about": steps + links})
    _LEASED.run(connection, {"ids": steps, "token": operation.lease_token})
    return {
        name: replace(
            one, state=State.RUNNING, lease_token=operation.lease_token, requestid=operation.requestid
        )
        for name, one in members.items()
    }


def _alone(connection: Connection, member: Operation, code: str, reason: str) -> None:
    record.again(
        connection,
        member,
        outcome="unknown" if code == "read_back" else "refused",
        code=code,
        reason=reason,
        after=timedelta(),
        intuit_tid=None,
    )
