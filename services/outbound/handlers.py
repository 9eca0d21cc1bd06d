"""The registry: which handler knows which kind of operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.ledger.ports import Handler
from services.outbound.export_invoice import ExportInvoice
from services.outbound.unsupported import Unsupported

_ALL: tuple[Handler, ...] = (ExportInvoice(), Unsupported())

HANDLERS: Final[Mapping[str, Handler]] = {handler.kind: handler for handler in _ALL}
"""Handlers by the kind of operation they know."""
