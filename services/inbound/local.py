"""What handlers share that judge a version of an object without asking QuickBooks."""

from __future__ import annotations

from typing import NoReturn

from sqlalchemy import Connection

from services.ledger.operations import Operation
from services.ledger.ports import Found, Look, Problem, Settled
from services.quickbooks.errors import QuickBooksError, Refused
from services.quickbooks.reply import Reply


class LocalHandler:
    """A handler of `services.ledger.ports.Handler` whose `prepare` never sends."""

    kind: str
    queue = "inbound_apply"
    needs_auto_sync = False  # a cycle is opened only when it may be

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Never reached."""
        self._unreachable()

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> None:
        """Never reached."""
        self._unreachable()

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """Never reached."""
        self._unreachable()

    def find(self, operation: Operation, look: Look) -> Found:
        """Never reached."""
        self._unreachable()

    def _unreachable(self) -> NoReturn:
        raise AssertionError(f"{self.kind} is judged without a call to QuickBooks")
