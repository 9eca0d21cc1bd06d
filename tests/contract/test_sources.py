"""Every contract test about QuickBooks says where its rule comes from, in the words of docs/sources.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = sorted(path for folder in ("quickbooks", "sandbox") for path in (HERE / folder).glob("test_*.py"))
NAMED = re.compile(r"\[([A-Za-z-]+(?:, [A-Za-z-]+)*)\]")


def words() -> set[str]:
    """The sources that docs/sources.md explains."""
    page = (HERE.parents[1] / "docs" / "sources.md").read_text()
    cells = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    return {word for cell in cells for word in cell.split(", ")} - {"word"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_test_names_its_source(module: Path) -> None:
    """In brackets in its docstring; a source that nobody explained is no source."""
    known, unsourced = words(), []
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            told = NAMED.findall(ast.get_docstring(node) or "")
            if not any(set(one.split(", ")) <= known for one in told):
                unsourced.append(node.name)
    assert unsourced == []
