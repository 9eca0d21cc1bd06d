"""What tests of the ledger share: a company, operations, and a fleet connection to the test's database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Connection, text

from services.database import Database, Role
from services.ledger import operations
from services.ledger.operations import Lane, Operation, Plan

TENANT = "t-ledger"


@pytest.fixture
def ledger(database_url: str) -> Iterator[Database]:
    """The database as workers see it."""
    with Database(database_url, Role.FLEET, pool_size=20) as database:
        yield database


def company(connection: Connection, tenant: str = TENANT, *, default: bool = True, realm: str = "") -> UUID:
    """A connected company with a limiter row, and auto-sync switched on for its tenant."""
    company_id: UUID = connection.execute(
        text(
            """INSERT INTO company (tenant_id, environment, realm_id, name, country, home_currency, state, is_default,
                                    connected_by)
               VALUES (:tenant, 'sandbox', :realm, 'Test Co', 'US', 'USD', 'active', :default, 'test')
               RETURNING company_id"""
        ),
        {"tenant": tenant, "realm": realm or f"realm-{uuid4().hex[:12]}", "default": default},
    ).scalar_one()
    connection.execute(
        text("INSERT INTO company_limiter (company_id, tenant_id) VALUES (:company, :tenant)"),
        {"company": company_id, "tenant": tenant},
    )
    setting(connection, tenant, "auto_sync", True)
    return company_id


def setting(connection: Connection, tenant: str, name: str, value: Any, scope: str = "tenant") -> None:
    """Write a setting row."""
    connection.execute(
        text(
            """INSERT INTO setting (tenant_id, scope, name, value, updated_by)
               VALUES (:tenant, :scope, :name, CAST(:value AS jsonb), 'test')
               ON CONFLICT (tenant_id, scope, name) DO UPDATE SET value = excluded.value"""
        ),
        {"tenant": tenant, "scope": scope, "name": name, "value": json.dumps(value)},
    )


def operation(
    connection: Connection,
    company_id: UUID | None,
    *,
    tenant: str = TENANT,
    document_id: str = "",
    kind: str = "export_invoice",
    revision: int = 1,
    lane: Lane = Lane.NORMAL,
) -> UUID:
    """An operation as intake opens it."""
    plan = Plan(kind=kind, queue="export", company_id=company_id, lane=lane)
    opened = operations.insert(
        connection, tenant, "invoice", document_id or f"inv-{uuid4().hex[:8]}", plan, revision=revision
    )
    assert opened is not None
    return opened


def read(connection: Connection, operation_id: UUID) -> Operation:
    """The operation, which must exist."""
    found = operations.get(connection, operation_id)
    assert found is not None
    return found
