"""What a body says it is, before anybody acts on it. Parsing only: nothing here looks anything up or writes."""

from __future__ import annotations

from typing import Any, Final

from dramatiq.encoder import Encoder, MessageData

from messages import body as bodies
from messages.commands import VERSION
from messages.errors import Problem, UnknownType

COMMAND: Final = f"command.v{VERSION}"
"""Type of a command; commands carry a version instead of a type of their own."""


class PlainEncoder(Encoder):
    """Dramatiq's seam for bodies. Ours are CloudEvents and commands, not Dramatiq's own envelope."""

    def encode(self, data: MessageData) -> bytes:
        """Write plain values as compact JSON."""
        return bodies.write(data)

    def decode(self, data: bytes) -> MessageData:
        """Read a body; returns its `type` and its `plain` values. Raises `messages.BadMessage` and nothing else."""
        plain = bodies.read(data)
        return {"type": _type(plain), "plain": plain}


def _type(plain: Any) -> str:
    if isinstance(plain, dict):
        if isinstance(name := plain.get("type"), str):
            return name
        if "operation_id" in plain:
            return f"command.v{plain.get('version')}"
    raise UnknownType([Problem("type", "is missing: neither a CloudEvents event nor a command of ours")])
