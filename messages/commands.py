"""Commands: work for the fleet. The broker carries which operation to take; the ledger holds the rest."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, ValidationError

from messages import body as bodies
from messages.errors import InvalidCommand, Problem, UnknownVersion
from messages.refusals import problems_in
from messages.shape import Shape, Uuid, shown

CONTENT_TYPE: Final = "application/vnd.algasync.command+json"
VERSION: Final = 1
MAX_BYTES: Final = 4096  # a command has about 90


class Command(Shape):
    """Take this operation, in this attempt. A command for an attempt that is over changes nothing."""

    operation_id: Uuid
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]


def encode(command: Command) -> bytes:
    """Write a command as bytes."""
    return bodies.write({"version": VERSION, **command.plain()})


def parse(body: bytes) -> Command:
    """Read a command from bytes.

    Raises BadJson, TooLarge, TooDeep, UnknownVersion, or InvalidCommand naming the field.
    """
    plain = bodies.read(body, limit=MAX_BYTES)
    if not isinstance(plain, dict):
        raise InvalidCommand([Problem("body", f"is {shown(plain)}; send one JSON object")])
    version = plain.get("version")
    if type(version) is not int or version != VERSION:
        raise UnknownVersion([Problem("version", f"is {shown(version)}; this fleet reads {VERSION}")])
    try:
        return Command.model_validate(plain)
    except ValidationError as error:
        raise InvalidCommand(problems_in(error, Command)) from None
