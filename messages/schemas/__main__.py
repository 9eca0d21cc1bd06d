"""`python -m messages.schemas write` writes the schemas and the AsyncAPI document; `check` says what is not current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from messages import schemas
from messages.schemas import asyncapi
from messages.schemas.compatibility import breaks


def main(arguments: Sequence[str] | None = None, folder: Path = schemas.FOLDER) -> int:
    """Run the command on the files of a folder; 1 means a change breaks the contract, or files are not current."""
    parser = argparse.ArgumentParser(prog="python -m messages.schemas", description=__doc__)
    parser.add_argument("command", choices=["write", "check"])
    command = parser.parse_args(arguments).command
    new = schemas.generated()
    broken = breaks(schemas.published(folder), new)
    if broken:
        say("This change breaks the contract. Give the event a new version and keep the old one:", *broken)
        return 1
    files = {folder / f"{name}.json": schema for name, schema in new.items()}
    files[folder.parent / asyncapi.FILE.name] = asyncapi.document()
    stale = {
        file: schemas.text(content)
        for file, content in files.items()
        if not file.exists() or file.read_text("utf-8") != schemas.text(content)
    }
    if command == "check":
        say(*(f"{file.name} is not current; run `python -m messages.schemas write`" for file in stale))
        return 1 if stale else 0
    for file, content in stale.items():
        file.write_text(content, "utf-8")
    say(f"{len(stale)} files written, {len(files) - len(stale)} were current")
    return 0


def say(*lines: str) -> None:
    """Print lines."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
