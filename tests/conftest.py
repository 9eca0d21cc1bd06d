"""Fixtures every test may use; `docs/local.md` lists them, `tests/support/` holds them."""

from __future__ import annotations

import sys
from pathlib import Path

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
]
