"""Fixtures of `tests/support/desk.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import RunCli
from tests.support.desk import Installed, world

__all__ = ["desk", "world"]


@pytest.fixture
def desk(database_url: str, tmp_path: Path, run_cli: RunCli) -> Installed:
    """An operator at a terminal, with the installed program."""
    return Installed(database_url, tmp_path, run_cli)
