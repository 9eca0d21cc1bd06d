"""What a process says from now on: evidence, from outside, that it has met what was done to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Ear:
    """Reads a log from where it ends at this moment; a log that was begun anew meanwhile is read from its start."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._begin = log.stat().st_size if log.exists() else 0

    def lines(self) -> list[str]:
        """Every whole line since then."""
        try:
            with self._log.open("rb") as log:
                log.seek(self._begin if self._log.stat().st_size >= self._begin else 0)
                written = log.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return written.rpartition("\n")[0].splitlines()

    def count(self, words: str) -> int:
        """In how many lines these words stand."""
        return sum(words in line for line in self.lines())

    def said(self, event: str = "") -> Iterator[dict[str, Any]]:
        """Structured lines, all or those of one event."""
        for line in self.lines():
            try:
                said = json.loads(line)
            except ValueError:  # a traceback
                continue
            if isinstance(said, dict) and event in ("", said.get("event")):
                yield said
