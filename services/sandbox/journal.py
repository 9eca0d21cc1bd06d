"""The state file: one JSON line a request, written before the answer leaves, read back at the start.

A request's entries stand in one line, so they are there together or not at all: a line that a kill tore is
dropped. The kernel keeps what was written when the process dies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from services.sandbox.amounts import decode, encode

Entry = dict[str, Any]


class Journal:
    """An append-only file; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._pending: list[Entry] = []

    def read(self) -> list[Entry]:
        """Everything written so far, oldest first; opens the file for writing behind it."""
        if self._path is None:
            return []
        entries: list[Entry] = []
        good = 0
        if self._path.exists():
            with self._path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    entries.extend(decode(line))
                    good += len(line)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        self._file.truncate(good)
        return entries

    @property
    def keeps(self) -> bool:
        """Whether entries go anywhere."""
        return self._file is not None

    def write(self, entry: Entry) -> None:
        """Note an entry for the next `flush`."""
        if self._file is not None:
            self._pending.append(entry)

    def flush(self) -> None:
        """Write what was noted, as one line. To be called before the answer leaves."""
        if self._file is not None and self._pending:
            self._file.write(encode(self._pending) + b"\n")
            self._pending.clear()

    def clear(self) -> None:
        """Forget everything: the sandbox was reset."""
        self._pending.clear()
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        """Close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None
