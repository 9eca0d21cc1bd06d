"""Telling the timeline and billing what happened to an exception, in the transaction in which it happens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from messages.accounting import Cause, Company, Entity, ExceptionOpened, ExceptionResolved
from outbox.emit import emit
from services.ledger import timeline

_TOLD = text(
    """SELECT e.*, d.number, d.document_date, k.realm_id, k.name AS company_name, o.event_id
         FROM exception e
         LEFT JOIN document d ON d.tenant_id = e.tenant_id AND d.kind = e.entity_kind
                             AND d.document_id = e.entity_id
         LEFT JOIN company k ON k.company_id = e.company_id
         LEFT JOIN operation o ON o.operation_id = e.operation_id
        WHERE e.exception_id = :id"""
)


def opened(connection: Connection, exception_id: UUID) -> None:
    """Tell billing that an exception needs somebody: it was opened, or reopened."""
    told = connection.execute(_TOLD, {"id": exception_id}).one()
    words = {name: getattr(told, name).strip() or told.code for name in ("title", "happened", "why", "fix")}
    data = ExceptionOpened(**_facts(told), **words, opened_at=told.created_at)
    emit(connection, told.tenant_id, "exception.opened.v1", str(exception_id), data)


def closed(connection: Connection, exception_id: UUID) -> None:
    """Tell billing that an exception needs nobody any more: it was resolved, or is ignored."""
    told = connection.execute(_TOLD, {"id": exception_id}).one()
    reason = told.resolution.strip() or told.state
    data = ExceptionResolved(**_facts(told), resolution=told.state, reason=reason, resolved_at=told.closed_at)
    emit(connection, told.tenant_id, "exception.resolved.v1", str(exception_id), data)


def note(connection: Connection, found: Row[Any], actor: str, action: str, details: dict[str, Any]) -> None:
    """Write what somebody did to an exception into the timeline of what it is about."""
    facts = {"exception_id": str(found.exception_id)} | details
    timeline.append(connection, found.tenant_id, found.entity_kind, found.entity_id, actor, action, facts)


def _facts(told: Row[Any]) -> dict[str, Any]:
    company = None
    if told.realm_id is not None:
        company = Company(company_id=told.company_id, realm_id=told.realm_id, name=told.company_name)
    event_id = UUID(told.entity_id) if told.entity_kind == "event" else told.event_id
    check = None if event_id or told.operation_id else told.type
    return {
        "company": company,
        "cause": Cause(event_id=event_id, operation_id=told.operation_id, check=check),
        "exception_id": told.exception_id,
        "type": told.type,
        "code": told.code,
        "entity": Entity(kind=told.entity_kind, billing_id=told.entity_id, billing_number=told.number),
        "client_id": told.client_id,
        "date": told.document_date,
        "currency": told.currency,
        "amount": told.amount,
    }
