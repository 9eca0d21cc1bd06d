"""The fixture of `tests/support/desk.py`."""

from __future__ import annotations

from tests.support.desk import world

__all__ = ["world"]
