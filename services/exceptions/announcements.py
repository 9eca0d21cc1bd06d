"""Telling the timeline and billing what happened to an exception, in the transaction in which it happens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

import outbox
from services.ledger import timeline

_TOLD = text(
    """SELECT e.*, d.number
         FROM exception e
         LEFT JOIN document d ON d.tenant_id = e.tenant_id AND d.kind = e.entity_kind
                             AND d.document_id = e.entity_id
        WHERE e.exception_id = :id"""
)


def opened(connection: Connection, exception_id: UUID) -> None:
    """Tell billing that an exception needs somebody: it was opened, or reopened."""
    told = connection.execute(_TOLD, {"id": exception_id}).one()
    outbox.emit(connection, told.tenant_id, "exception.opened.v1", str(exception_id), _facts(told))


def closed(connection: Connection, exception_id: UUID) -> None:
    """Tell billing that an exception needs nobody any more: it was resolved, or is ignored."""
    told = connection.execute(_TOLD, {"id": exception_id}).one()
    data = _facts(told) | {
        "state": told.state,
        "resolution": told.resolution,
        "closed_at": told.closed_at.isoformat(),
    }
    outbox.emit(connection, told.tenant_id, "exception.resolved.v1", str(exception_id), data)


def note(connection: Connection, found: Row[Any], actor: str, action: str, details: dict[str, Any]) -> None:
    """Write what somebody did to an exception into the timeline of what it is about."""
    facts = {"exception_id": str(found.exception_id)} | details
    timeline.append(connection, found.tenant_id, found.entity_kind, found.entity_id, actor, action, facts)


def _facts(told: Row[Any]) -> dict[str, Any]:
    facts = {
        "exception_id": str(told.exception_id),
        "type": told.type,
        "entity": {"kind": told.entity_kind, "id": told.entity_id, "number": told.number},
        "company_id": str(told.company_id) if told.company_id else None,
        "cause": told.cause,
        "code": told.code,
        "title": told.title,
        "happened": told.happened,
        "why": told.why,
        "fix": told.fix,
        "client_id": told.client_id,
        "amount": told.amount,
        "currency": told.currency,
        "opened_at": told.created_at.isoformat(),
    }
    return {name: value for name, value in facts.items() if value is not None}
