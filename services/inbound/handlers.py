"""The registry: which handler knows which kind of inbound operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.inbound.customers import CheckCustomer
from services.inbound.documents import CheckDocument
from services.inbound.payments import ApplyPayment
from services.inbound.poll import Poll
from services.inbound.refunds import ReportRefund
from services.ledger.ports import Handler

_ALL: tuple[Handler, ...] = (Poll(), ApplyPayment(), CheckCustomer(), CheckDocument(), ReportRefund())

HANDLERS: Final[Mapping[str, Handler]] = {handler.kind: handler for handler in _ALL}
"""Handlers by the kind of operation they know."""
