"""Emit: say what happened, in the transaction in which it happened.

One statement on the caller's connection. Whatever rolls that transaction back takes the event and its number
with it; once it commits, the relay will publish the event whatever happens to this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy import ColumnClause, Connection, column, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from messages import (
    CATALOG,
    Event,
    EventData,
    EventType,
    InvalidData,
    InvalidEnvelope,
    Problem,
    body,
    lookup,
    validate,
)
from outbox.tracing import TRACEPARENT

_BY_ROUTING_KEY: Final = {entry.routing_key: entry for entry in CATALOG.values()}
_REFUSALS: Final = {"22023": "refused", "23505": "key_reused", "42501": "not_allowed"}

_ARGUMENTS: Final = """subject => :subject, data => CAST(:data AS jsonb), idempotency_key => :idempotency_key,
    occurred_at => CAST(:occurred_at AS timestamptz), source => :source, traceparent => :traceparent, id => :event_id"""
# Named, so that SQLAlchemy describes the result only once.
_RESULT: Final[tuple[ColumnClause[Any], ...]] = (column("event_id"), column("sequence"))
_EMIT: Final = {
    "billing": text(
        f"""SELECT event_id, sequence FROM algasync.outbox_emit_v1(
              tenant => :tenant, type => :type, {_ARGUMENTS})"""  # noqa: S608 - our own words, no input
    ).columns(*_RESULT),
    "accounting": text(
        f"""SELECT event_id, sequence FROM algasync.outbox_emit_accounting_v1(
              tenant => :tenant, type => :type, kind => :kind, {_ARGUMENTS})"""  # noqa: S608 - our own words, no input
    ).columns(*_RESULT),
}
_SOURCES: Final = {"billing": "//algapsa/billing", "accounting": "//algasync"}


class Emitted(NamedTuple):
    """What an event got: its id, and its number among the events of its document (1, 2, 3, ...)."""

    event_id: UUID
    sequence: int


class EmitError(Exception):
    """PostgreSQL refused the event; the transaction is to be rolled back.

    `reason`: `refused` (the text names the field), `key_reused` (the idempotency key or id was used for
    something else) or `not_allowed` (not the tenant of the transaction, or not an event of this role).
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def emit(
    connection: Connection | Session,
    tenant: str,
    type: str,  # noqa: A002 - what CloudEvents calls it
    subject: str,
    data: EventData | Mapping[str, Any],
    *,
    idempotency_key: str | None = None,
    occurred_at: datetime | None = None,
    source: str | None = None,
    traceparent: str | None = None,
    event_id: UUID | None = None,
) -> Emitted:
    """Emit one event about document `subject`: `type` is its routing key or full name, `data` model or JSON values.

    A repeated `idempotency_key` returns what it returned first and emits nothing; so does a repeated `event_id`.
    Raises BadMessage (UnknownType, InvalidData, ...) before anything is sent, naming every field that is wrong,
    and EmitError when the database refuses.
    """
    entry = _BY_ROUTING_KEY.get(type) or lookup(type)
    model = validate(entry.name, data)
    if model.key.id != subject:
        found = (
            f"is {subject!r}, but the data is about {model.key.kind} {model.key.id!r}; send the document's id"
        )
        raise InvalidEnvelope([Problem("subject", found)])
    return _send(
        connection,
        entry,
        {
            "tenant": tenant,
            "type": entry.routing_key,
            "subject": subject,
            "data": _written(data),
            "idempotency_key": idempotency_key,
            "occurred_at": occurred_at,
            "source": source or _SOURCES[entry.room],
            "traceparent": traceparent or TRACEPARENT.get(),
            "event_id": event_id,
        },
        model,
    )


def emit_event(
    connection: Connection | Session, event: Event, *, idempotency_key: str | None = None
) -> Emitted:
    """Emit an event that has its envelope already, such as one received by `POST /v1/events`; raises as `emit`."""
    return emit(
        connection,
        event.tenantid,
        event.type,
        event.subject,
        event.data,
        idempotency_key=idempotency_key,
        occurred_at=event.time,
        source=event.source,
        traceparent=event.traceparent,
        event_id=event.id,
    )


def _send(
    connection: Connection | Session, entry: EventType, values: dict[str, Any], model: EventData
) -> Emitted:
    if entry.room == "accounting":
        values["kind"] = model.key.kind
    try:
        row = connection.execute(_EMIT[entry.room], values).one()
    except DBAPIError as error:
        refused = error.orig
        if (
            not isinstance(refused, psycopg.Error)
            or (reason := _REFUSALS.get(refused.sqlstate or "")) is None
        ):
            raise
        raise EmitError(reason, refused.diag.message_primary or reason) from None
    return Emitted(*row)


def _written(data: EventData | Mapping[str, Any]) -> str:
    """Write the data as JSON; what the contract does not know stays in it, for readers that do."""
    try:
        return body.write(data.plain() if isinstance(data, EventData) else data).decode()
    except TypeError as error:
        found = f"holds what JSON has no form for ({error}); send JSON values, or the model itself"
        raise InvalidData([Problem("data", found)]) from None
