"""Intake: a billing event becomes ours. Event, document and operations in one transaction, then the message is acked.

Events of one document are applied in their sequence: one that comes too early is kept and applied when the missing
one arrives. Duplicates change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from messages import BadMessage, Event, EventData, Problem, lookup, parse, validate
from services.database import Database
from services.database.engine import scope
from services.database.statement import Statement
from services.ledger import attempts, documents, operations, timeline, waits
from services.ledger.documents import Description
from services.ledger.group_commit import GroupCommit
from services.ledger.operations import Plan, Step
from services.ledger.passing import PASSED_OVER
from services.ledger.ports import Condition, Desk, Planner

log = structlog.get_logger()

# An event that comes too early is kept. One whose turn it is, is kept and applied by one statement; `kept` tells one
# that is applied now from one that was kept before.
_KEEP = Statement(
    """INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at,
                          traceparent, state)
       VALUES (:event_id, :tenant, :type, :kind, :id, :sequence, CAST(:said AS jsonb), :occurred_at,
               :traceparent, 'waiting')
       ON CONFLICT (event_id) DO NOTHING"""
)
_APPLY = Statement(
    f"""WITH kept AS (
         INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at,
                            traceparent, state)
         SELECT :event_id, :tenant, :type, :kind, :id, :sequence, CAST(:said AS jsonb),
                CAST(:occurred_at AS timestamptz), :traceparent, 'applied' WHERE NOT :kept
         ON CONFLICT (event_id) DO NOTHING RETURNING event_id
       ), described AS (
         {documents.DESCRIBE}
       ), opened AS (
         INSERT INTO operation (operation_id, tenant_id, company_id, kind, queue, lane, document_kind, document_id,
                                revision, event_id, payload, state, reason_code, reason)
         SELECT p.operation_id, :tenant, p.company_id, p.kind, p.queue, p.lane, :kind, :id, :sequence, :event_id,
                CAST(p.payload AS jsonb), p.state, p.reason_code, p.reason
           FROM jsonb_to_recordset(CAST(:operations AS jsonb)) AS p (operation_id uuid, company_id uuid, kind text,
                  queue text, lane smallint, payload text, state text, reason_code text, reason text)
         ON CONFLICT DO NOTHING RETURNING operation_id
       )
       SELECT :kept OR EXISTS (SELECT FROM kept), ARRAY(SELECT operation_id FROM opened),
              timeline_append(:tenant, :kind, :id, 'billing', :action, CAST(:details AS jsonb)
                || jsonb_build_object('operations', ARRAY(SELECT operation_id FROM opened)))"""  # noqa: S608 - constant fragment
)
_TAKEN_SEQUENCE = Statement(
    """SELECT event_id FROM event WHERE tenant_id = :tenant AND document_kind = :kind AND document_id = :id
          AND sequence = :sequence"""
)
_NEXT = Statement(
    """UPDATE event SET state = 'applied' WHERE tenant_id = :tenant AND document_kind = :kind AND document_id = :id
          AND sequence = :sequence AND state = 'waiting' RETURNING event_id, type, data"""
)
_IN_TURN = text(
    """SELECT e.tenant_id, e.document_kind, e.document_id FROM event e
         JOIN document d ON (d.tenant_id, d.kind, d.document_id) = (e.tenant_id, e.document_kind, e.document_id)
        WHERE e.state = 'waiting' AND e.sequence = d.applied_sequence + 1
        ORDER BY e.received_at LIMIT :limit"""
)
CATCH_UP = 100  # documents a round
MOST = 20  # events a transaction
_UNFINISHED = Statement(
    """SELECT operation_id FROM operation WHERE tenant_id = :tenant AND document_kind = :kind AND document_id = :id
          AND state IN ('queued', 'running', 'waiting', 'scheduled', 'failed')"""
)
_WAITING = Statement(
    """UPDATE operation SET state = 'waiting', reason_code = coalesce(reason_code, 'step'),
              reason = coalesce(reason, 'an earlier step of this document is not finished')
        WHERE operation_id = :operation"""
)


class SequenceTaken(BadMessage):
    """Two different events claim the same place in a document's history; the second is refused."""

    reason = "sequence_taken"


class CompanyAppeared(Exception):
    """A company was connected between choosing none and waiting for one: choose again."""


class Intake:
    """Takes events over. One per process; safe to use from several threads."""

    def __init__(self, database: Database, planner: Planner, desk: Desk) -> None:
        self._database = database
        self._planner = planner
        self._desk = desk
        self._grouped = GroupCommit(self._take_over, MOST)

    def take_over(self, body: bytes) -> str:
        """Record the event of a message body; returns what it was: `applied`, `waiting` or `duplicate`.

        Raises `messages.BadMessage` for what can never be taken over; database errors pass through.
        """
        event = parse(body)
        while True:
            try:
                outcome = self._grouped(event)
            except CompanyAppeared:
                continue
            log.info(
                "event_taken",
                tenant=event.tenantid,
                event_id=str(event.id),
                type=event.entry.routing_key,
                subject=event.subject,
                outcome=outcome,
            )
            return outcome

    def _take_over(self, events: Sequence[Event]) -> list[str]:
        """Record events in one transaction, each in the scope of its tenant. Returns once they are committed."""
        outcomes: dict[UUID, str] = {}
        # In the order in which whoever locks several documents locks them.
        ordered = sorted(events, key=lambda event: (event.tenantid, *event.document, event.sequence))
        tenant = ordered[0].tenantid
        with self._database.transaction(tenant) as connection:
            for event in ordered:
                if event.tenantid != tenant:
                    tenant = event.tenantid
                    scope(connection, tenant)
                outcomes[event.id] = self._record(connection, event)
        return [outcomes[event.id] for event in events]

    def catch_up(self, connection: Connection) -> int:
        """Apply waiting events whose turn it is, such as those behind one that was passed over.

        `connection` works across tenants. Returns for how many documents.
        """
        found = connection.execute(_IN_TURN, {"limit": CATCH_UP}).all()
        for tenant, kind, document_id in found:
            document, _ = documents.claim(connection, tenant, kind, document_id)
            place = {"tenant": tenant, "kind": kind, "id": document_id, "sequence": document.applied_sequence}
            self._apply_waiting(connection, place)
        return len(found)

    def _record(self, connection: Connection, event: Event) -> str:
        tenant, key, sequence = event.tenantid, event.document, event.sequence
        assert sequence is not None  # parse refuses an event without one
        document, fresh = documents.claim(connection, tenant, key.kind, key.id)
        in_turn = sequence == document.applied_sequence + 1
        place = {"tenant": tenant, "kind": key.kind, "id": key.id, "sequence": sequence}
        # A document nobody has seen has no other events and no operations: four questions less for the usual case.
        row = None if fresh else _TAKEN_SEQUENCE.first(connection, place)
        taken = row[0] if row is not None else None
        if taken == event.id or (taken is None and sequence <= document.applied_sequence):
            return "duplicate"  # the latter was applied so long ago that its event is forgotten
        if taken is not None:
            raise SequenceTaken(
                [
                    Problem(
                        "sequence",
                        f"{sequence} of {key.kind} {key.id} belongs to event {taken} already; emit through the outbox, "
                        "which numbers events without repeating",
                    )
                ]
            )
        said = {
            "event_id": event.id,
            "type": event.entry.routing_key,
            "said": json.dumps(event.data.plain()),
            "occurred_at": event.time,
            "traceparent": event.traceparent,
        }
        if not in_turn:
            if not _KEEP.run(connection, place | said):
                raise _id_taken(event.id)
            return "waiting"
        self._apply(connection, place | said, event.data, fresh=fresh)
        if not fresh:
            self._apply_waiting(connection, place)
        return "applied"

    def _apply_waiting(self, connection: Connection, place: dict[str, object]) -> None:
        """Apply what came too early, as far as the sequence goes on without a gap."""
        tenant, kind, document_id, sequence = (place[name] for name in ("tenant", "kind", "id", "sequence"))
        assert isinstance(sequence, int)
        while True:
            sequence += 1
            row = _NEXT.first(connection, place | {"sequence": sequence})
            if row is None:
                return
            event_id, type_, said = row
            if type_ == PASSED_OVER:
                documents.describe(
                    connection, str(tenant), str(kind), str(document_id), sequence, Description()
                )
                note = {"event_id": str(event_id), "sequence": sequence, "reason": said["reason"]}
                timeline.append(
                    connection, str(tenant), str(kind), str(document_id), said["actor"], PASSED_OVER, note
                )
                continue
            data = validate(lookup(f"com.algapsa.billing.{type_}").name, said)
            self._apply(connection, place | {"sequence": sequence, "event_id": event_id}, data, kept=True)

    def _apply(
        self,
        connection: Connection,
        event: dict[str, Any],
        data: EventData,
        *,
        fresh: bool = False,
        kept: bool = False,
    ) -> None:
        """Do what the event asks for. `event` has its columns: those of its place only when it was `kept` before."""
        tenant, kind, document_id = event["tenant"], event["kind"], event["id"]
        sequence, event_id = event["sequence"], event["event_id"]
        effect = self._planner.effect(connection, tenant, data)
        for plan in effect.plans:
            if fresh or not plan.supersedes:
                continue
            because = f"{plan.kind} of sequence {sequence} made it pointless"
            for gone in attempts.supersede(connection, tenant, kind, document_id, plan.supersedes, because):
                self._desk.close(connection, gone, because)
        earlier = [] if fresh or not effect.plans else [one for (one,) in _UNFINISHED.all(connection, event)]
        steps = [Step(kind, document_id, plan, sequence) for plan in effect.plans]
        rows = [operations.row(tenant, step, event_id) for step in steps]
        new, opened, _ = _APPLY.one(
            connection,
            {
                **_UNSAID,
                **event,
                "kept": kept,
                **effect.description.columns(),
                "operations": json.dumps(rows, default=str),
                "action": type(data).__name__,
                "details": json.dumps(
                    {"event_id": str(event_id), "sequence": sequence, **effect.note}, default=str
                ),
            },
        )
        if not new:
            raise _id_taken(event_id)
        for row, step in zip(rows, steps, strict=True):
            if row["operation_id"] in opened:
                self._hold(connection, tenant, row["operation_id"], step.plan, earlier)
                earlier.append(row["operation_id"])

    def _hold(
        self, connection: Connection, tenant: str, operation_id: UUID, plan: Plan, earlier: Sequence[UUID]
    ) -> None:
        """Let it wait for the unfinished steps before it, and for a company when there is none."""
        conditions = [Condition("step", str(one)) for one in earlier]
        if plan.company_id is None:
            conditions.append(Condition("company", plan.company_condition))
        if conditions and waits.hold(connection, operation_id, tenant, conditions):
            _WAITING.run(connection, {"operation": operation_id})
        elif plan.company_id is None:
            raise CompanyAppeared


_UNSAID = dict.fromkeys(("type", "said", "occurred_at", "traceparent"))
"""What a statement need not be told of an event that was kept before."""


def _id_taken(event_id: UUID) -> SequenceTaken:
    return SequenceTaken(
        [Problem("id", f"{event_id} was used for another event; give every event its own id")]
    )
