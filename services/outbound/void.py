"""What voids of both forms have in common: in a closed period a document in the open one may offset the form instead.

Whose turn it is, the void's or the offset's, is known by the stored call and by what somebody decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from services.ledger.operations import Operation
from services.ledger.ports import Found, Look, Problem
from services.outbound.closed_books import Instead
from services.outbound.handler import OutboundHandler, as_it_is
from services.outbound.offsets import Offset
from services.quickbooks.errors import QuickBooksError, Refused


class Void(OutboundHandler):
    """A handler of a void, without `prepare` and `settle`; `offset` are the steps that may take its place."""

    needs_auto_sync = False  # the books must follow
    act = "void"
    offset: Offset

    def instead(self, operation: Operation) -> Instead:
        """The opposite form in the open period."""
        return self.offset.instead(operation)

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """The form as it is; or what stands in the way of what offsets it."""
        if self.offset.under_way(operation):
            return self.offset.inspect(operation, refusal, look)
        return super().inspect(operation, refusal, look)

    def find(self, operation: Operation, look: Look) -> Found:
        """What is to be voided, as it is: a void may be repeated. What offsets it is looked for."""
        if self.offset.under_way(operation):
            return self.offset.find(operation, look)
        return as_it_is(operation, look)

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """As for others; an opposite that could not be tied is named."""
        return self.offset.named(connection, operation, super().refused(connection, operation, refusal))
