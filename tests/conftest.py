"""Fixtures every test may use; `docs/local.md` lists them, `tests/support/` holds them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

# Tests are not installed: this makes `tests.support` importable however pytest was started.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

pytest_plugins = [
    "tests.support.workspace",
    "tests.support.databases",
    "tests.support.brokers",
    "tests.support.sandbox",
    "tests.support.command",
    "tests.support.ledger",
    "tests.support.exporting",
    "tests.support.fleet",
    "tests.support.installation",
]


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A command run inside a test sets logs up for its own process, which here is everyone's."""
    yield
    structlog.reset_defaults()
