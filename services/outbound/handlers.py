"""The registry: which handler knows which kind of operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.ledger.ports import Handler
from services.outbound.export_form import EXPORT_CREDIT_MEMO, EXPORT_INVOICE
from services.outbound.unsupported import Unsupported

_ALL: tuple[Handler, ...] = (EXPORT_INVOICE, EXPORT_CREDIT_MEMO, Unsupported())

HANDLERS: Final[Mapping[str, Handler]] = {handler.kind: handler for handler in _ALL}
"""Handlers by the kind of operation they know."""
