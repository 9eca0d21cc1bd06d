"""Servers of a bench: a database, and a sandbox company in a process of its own, gone when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen. `api` stands for Intuit, `control` plays the bookkeeper; no trailing slashes."""

    database_url: str
    api: str
    control: str


@contextmanager
def database() -> Iterator[str]:
    """DATABASE_URL, else a private PostgreSQL in a temporary folder, gone when it ends."""
    from deploy.local import PostgresqlServer
    from services.configuration import configuration

    given = configuration().database_url
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="algasync-bench-") as folder:
        Path(folder).chmod(0o711)  # root's servers run under another account and must be able to pass
        server = PostgresqlServer(Path(folder) / "postgresql")
        try:
            server.start(dies_with_parent=True)
            yield server.url
        finally:
            server.kill()


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """A new database on the server of `url`, dropped at the end."""
    import psycopg
    from psycopg import sql

    name = sql.Identifier(f"algasync_bench_{os.getpid()}")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name.as_string()[1:-1]}"))
        finally:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@contextmanager
def servers() -> Iterator[Servers]:
    """The database, and a fresh sandbox."""
    with database() as url:
        sandbox = subprocess.Popen(
            [sys.executable, "-m", "services.sandbox"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert sandbox.stdout is not None
            told = json.loads(sandbox.stdout.readline())
            yield Servers(url, told["api"].rstrip("/"), told["control"].rstrip("/"))
        finally:
            sandbox.kill()  # its books are in memory and nobody wants them back
            sandbox.communicate()
