"""Fixtures of the tests of the zero-drift statement."""

from __future__ import annotations

from tests.support.reconcile import books

__all__ = ["books"]
