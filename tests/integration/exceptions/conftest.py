"""Fixtures of `tests/support/desk.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Called, world

__all__ = ["desk", "world"]


@pytest.fixture
def desk(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Called:
    """An operator at the commands, within this process."""
    return Called(database_url, tmp_path, monkeypatch, capsys)
