"""Fixtures of the connection tests: an installation that talks to the sandbox, and an admin who uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.connections.intuit import Intuit
from services.connections.vault import new_key
from services.database import Database, Role
from tests.support.inbound import bench
from tests.support.intuit import Admin, Noted, intuit_of
from tests.support.sandbox import Sandbox

__all__ = ["bench"]

TENANT = "tenant-a"


@pytest.fixture
def fleet(database_url: str) -> Iterator[Database]:
    """The workers' access, over all tenants."""
    with Database(database_url, Role.FLEET) as database:
        yield database


@pytest.fixture
def api(database_url: str) -> Iterator[Database]:
    """The API's access, one tenant at a time."""
    with Database(database_url, Role.API) as database:
        yield database


@pytest.fixture(scope="session")
def key() -> str:
    """The secret key of the tests."""
    return new_key()


@pytest.fixture
def intuit(sandbox: Sandbox, key: str) -> Intuit:
    """Settings that lead to the sandbox."""
    return intuit_of(sandbox, key=key)


@pytest.fixture
def noted() -> Noted:
    """An exception list that remembers."""
    return Noted()


@pytest.fixture
def admin(api: Database, intuit: Intuit, noted: Noted) -> Admin:
    """An accounting admin with a browser."""
    return Admin(api, intuit, noted)
