"""Server processes: free ports, start under a lock, wait until ready, end by process id."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

import psutil

_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORTS_BELOW: Final = 12_000
_LOG_LIMIT: Final = 16 * 1024 * 1024

# Popen objects of servers that may outlive the object that started them: kept so that the operating system's
# zombie is collected by whoever asks next, and Python never warns about a child it may not forget.
_children: dict[int, subprocess.Popen[bytes]] = {}


class StartError(RuntimeError):
    """A server did not come up; the text says which, why, and where its log is."""


class NotRunningError(RuntimeError):
    """A running server was asked for something and there is none in this data folder."""


def free_port() -> int:
    """A TCP port nobody listens on at 127.0.0.1, below the range the kernel gives to outgoing connections.

    A port from that range (what binding to port 0 yields) may be taken by any client between a crash and the
    restart, and a client that keeps dialling a dead port of that range can, by chance, connect to itself. Raises
    `StartError` when none is found.
    """
    try:
        lowest_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except OSError:
        lowest_ephemeral = 32_768
    for _ in range(200):
        port = secrets.choice(range(max(1_024, lowest_ephemeral - _PORTS_BELOW), lowest_ephemeral))
        if port_is_free(port):
            return port
    raise StartError(
        "no free TCP port found on 127.0.0.1 after 200 tries; close some listeners and try again"
    )


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the kernel releases it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def take(path: Path) -> TextIO | None:
    """Take an exclusive lock at once, or None when another process has it.

    It is held until the file is closed or the holder dies. Raises `StartError` when the file cannot be written.
    """
    try:
        handle = path.open("a")
    except OSError as refused:
        raise _not_ours(path) from refused
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def make_folder(path: Path) -> None:
    """Make a data folder that only its owner may enter; raises `StartError` when it cannot be made or used."""
    try:
        path.mkdir(parents=True, mode=0o700, exist_ok=True)
    except OSError as refused:
        raise StartError(
            f"the data folder {path} cannot be made ({refused.strerror}); name another one"
        ) from refused
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise _not_ours(path)


def read(path: Path) -> str:
    """The text of a file in a data folder, "" when it is missing; raises `StartError` when it is another account's."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
    except PermissionError as refused:
        raise _not_ours(path) from refused


def _not_ours(path: Path) -> StartError:
    return StartError(f"{path} belongs to another account; use that account, or name another data folder")


def secret(path: Path, mode: int = 0o600) -> str:
    """The generated secret kept in `path`, made on first use and readable by its owner only."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_hex(20))
    return path.read_text().strip()


def spawn(
    command: Sequence[str | Path],
    *,
    log: Path,
    output: Path | None = None,
    environment: Mapping[str, str] | None = None,
    dies_with_parent: signal.Signals | None = None,
    setpriv: Sequence[str] = (),
) -> int:
    """Start a server in a session of its own (a terminal's Ctrl-C does not reach it); returns its process id.

    Standard error is appended to `log`; so is standard output, unless `output` names another file for it. The
    log's folder becomes the working directory. `setpriv` holds further options of setpriv(1), for a change of
    account. With `dies_with_parent` the kernel sends that signal when the thread that called this function
    ends, however it ends (Linux; elsewhere the caller's own clean-up must do).
    """
    options = list(setpriv)
    if dies_with_parent and shutil.which("setpriv"):
        options.append(f"--pdeathsig={dies_with_parent.name.removeprefix('SIG')}")
    prefix = ["setpriv", *options] if options else []
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".old.log"))
    with log.open("ab") as errors, (output or log).open("ab") as lines:
        child = subprocess.Popen(  # noqa: S603 - programs of the server itself, found by us
            [*prefix, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=lines,
            stderr=errors,
            cwd=log.parent,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
    _children[child.pid] = child
    return child.pid


def process(pid: int) -> psutil.Process | None:
    """The living process with this id, or None. A child that has ended is collected on the way."""
    if (child := _children.get(pid)) is not None and child.poll() is not None:
        del _children[pid]
        return None
    try:
        found = psutil.Process(pid)
        # A zombie with threads left is still closing its files and ports.
        dead = found.status() == psutil.STATUS_ZOMBIE and found.num_threads() <= 1
        return None if dead else found
    except psutil.NoSuchProcess:
        return None


def runs(pid: int, *words: str) -> bool:
    """Whether this process lives and its command line holds all `words`; a recycled process id does not."""
    try:
        return (found := process(pid)) is not None and set(words) <= set(found.cmdline())
    except psutil.Error:
        return False


def environment_of(pid: int) -> dict[str, str]:
    """The environment a living process was started with; {} for a dead or another account's process."""
    shown: dict[str, str] = {}

    def settled() -> bool:
        found = process(pid)
        try:
            shown.update(found.environ() if found else {})
        except psutil.Error:
            return True
        return found is None or bool(shown)

    # While a process turns into another program the kernel shows an empty environment for a moment.
    wait_until(settled, 1)
    return shown


def end(pid: int, sign: signal.Signals, timeout: float) -> None:
    """Send `sign`, wait until the process is gone, and after `timeout` seconds kill it.

    Raises `RuntimeError` when it outlives SIGKILL by as many seconds.
    """
    for attempt in (sign, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, attempt)
        if wait_until(lambda: process(pid) is None, timeout):
            return
    raise RuntimeError(f"process {pid} did not end within {timeout:.0f} s of SIGKILL")


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Ask `condition` again and again, ever less often: True once it holds, False after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    return True


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, to put into an error."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return "\n".join(lines[-count:]) or "(empty log)"
