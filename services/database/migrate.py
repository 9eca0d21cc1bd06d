"""Migrations: plain SQL files, run by Alembic in one transaction each."""

from __future__ import annotations

from pathlib import Path

from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from services.database.engine import to_driver_url

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x616C6761  # one migration at a time over all processes ("alga")


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config


def migrate(url: str, revision: str = "head") -> str:
    """Bring the database at `url` to `revision` and return the revision reached.

    The login needs CREATEROLE (or the roles of migration 0001 must exist) and CREATE on the database.
    Safe to call from several processes at once: an advisory lock lets one work while the others wait.
    """
    engine = create_engine(to_driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.commit()
        try:
            config = _config(url)
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()
    return current_revision(url) or ""


def current_revision(url: str) -> str | None:
    """The revision the database is at, or None before the first migration."""
    engine = create_engine(to_driver_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table_schema": "algasync"})
        return context.get_current_revision()


def head_revision() -> str:
    """The newest revision this code knows."""
    head = ScriptDirectory.from_config(_config("")).get_current_head()
    assert head is not None
    return head


def apply(name: str) -> None:
    """Run a migration's SQL file as the owning role; called by the files in `migrations/versions`."""
    statements = (MIGRATIONS / "sql" / name).read_text(encoding="utf-8")
    connection = op.get_bind().execution_options(no_parameters=True)
    if name != "0001_roles.sql":
        connection.exec_driver_sql(
            "SET LOCAL ROLE algasync_owner; SET LOCAL search_path TO algasync, pg_catalog"
        )
    connection.exec_driver_sql(statements)
    connection.exec_driver_sql("RESET ROLE; RESET search_path")
