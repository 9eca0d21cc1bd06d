"""Intake: a billing event becomes ours. Event, document and operations in one transaction, then the message is acked.

Events of one document are applied in their sequence: one that comes too early is kept and applied when the missing
one arrives. Duplicates change nothing.
"""

from __future__ import annotations

import json
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from messages import BadMessage, Event, EventData, Problem, lookup, parse, validate
from services.database import Database
from services.ledger import attempts, documents, operations, timeline, waits
from services.ledger.documents import Description
from services.ledger.operations import Plan
from services.ledger.passing import PASSED_OVER
from services.ledger.ports import Condition, Desk, Planner

log = structlog.get_logger()

_INSERT = text(
    """INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at,
                          traceparent, state)
       VALUES (:event_id, :tenant, :type, :kind, :id, :sequence, CAST(:data AS jsonb), :occurred_at,
               :traceparent, :state)
       ON CONFLICT (event_id) DO NOTHING"""
)
_TAKEN_SEQUENCE = text(
    """SELECT event_id FROM event WHERE tenant_id = :tenant AND document_kind = :kind AND document_id = :id
          AND sequence = :sequence"""
)
_NEXT = text(
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
_UNFINISHED = text(
    """SELECT operation_id FROM operation WHERE tenant_id = :tenant AND document_kind = :kind AND document_id = :id
          AND state IN ('queued', 'running', 'waiting', 'scheduled', 'failed') AND operation_id <> :operation"""
)
_WAITING = text(
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

    def take_over(self, body: bytes) -> str:
        """Record the event of a message body; returns what it was: `applied`, `waiting` or `duplicate`.

        Raises `messages.BadMessage` for what can never be taken over; database errors pass through.
        """
        event = parse(body)
        with structlog.contextvars.bound_contextvars(tenant=event.tenantid, event=str(event.id)):
            while True:
                try:
                    with self._database.transaction(event.tenantid) as connection:
                        outcome = self._record(connection, event)
                except CompanyAppeared:
                    continue
                log.info("event_taken", type=event.entry.routing_key, subject=event.subject, outcome=outcome)
                return outcome

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
        taken = None if fresh else connection.execute(_TAKEN_SEQUENCE, place).scalar_one_or_none()
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
        inserted = connection.execute(
            _INSERT,
            {
                **place,
                "event_id": event.id,
                "type": event.entry.routing_key,
                "data": json.dumps(event.data.plain()),
                "occurred_at": event.time,
                "traceparent": event.traceparent,
                "state": "applied" if in_turn else "waiting",
            },
        )
        if not inserted.rowcount:
            raise SequenceTaken(
                [Problem("id", f"{event.id} was used for another event; give every event its own id")]
            )
        if not in_turn:
            return "waiting"
        self._apply(connection, tenant, key.kind, key.id, sequence, event.id, event.data, fresh=fresh)
        if not fresh:
            self._apply_waiting(connection, place)
        return "applied"

    def _apply_waiting(self, connection: Connection, place: dict[str, object]) -> None:
        """Apply what came too early, as far as the sequence goes on without a gap."""
        tenant, kind, document_id, sequence = (place[name] for name in ("tenant", "kind", "id", "sequence"))
        assert isinstance(sequence, int)
        while True:
            sequence += 1
            row = connection.execute(_NEXT, place | {"sequence": sequence}).one_or_none()
            if row is None:
                return
            if row.type == PASSED_OVER:
                documents.describe(
                    connection, str(tenant), str(kind), str(document_id), sequence, Description()
                )
                note = {"event_id": str(row.event_id), "sequence": sequence, "reason": row.data["reason"]}
                timeline.append(
                    connection, str(tenant), str(kind), str(document_id), row.data["actor"], PASSED_OVER, note
                )
                continue
            data = validate(lookup(f"com.algapsa.billing.{row.type}").name, row.data)
            self._apply(connection, str(tenant), str(kind), str(document_id), sequence, row.event_id, data)

    def _apply(
        self,
        connection: Connection,
        tenant: str,
        kind: str,
        document_id: str,
        sequence: int,
        event_id: UUID,
        data: EventData,
        *,
        fresh: bool = False,
    ) -> None:
        effect = self._planner.effect(connection, tenant, data)
        documents.describe(connection, tenant, kind, document_id, sequence, effect.description)
        opened: list[UUID | None] = []
        for plan in effect.plans:
            if plan.supersedes and not fresh:
                because = f"{plan.kind} of sequence {sequence} made it pointless"
                for gone in attempts.supersede(
                    connection, tenant, kind, document_id, plan.supersedes, because
                ):
                    self._desk.close(connection, gone, because)
            alone = fresh and not opened
            opened.append(
                self._open(connection, tenant, kind, document_id, sequence, event_id, plan, alone=alone)
            )
        details = {
            "event_id": str(event_id),
            "sequence": sequence,
            "operations": [str(one) for one in opened if one is not None],
            **effect.note,
        }
        timeline.append(connection, tenant, kind, document_id, "billing", type(data).__name__, details)

    def _open(
        self,
        connection: Connection,
        tenant: str,
        kind: str,
        document_id: str,
        sequence: int,
        event_id: UUID,
        plan: Plan,
        *,
        alone: bool,
    ) -> UUID | None:
        operation_id = operations.insert(
            connection, tenant, kind, document_id, plan, revision=sequence, event_id=event_id
        )
        if operation_id is None:
            return None
        values = {"tenant": tenant, "kind": kind, "id": document_id, "operation": operation_id}
        earlier = [] if alone else connection.execute(_UNFINISHED, values).scalars().all()
        conditions = [Condition("step", str(one)) for one in earlier]
        if plan.company_id is None:
            conditions.append(Condition("company", plan.company_condition))
        if conditions and waits.hold(connection, operation_id, tenant, conditions):
            connection.execute(_WAITING, {"operation": operation_id})
        elif plan.company_id is None:
            raise CompanyAppeared
        return operation_id
