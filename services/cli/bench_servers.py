"""Servers of a bench: a database, and a sandbox company in a process of its own, gone when it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen. `api` stands for Intuit, `control` plays the bookkeeper; no trailing slashes."""

    database_url: str
    api: str
    control: str


@contextmanager
def servers() -> Iterator[Servers]:
    """DATABASE_URL, else a private PostgreSQL in a temporary folder; and a fresh sandbox."""
    from deploy.local import PostgresqlServer
    from services.configuration import configuration

    given = configuration().database_url
    with tempfile.TemporaryDirectory(prefix="algasync-bench-") as folder:
        Path(folder).chmod(0o711)  # root's servers run under another account and must be able to pass
        server = None if given else PostgresqlServer(Path(folder) / "postgresql")
        sandbox = subprocess.Popen(
            [sys.executable, "-m", "services.sandbox"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            if server is not None:
                server.start(dies_with_parent=True)
            assert sandbox.stdout is not None
            told = json.loads(sandbox.stdout.readline())
            url = server.url if server else given
            yield Servers(url, told["api"].rstrip("/"), told["control"].rstrip("/"))
        finally:
            sandbox.kill()  # its books are in memory and nobody wants them back
            sandbox.communicate()
            if server is not None:
                server.kill()
