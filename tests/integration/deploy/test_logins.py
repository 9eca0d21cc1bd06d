"""The logins of a deployment: each can do its work and no more, on a real server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError

from deploy.local import PostgresqlServer
from services.database import Database, Role, head_revision, migrate
from services.database.engine import ALL_TENANTS

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


@pytest.fixture(scope="module")
def logins(workspace: Path) -> Iterator[dict[str, str]]:
    """A server as `deploy/` sets it up: the URL of each login."""
    secrets = workspace / "deploy-secrets"
    subprocess.run(["/bin/sh", DEPLOY / "secrets.sh", secrets], check=True, capture_output=True)
    server = PostgresqlServer(workspace / "postgresql-deploy")
    url = server.start(dies_with_parent=True)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            for script in (DEPLOY / "postgresql" / "10-logins.sql", secrets / "20-passwords.sql"):
                connection.execute(script.read_bytes())
        yield {
            name: _url(url, f"algasync_{name}", (secrets / f"{name}_password").read_text())
            for name in ("migrator", "worker", "server")
        }
    finally:
        server.kill()


def _url(url: str, user: str, password: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return f"postgresql://{user}:{password}@127.0.0.1:{parts['port']}/{parts['dbname']}?host={parts['host']}"


@pytest.fixture(scope="module")
def migrated(logins: dict[str, str]) -> dict[str, str]:
    """The same, migrated by the login meant for it."""
    assert migrate(logins["migrator"]) == head_revision()
    assert migrate(logins["migrator"]) == head_revision()
    return logins


def test_each_login_does_its_work(migrated: dict[str, str]) -> None:
    """Workers work across tenants, the API within one."""
    with (
        Database(migrated["worker"], Role.FLEET) as database,
        database.transaction(ALL_TENANTS) as connection,
    ):
        assert connection.execute(text("SELECT count(*) FROM operation")).scalar_one() == 0
    with Database(migrated["server"], Role.API) as database, database.transaction("t1") as connection:
        assert connection.execute(text("SELECT count(*) FROM exception")).scalar_one() == 0


@pytest.mark.parametrize(
    ("login", "role"),
    [("server", Role.FLEET), ("server", Role.OWNER), ("worker", Role.OWNER), ("worker", Role.API)],
)
def test_no_login_becomes_more(migrated: dict[str, str], login: str, role: Role) -> None:
    """An API that is taken over cannot act as the fleet, and nobody but the migration owns anything."""
    with (
        Database(migrated[login], role) as database,
        pytest.raises((OperationalError, ProgrammingError), match="permission denied"),
        database.transaction("t1"),
    ):
        pass


def test_a_login_alone_sees_nothing(migrated: dict[str, str]) -> None:
    """Without taking its role a login has no right to a single table."""
    with (
        psycopg.connect(migrated["server"]) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT 1 FROM algasync.exception")
