"""What documentation and error messages tell people to type can be typed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from services.cli.application import app

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    path for room in ("services", "workers", "outbox", "deploy") for path in (ROOT / room).rglob("*.py")
]
TREE: Any = typer.main.get_command(app)


def unknown(line: str) -> str | None:
    """What of a line that begins with `algasync` does not exist; None when all of it does."""
    command, words = TREE, line.split()[1:]
    while words and (children := getattr(command, "commands", None)):
        if (child := children.get(words[0])) is None:
            break
        command, words = child, words[1:]
    if getattr(command, "commands", None) and words and not words[0].startswith("-"):
        return words[0]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    return next((word for word in words if word.startswith("--") and word.split("=")[0] not in known), None)


def typed(page: Path) -> Iterator[str]:
    """The lines of a page's code blocks that call the program, without prompt, settings and comment."""
    text = page.read_text().replace("\\\n", " ")
    for block in re.findall(r"```\w*\n(.*?)```|((?:^ {4}.*\n?)+)", text, flags=re.DOTALL | re.MULTILINE):
        for line in "".join(block).splitlines():
            call = re.sub(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?", "", line)
            if call.startswith("algasync ") and not re.match(r"algasync \w+ \| ", call):
                yield re.split(r"\s{2,}|\s[#|>]\s?", call)[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_exist(page: Path) -> None:
    """Every command line in a code block of the documentation names commands and options that exist."""
    assert {line: found for line in typed(page) if (found := unknown(line))} == {}


def _said(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_options_that_messages_and_helps_advise_exist() -> None:
    """An error that says `algasync dead-letters discard --because ...` names options of that very command."""
    wrong = {}
    for module in MODULES:
        for text in _said(module):
            for call in re.findall(r"algasync [a-z][a-z-]+(?: [^`\n;]*)? --[^`\n;.]*", text):
                command = " ".join(re.findall(r"^algasync(?: [a-z][a-z-]*)+|--[a-z-]+", call))
                if found := unknown(command):
                    wrong[f"{module.relative_to(ROOT)}: {call}"] = found
    assert {call: found for call, found in wrong.items() if found.startswith("--")} == {}


def test_the_check_finds_what_is_planted() -> None:
    """A check that cannot fail proves nothing."""
    assert unknown("algasync doctor --json") is None
    assert unknown("algasync doctor --nonsense") == "--nonsense"
    assert unknown("algasync dead-letters forget --id 1") == "forget"
    assert shlex.split(next(typed(ROOT / "docs" / "operators.md")))[0] == "algasync"
