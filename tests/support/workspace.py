"""A folder for the servers of one test run, and no trace of runs that were killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import deploy.local.process

_PREFIX = "algasync-tests-"


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """The run's own folder below the system's temporary folder; gone at the end.

    Folders of runs whose process is dead are removed first: their servers ended with them.
    """
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)  # root's servers run under another account and must be able to pass
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that names a TCP port free on 127.0.0.1."""
    return deploy.local.process.free_port
