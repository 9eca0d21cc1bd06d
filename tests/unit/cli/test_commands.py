"""Every command of the tree: help, examples, and how fast help answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from services.cli import console
from services.cli.application import app, run


def leaves(command: Any, path: tuple[str, ...] = ("algasync",)) -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    children = getattr(command, "commands", None)
    if not children:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_it_does_and_shows_an_example(name: str) -> None:
    """Each command's help has a sentence and an example that names the command itself."""
    command = COMMANDS[name]
    text = f"{command.help or ''} {command.epilog or ''}"
    assert len((command.help or "").split()) > 3
    assert f"{name} " in f"{text.partition('Example:')[2]} "


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    """No option and no argument goes without a word about it."""
    unexplained = [one.name for one in COMMANDS[name].params if not getattr(one, "help", None)]
    assert unexplained == []


def test_the_commands_of_the_design_exist() -> None:
    """The names that documentation and scripts rely on."""
    groups = {
        "": "migrate recover doctor pause resume relay workers dispatcher scheduler collector api sandbox",
        "dead-letters ": "list show replay discard",
        "exceptions ": "list show retry ignore assign causes",
        "operations ": "list show",
        "connections ": "list health connect make-default disconnect set-cursor timeline",
        "connections credentials ": "show set clear",
        "mappings ": "set list delete",
    }
    expected = {f"algasync {group}{name}" for group, names in groups.items() for name in names.split()}
    assert expected <= set(COMMANDS)


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ("dead-letters list --since yesterday", "--since"),
        ("dead-letters list --limit 0", "--limit"),
        ("keys create --tenant t", "--name"),
        ("mappings set item --tenant t", "ours"),
        ("doctor --nope", "--nope"),
        ("nope", ""),
        ("exceptions list --csv", "--csv"),
    ],
)
def test_input_that_is_misread_is_json_too(
    written: str, field: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json a program gets one object on standard output, whatever was wrong with its input; exit code 2."""
    monkeypatch.setattr(sys, "argv", ["algasync", *written.split(), "--json"])
    monkeypatch.setattr(console.mode, "json", False)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["field"] == field
    assert error["message"]


@pytest.mark.parametrize("written", ["relay --port 99999", "workers --threads 0", "sandbox --port -1"])
def test_a_process_refuses_what_cannot_be(
    written: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port or a number of threads that cannot be is named before anything starts; exit code 2."""
    monkeypatch.setattr(sys, "argv", ["algasync", *written.split()])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert written.split()[1] in capsys.readouterr().err


def test_help_needs_none_of_the_heavy_rooms() -> None:
    """Help and completion stay instant: the tree of commands imports no database, broker or web library."""
    heavy = ("sqlalchemy", "kombu", "pika", "dramatiq", "fastapi", "pydantic", "alembic", "messages")
    code = f"import sys, services.cli.application; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
