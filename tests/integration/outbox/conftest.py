"""What tests of the outbox share."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from services.database import Database, Role
from tests.integration.outbox.events import Session
from tests.integration.outbox.relaying import Queue


@pytest.fixture
def fleet(database_url: str) -> Iterator[Database]:
    """The fleet's access to a fresh database."""
    with Database(database_url, Role.FLEET) as database:
        yield database


@pytest.fixture
def owner(database_url: str) -> Iterator[Session]:
    """A session that sees everything, for looking at results; each statement commits."""
    with psycopg.connect(
        database_url, options="-c search_path=algasync,pg_catalog", autocommit=True
    ) as session:
        yield session


@pytest.fixture
def intake(broker_url: str) -> Iterator[Queue]:
    """Where billing events arrive."""
    queue = Queue(broker_url, "intake")
    yield queue
    queue.close()
