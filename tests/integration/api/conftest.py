"""Fixtures of the API tests."""

from __future__ import annotations

from tests.support.api import served, shared

__all__ = ["served", "shared"]
