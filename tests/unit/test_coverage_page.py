"""`docs/coverage.md` and the tables of other pages name tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(
    r"`((?:tests/)?(?:acceptance|bench|chaos|contract|integration|unit)/[\w/]+\.py)(?:::(test_\w+))?`"
)
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if NAMED.search(path.read_text()))


def named_in(path: Path) -> set[str]:
    """Names of the test functions in a file, those of state machines (`TestX = ...`) aside."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_test_exists(page: Path) -> None:
    """A test that is renamed or removed takes its promise with it, so somebody must look."""
    gone = []
    for file, name in NAMED.findall(page.read_text()):
        path = ROOT / "tests" / file.removeprefix("tests/")
        if not path.exists() or (name and name not in named_in(path)):
            gone.append(f"{file}::{name}" if name else file)
    assert gone == []


def test_every_defect_is_covered() -> None:
    """All forty-one are in the table, each with a test."""
    rows = re.findall(r"^\| D(\d+) \|.*`\w+/", (ROOT / "docs" / "coverage.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 42))
