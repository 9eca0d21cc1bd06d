"""What commands print: tables on a terminal, plain lines elsewhere, one JSON object with `--json`.

Results go to standard output, everything said about the way there to standard error, so that output can be
piped whatever happens.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import typer

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit codes: done; done in part, or findings; wrong input, nothing changed; a server cannot be reached."""


@dataclasses.dataclass
class Mode:
    """How this run prints."""

    json: bool = False


mode = Mode()


class Told(Exception):
    """An error in words for the operator, with the exit code that scripts see."""

    def __init__(
        self, sentence: str, *, code: str = "failed", field: str = "", exit_code: int = FAILED
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.code = code
        self.field = field
        self.exit_code = exit_code


def on_terminal() -> bool:
    """Whether a person reads standard output as it comes."""
    return sys.stdout.isatty()


def result(value: Mapping[str, Any]) -> None:
    """The one JSON object of a `--json` run; call it only then."""
    typer.echo(json.dumps(plain(value), ensure_ascii=False, indent=2 if on_terminal() else None))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, obvious: Mapping[str, str | None] | None = None
) -> None:
    """Rows under headings: a table that fits the terminal, tab-separated lines elsewhere.

    On a terminal ids are their last 12 characters, which every command takes, and columns are left out whose cells
    are all empty, or all what `obvious` says of them.
    """
    found = [list(row) for row in rows]
    if not on_terminal():
        for line in [list(columns), *([_cell(value) for value in row] for row in found)]:
            typer.echo("\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in line))
        return
    from rich.console import Console
    from rich.table import Table

    written = [[_short(value) for value in row] for row in found]
    plain_values = {"TRY": "1", "SEEN": "1", **(obvious or {})}
    shown = [
        place
        for place, name in enumerate(columns)
        if not written or any(row[place] not in {"", plain_values.get(name)} for row in written)
    ]
    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place in shown:
        prose = columns[place] in _PROSE
        drawn.add_column(columns[place], overflow="fold" if prose else "ellipsis", no_wrap=not prose)
    for row in written:
        drawn.add_row(*(row[place] for place in shown))
    Console(markup=False, highlight=False).print(drawn)


_PROSE = frozenset(
    {"WHAT", "CAUSE", "NAME", "MESSAGE", "FIX", "EXPLANATION", "WHY", "DETAILS", "NOTE", "SCOPES"}
)


def _short(value: Any) -> str:
    return str(value)[-12:] if isinstance(value, UUID) else _cell(value)


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, one a line; what is empty stays out."""
    known = [(name, _cell(value)) for name, value in pairs if value not in (None, "", [], {})]
    widest = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        typer.echo(f"{name:<{widest}}  {value}")


def say(sentence: str = "") -> None:
    """A line for people; silent with `--json`."""
    if not mode.json:
        typer.echo(sentence)


def note(sentence: str) -> None:
    """A line about the way, on standard error."""
    typer.echo(sentence, err=True)


def fail(error: Told) -> None:
    """Say what went wrong, as JSON too when that was asked for."""
    if mode.json:
        result({"error": {"code": error.code, "field": error.field, "message": error.sentence}})
    named = not error.field or error.sentence.startswith(error.field)
    note(error.sentence if named else f"{error.field}: {error.sentence}")


def plain(value: Any) -> Any:
    """JSON values of dataclasses, ids, instants and what holds them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (UUID, Decimal, StrEnum)):
        return str(value)
    return value


def age(moment: datetime | None) -> str:
    """How long ago, in the largest unit that says enough: 42s, 17m, 5h, 12d."""
    if moment is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, (dict, list)):
        return json.dumps(plain(value), ensure_ascii=False)
    return str(value)
