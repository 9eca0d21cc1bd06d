"""Accounting events for tests: emitted, and moved into the feed as the relay does once a broker has confirmed them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

import outbox
from messages import samples
from services.database import Database
from services.database.engine import ALL_TENANTS

_MOVE = text("SELECT accounting_event_append(CAST(:ids AS uuid[]))")


def sample(type_: str) -> dict[str, Any]:
    """Data of an accounting event, to be changed."""
    event: dict[str, Any] = json.loads(samples.read(f"com.algapsa.accounting.{type_}"))
    data: dict[str, Any] = event["data"]
    return data


def synced(document_id: str) -> dict[str, Any]:
    """Data of an event about an invoice."""
    data = sample("document.synced.v1")
    data["document"] = {**data["document"], "billing_id": document_id}
    return data


def emit(database: Database, tenant: str, type_: str, subject: str, data: Mapping[str, Any]) -> UUID:
    """Emit an event; it is in the outbox."""
    with database.transaction(tenant) as connection:
        return outbox.emit(connection, tenant, type_, subject, data).event_id


def publish(database: Database, *events: UUID) -> None:
    """Move events into the feed, and with them what destinations are owed."""
    with database.transaction(ALL_TENANTS) as connection:
        connection.execute(_MOVE, {"ids": [str(one) for one in events]})


def tell(database: Database, tenant: str, *documents: str) -> list[str]:
    """Tell of invoices that are in QuickBooks now; returns the ids of the events."""
    made = [emit(database, tenant, "document.synced.v1", one, synced(one)) for one in documents]
    publish(database, *made)
    return [str(one) for one in made]
