"""Migrating as an ordinary login: CREATEROLE and a database of one's own are enough, on every PostgreSQL."""

from __future__ import annotations

import secrets
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from deploy.local import PostgresqlServer
from services.database import Database, Role, head_revision, migrate


def test_migrates_without_a_superuser(workspace: Path) -> None:
    """The login makes the roles, acts as each of them, and may migrate again; it never was a superuser."""
    server = PostgresqlServer(workspace / f"postgresql-{secrets.token_hex(4)}")
    server.start(dies_with_parent=True)
    try:
        with psycopg.connect(server.url, autocommit=True) as superuser:
            superuser.execute("CREATE ROLE app LOGIN CREATEROLE PASSWORD 'fake-password'")
            superuser.execute("CREATE DATABASE appdb OWNER app")
        parts = urlsplit(server.url)
        netloc = f"app:fake-password@{parts.hostname}:{parts.port}"
        url = urlunsplit(parts._replace(netloc=netloc, path="/appdb"))
        assert migrate(url) == head_revision()
        assert migrate(url) == head_revision()
        for role in (Role.FLEET, Role.API, Role.EMIT):
            with Database(url, role) as database, database.transaction("t1") as connection:
                assert connection.exec_driver_sql("SELECT current_user").scalar_one() == role
    finally:
        server.kill()
