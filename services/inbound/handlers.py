"""The registry: which handler knows which kind of inbound operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.inbound.poll import Poll
from services.ledger.ports import Handler

_ALL: tuple[Handler, ...] = (Poll(),)

HANDLERS: Final[Mapping[str, Handler]] = {handler.kind: handler for handler in _ALL}
"""Handlers by the kind of operation they know."""
