"""The days that a statement is about."""

from __future__ import annotations

from datetime import date

import pytest

from services.inbound.reconcile.period import Period
from services.refusals import Refusal


@pytest.mark.parametrize(
    ("written", "begins", "ends"),
    [
        ("2026-10", date(2026, 10, 1), date(2026, 10, 31)),
        ("2028-02", date(2028, 2, 1), date(2028, 2, 29)),
        ("2026-Q4", date(2026, 10, 1), date(2026, 12, 31)),
        ("2026", date(2026, 1, 1), date(2026, 12, 31)),
    ],
)
def test_months_quarters_and_years(written: str, begins: date, ends: date) -> None:
    """First and last day are those of the calendar, leap years too."""
    assert Period.of(written) == Period(begins, ends)


@pytest.mark.parametrize(
    "written", ["", "2026-13", "2026-Q5", "10-2026", "2026-1", "0000", "2026-10-01", "2026q1"]
)
def test_anything_else_is_refused_by_name(written: str) -> None:
    """The refusal names the field and says how to write it."""
    with pytest.raises(Refusal, match="2026-Q4") as refused:
        Period.of(written)
    assert refused.value.field == "period"


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    """From and to the wrong way round are a mistake, not an empty statement."""
    with pytest.raises(Refusal) as refused:
        Period.between(date(2026, 11, 1), date(2026, 10, 31))
    assert refused.value.field == "from"
