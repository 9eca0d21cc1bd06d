"""A payment taken apart: to the cent, whatever is on it, and never guessed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.money import to_decimal
from services.inbound.split import Split, Unreadable, split
from services.quickbooks.entities import Payment

AMOUNTS = st.lists(st.integers(1, 10**9), max_size=6)


def line(type_: str, number: int, cents: int, currency: str = "USD") -> dict[str, Any]:
    """A line on the transaction of that number."""
    return {
        "Amount": to_decimal(cents, currency),
        "LinkedTxn": [{"TxnId": str(number), "TxnType": type_}],
    }


def taken_apart(
    lines: list[dict[str, Any]], total: int, unapplied: int | None, currency: str = "USD"
) -> Split:
    """A payment of those lines."""
    raw = {
        "Id": "1",
        "SyncToken": "0",
        "TxnDate": "2026-03-31",
        "CurrencyRef": {"value": currency},
        "TotalAmt": to_decimal(total, currency),
        "Line": lines,
    }
    if unapplied is not None:
        raw["UnappliedAmt"] = to_decimal(unapplied, currency)
    return split(Payment.model_validate(raw), "USD")


@given(
    charges=AMOUNTS,
    credit=st.integers(0, 10**9),
    rest=st.integers(0, 10**9),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
)
def test_every_document_gets_what_its_line_says(
    charges: list[int], credit: int, rest: int, currency: str
) -> None:
    """Cash and credit together are the line, cash alone is the total less what is unapplied, in any currency."""
    credit = min(credit, sum(charges))
    lines = [line("Invoice", number, cents, currency) for number, cents in enumerate(charges, start=10)]
    if credit:
        lines.append(line("CreditMemo", 5, credit, currency))
    found = taken_apart(lines, sum(charges) - credit + rest, rest, currency)
    settled = [found.settles(("Invoice", str(number))) for number in range(10, 10 + len(charges))]
    assert settled == charges
    assert sum(found.cash.values()) == sum(charges) - credit == found.amount - found.unapplied
    assert sum(use.amount for use in found.uses) == credit
    assert found.unapplied == rest


@given(cents=st.integers(1, 10**9))
def test_a_journal_entry_is_a_charge_or_a_credit_as_the_sums_say(cents: int) -> None:
    """The line alone does not tell; what QuickBooks says is applied does."""
    both = [line("Invoice", 1, 2 * cents), line("JournalEntry", 2, cents)]
    assert taken_apart(both, 3 * cents, 0).cash[("JournalEntry", "2")] == cents
    assert [use.credit for use in taken_apart(both, cents, 0).uses] == [("JournalEntry", "2")]


@given(charges=st.lists(st.integers(1, 10**6), max_size=40), credit=st.integers(1, 10**6))
def test_any_number_of_journal_entries_is_charges_when_all_of_it_is_cash(
    charges: list[int], credit: int
) -> None:
    """A payment may settle dozens of journal entries beside an invoice; one of them may as well be a credit."""
    lines = [line("Invoice", 1, 2 * credit), *(line("JournalEntry", n, c) for n, c in enumerate(charges, 10))]
    paid = taken_apart(lines, 2 * credit + sum(charges), 0)
    assert paid.settles(("Invoice", "1")) == 2 * credit
    assert sum(paid.cash.values()) == 2 * credit + sum(charges)
    few = [*lines[:8], line("JournalEntry", 9, credit)]
    cash = credit + sum(charges[:7])
    assert sum(use.amount for use in taken_apart(few, cash, 0).uses) == credit


def test_a_line_that_names_no_transaction_settles_nothing() -> None:
    """QuickBooks' own sums tell whether that is so: the rest of the payment is taken over."""
    empty = {"Amount": Decimal(0)}
    found = taken_apart([line("Invoice", 1, 1000), empty], 3000, 2000)
    assert (found.settles(("Invoice", "1")), found.unapplied) == (1000, 2000)


@pytest.mark.parametrize(
    ("lines", "total", "unapplied"),
    [
        ([line("Invoice", 1, 100)], 90, None),  # takes more than it has
        ([line("Invoice", 1, 100)], 100, 5),  # says that some is left
        ([line("CreditMemo", 1, 100)], 0, 0),  # credit that nothing takes
        ([{"Amount": Decimal(1), "LinkedTxn": []}], 100, 0),  # applied to what nobody names
    ],
)
def test_what_does_not_add_up_is_refused(
    lines: list[dict[str, Any]], total: int, unapplied: int | None
) -> None:
    """A person looks at it; nothing is told."""
    with pytest.raises(Unreadable):
        taken_apart(lines, total, unapplied)


def test_a_fraction_of_a_minor_unit_is_refused() -> None:
    """Half a yen is no money."""
    broken = {"Amount": Decimal("10.5"), "LinkedTxn": [{"TxnId": "1", "TxnType": "Invoice"}]}
    with pytest.raises(Unreadable):
        taken_apart([broken], 20, None, "JPY")


def test_what_a_void_leaves_is_empty() -> None:
    """No amount, no lines."""
    assert taken_apart([], 0, 0).empty
    assert not taken_apart([], 1, 1).empty
