"""PostgreSQL for tests: the server of DATABASE_URL, else the embedded one; a fresh database for each test."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from deploy.local import PostgresqlServer, StartError
from services.database import migrate


@pytest.fixture(scope="session")
def postgresql_url(workspace: Path) -> Iterator[str]:
    """The PostgreSQL server of this run, as a superuser's or database creator's URL."""
    given = os.environ.get("DATABASE_URL")
    if given:
        check(given)
        yield given
        return
    server = PostgresqlServer(workspace / "postgresql")
    try:
        server.start(dies_with_parent=True)
    except StartError as refused:
        pytest.fail(f"These tests need PostgreSQL 15-18, and there is none: {refused}", pytrace=False)
    yield server.url
    server.kill()  # its data goes too: no need for a last checkpoint


@pytest.fixture(scope="session")
def _migrated(postgresql_url: str) -> Iterator[str]:
    """Name of the database that every other one is copied from: all migrations, no rows, no sessions."""
    name = _new_name()
    _administer(postgresql_url, sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"), name)
    migrate(_with_database(postgresql_url, name))
    yield name
    _administer(postgresql_url, sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)


@pytest.fixture
def database_url(postgresql_url: str, _migrated: str) -> Iterator[str]:
    """A fresh, migrated database for this test alone, as the URL of its owner."""
    yield from _copy(postgresql_url, _migrated)


@pytest.fixture(scope="module")
def module_database_url(postgresql_url: str, _migrated: str) -> Iterator[str]:
    """A fresh, migrated database that the tests of one module share."""
    yield from _copy(postgresql_url, _migrated)


@pytest.fixture
def database_server(workspace: Path) -> Iterator[PostgresqlServer]:
    """A private, running PostgreSQL that the test may kill, stop and start; its database is migrated."""
    server = PostgresqlServer(workspace / f"postgresql-{secrets.token_hex(4)}")
    try:
        server.start(dies_with_parent=True)
    except StartError as refused:
        pytest.fail(
            f"This test needs a PostgreSQL that it may kill, and there is none: {refused}", pytrace=False
        )
    migrate(server.url)
    yield server
    server.kill()


def _copy(server: str, template: str) -> Iterator[str]:
    name = _new_name()
    _administer(server, sql.SQL("CREATE DATABASE {} TEMPLATE {}"), name, template)
    yield _with_database(server, name)
    _administer(server, sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)


def _new_name() -> str:
    return f"algasync_test_{os.getpid()}_{secrets.token_hex(4)}"


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _administer(url: str, statement: sql.SQL, *names: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.format(*map(sql.Identifier, names)))


def check(url: str) -> None:
    """Fail with a sentence when the given server cannot be used."""
    hint = "set DATABASE_URL to a PostgreSQL 15-18, or unset it to use the embedded one"
    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            major = connection.info.server_version // 10_000
            row = connection.execute(
                "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
    except psycopg.Error as refused:
        pytest.fail(f"DATABASE_URL does not answer ({str(refused).strip()}): {hint}", pytrace=False)
    if not 15 <= major <= 18:
        pytest.fail(f"DATABASE_URL names a PostgreSQL {major}: {hint}", pytrace=False)
    if row is None or not row[0]:
        pytest.fail(
            "DATABASE_URL's user may not create databases: ALTER ROLE ... CREATEDB, or " + hint, pytrace=False
        )
