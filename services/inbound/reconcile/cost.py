"""What a statement costs in metered reads: told before it is made, and again, exactly, after.

A thousand rows are one read, and pages overlap by a row (`services.quickbooks.pages`). How many rows there are is
known from the statement before, which costs nothing, or is asked, one read an entity.
https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#limits-and-throttles
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import tenacity
from sqlalchemy import Connection, text

from services.quickbooks import calls
from services.quickbooks.call import Call
from services.quickbooks.errors import Throttled, UnknownOutcome
from services.quickbooks.query import PAGE, Select, select
from services.quickbooks.reply import Reply

Look = Callable[[Call], Reply]
"""A metered read of the company."""

QUERIES: Final[Mapping[str, Select]] = {
    "Invoice": select("Invoice"),
    "CreditMemo": select("CreditMemo"),
    "Payment": select("Payment"),
    "JournalEntry": select("JournalEntry"),
    # Their balances are QuickBooks' own word on receivables; inactive customers may owe too.
    "Customer": select("Customer").with_inactive(),
}
ACCOUNTS: Final = select("Account").where("AccountType", "=", "Accounts Receivable").with_inactive()
"""Asked only where there are journal entries: which of their lines are receivables."""

TRIES: Final = 6
"""Times a page is asked for while QuickBooks is busy or does not answer."""

_LAST = text(
    """SELECT counts FROM reconciliation
        WHERE company_id = :company AND state = 'finished' ORDER BY started_at DESC LIMIT 1"""
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Metered reads: `reads` of the statement by what is known of `counts` (rows by entity), and `counting`, what
    was spent to know them. What looks unexplained is read once more, which no estimate foresees.
    """

    reads: int
    counting: int
    counts: Mapping[str, int]
    basis: Literal["last_statement", "counted"]

    @property
    def total(self) -> int:
        """Both together."""
        return self.reads + self.counting


def pages(rows: int, size: int = PAGE) -> int:
    """How many pages so many rows take; the last one shows by being short that it is the last."""
    return max(1, -(-rows // (size - 1)))


def known(connection: Connection, company_id: UUID) -> Cost | None:
    """The cost by the rows of the last statement; None before the first."""
    counts: dict[str, int] | None = connection.execute(_LAST, {"company": company_id}).scalar()
    return Cost(_reads(counts), 0, counts, "last_statement") if counts is not None else None


def ask(look: Look) -> Cost:
    """The cost by what QuickBooks counts: a read an entity. Errors of the wire pass through."""
    counts = {entity: look(calls.count(wanted)).count for entity, wanted in QUERIES.items()}
    return Cost(_reads(counts), len(counts), counts, "counted")


def patient(look: Look) -> Look:
    """Ask again while QuickBooks is busy or does not answer: a statement is long, and reading does no harm."""

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        rest = error.retry_after if isinstance(error, Throttled) else 0.0
        return max(rest, 0.2 * 2.0**state.attempt_number)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((Throttled, UnknownOutcome)),
        stop=tenacity.stop_after_attempt(TRIES),
        wait=wait,
        reraise=True,
    )

    return lambda call: retrying(look, call)


def _reads(counts: Mapping[str, int]) -> int:
    return sum(pages(counts.get(entity, 0)) for entity in QUERIES) + bool(counts.get("JournalEntry"))
