"""How the story is told: a live view in a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live

from services.cli.demo.view import Snapshot, render

QUIET = 2.0  # seconds between two plain lines about the state


class PlainNarrator:
    """Lines for logs and pipes; the state is told when it changed, and not too often."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""
        self._told = 0.0

    def say(self, sentence: str) -> None:
        """A new step begins."""
        self._stream.write(sentence + "\n")
        self._stream.flush()

    def show(self, snapshot: Snapshot, expected: int) -> None:
        """The state, when it changed."""
        line = f"  {snapshot.line}"
        if line != self._last and time.monotonic() - self._told > QUIET:
            self.say(line)
            self._last, self._told = line, time.monotonic()


class LiveNarrator:
    """The live view; use as a context."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._headline = ""
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveNarrator:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, sentence: str) -> None:
        """A new step: the headline of the view, and a line above it that stays."""
        self._headline = sentence
        self._live.console.print(sentence, highlight=False)

    def show(self, snapshot: Snapshot, expected: int) -> None:
        """Redraw."""
        self._live.update(render(snapshot, expected, self._headline))
