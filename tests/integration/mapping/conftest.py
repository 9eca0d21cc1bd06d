"""Fixtures of the mapping tests."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Connection

from services.connections import companies
from services.database import Database, Role
from tests.support.intuit import Noted

TENANT = "tenant-a"


@pytest.fixture
def fleet(module_database_url: str) -> Iterator[Database]:
    """The workers' access."""
    with Database(module_database_url, Role.FLEET) as database:
        yield database


@pytest.fixture
def connection(fleet: Database) -> Iterator[Connection]:
    """A transaction of the tenant that is rolled back at the end."""
    with fleet.engine.connect() as opened:
        opened.exec_driver_sql(f"SELECT set_config('algasync.tenant', '{TENANT}', false)")
        opened.commit()
        with opened.begin() as transaction:
            yield opened
            transaction.rollback()


@pytest.fixture
def company_id(connection: Connection) -> UUID:
    """A connected company."""
    return companies.activate(
        connection, TENANT, environment="sandbox", realm_id="1", actor="test", attention=Noted()
    ).company_id
