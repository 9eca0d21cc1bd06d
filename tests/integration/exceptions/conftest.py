"""Fixtures of `tests/support/desk.py`."""

from __future__ import annotations

import pytest

from tests.support.desk import Called, world

__all__ = ["desk", "world"]


@pytest.fixture
def desk(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """An operator at the commands, within this process."""
    return Called(database_url, monkeypatch, capsys)
