"""The RabbitMQ package of this machine: where its programs are, which version it is, how to install it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

_INSTALL: Final = Path(__file__).with_name("install-rabbitmq.sh")
_OLDEST: Final = (3, 10)

# Packages put a wrapper on PATH that only root and `rabbitmq` may call; the scripts behind it run for anyone.
_PLACES: Final = (
    "usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin",
    "usr/lib/rabbitmq/bin",
    "opt/rabbitmq/sbin",
    "opt/homebrew/opt/rabbitmq/sbin",
    "usr/local/opt/rabbitmq/sbin",
    "usr/local/sbin",
)


class NotInstalledError(RuntimeError):
    """There is no usable `rabbitmq-server` on this machine; the text says what to type."""


def scripts() -> Path:
    """The folder of `rabbitmq-server` and `rabbitmqctl`; raises `NotInstalledError`."""
    found = [
        folder for place in _PLACES for folder in sorted(Path("/").glob(place), key=_version, reverse=True)
    ]
    if (on_path := shutil.which("rabbitmq-server")) is not None:
        found.append(Path(on_path).resolve().parent)
    installed = [folder for folder in found if (folder / "rabbitmq-server").exists() and shutil.which("erl")]
    for folder in installed:
        if not (0,) < _version(folder) < _OLDEST:
            return folder
    refusal = (
        f"RabbitMQ {_words(_version(installed[0]))} is too old" if installed else "RabbitMQ is not installed"
    )
    raise NotInstalledError(
        f"{refusal} on this machine: run `sh {_INSTALL}` (Debian, Ubuntu; as root), "
        f"install rabbitmq-server {_words(_OLDEST)} or later another way, "
        "or set BROKER_URL=amqp://user:password@host:5672/ to a broker of your own"
    )


def installed() -> bool:
    """Whether a private node can be started on this machine."""
    try:
        scripts()
    except NotInstalledError:
        return False
    return True


def version() -> str | None:
    """Version of the package, for example `3.10.8`; None without a usable one."""
    try:
        return _words(_version(scripts()))
    except NotInstalledError:
        return None


def install() -> None:
    """Install the system's package `rabbitmq-server`; raises `NotInstalledError` with what to type."""
    done = subprocess.run(  # noqa: S603 - our own script
        ["/bin/sh", _INSTALL], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotInstalledError((done.stderr or done.stdout).strip())
    scripts()


def epmd() -> str:
    """Erlang's port mapper: on PATH, or next to the Erlang runtime that `erl` starts.

    Raises `NotInstalledError` when it is in neither place.
    """
    if (found := shutil.which("epmd")) is not None:
        return found
    runtime = Path(shutil.which("erl") or "/usr/bin/erl").resolve().parents[1]
    candidates = sorted(runtime.glob("erts-*/bin/epmd"))
    if not candidates:
        raise NotInstalledError(
            f"Erlang's epmd is neither on PATH nor below {runtime}; install erlang-base again"
        )
    return str(candidates[-1])


def _version(folder: Path) -> tuple[int, ...]:
    """The version of the scripts in `folder`, as numbers so that 3.10 comes after 3.9; () when nothing tells it."""
    told = [
        re.match(r"rabbit-(\d+(?:\.\d+)*)", plugin.name)
        for plugin in folder.resolve().parent.glob("plugins/*")
    ]
    return max((tuple(map(int, match.group(1).split("."))) for match in told if match), default=())


def _words(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) or "of unknown version"
