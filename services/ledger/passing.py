"""Passing over an event that will never be taken over, so that the later ones of its document go on.

A person has given it up, with a reason. Its place in the document's history is filled without effect.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger import documents

PASSED_OVER = "passed_over"
"""Type of an event row that only fills a place; intake applies it without asking what it means."""

_FILL = text(
    """INSERT INTO event (event_id, tenant_id, type, document_kind, document_id, sequence, data, occurred_at, state)
       VALUES (:event_id, :tenant, :type, :kind, :id, :sequence, jsonb_build_object('actor', CAST(:actor AS text),
               'reason', CAST(:reason AS text)), clock_timestamp(), 'waiting')
       ON CONFLICT DO NOTHING"""
)


def pass_over(
    connection: Connection,
    tenant: str,
    kind: str,
    document_id: str,
    *,
    sequence: int,
    event_id: UUID,
    actor: str,
    reason: str,
) -> bool:
    """Fill the event's place; intake's next round goes on from there. False when the place is not empty."""
    document, _ = documents.claim(connection, tenant, kind, document_id)
    if sequence <= document.applied_sequence:
        return False
    values = {
        "event_id": event_id,
        "tenant": tenant,
        "type": PASSED_OVER,
        "kind": kind,
        "id": document_id,
        "sequence": sequence,
        "actor": actor,
        "reason": reason,
    }
    return bool(connection.execute(_FILL, values).rowcount)
