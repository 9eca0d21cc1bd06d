"""The figure of `bench ceiling` is that of sliding windows, wherever they begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.bench_ceiling import sliding


def test_the_emptiest_window_counts() -> None:
    """A pause in the middle shows, which an average or the best minute would hide."""
    assert sliding([0, 1, 2, 3, 7, 8, 9, 10, 11, 12], 4) == (1, 4)


def test_too_short_a_run_has_no_figure() -> None:
    """Less than a window is an error, not a fraction of it."""
    with pytest.raises(ValueError, match="less than 60"):
        sliding([0, 30, 59], 60)


@given(st.lists(st.integers(0, 400), min_size=2, unique=True).map(sorted), st.integers(1, 100))
def test_it_agrees_with_counting(moments: list[int], window: int) -> None:
    """The same as looking at every window one by one."""
    counted = [
        sum(first <= moment < first + window for moment in moments)
        for first in moments
        if first + window <= moments[-1]
    ]
    if counted:
        assert sliding(moments, window) == (min(counted), max(counted))
    else:
        with pytest.raises(ValueError, match="less than"):
            sliding(moments, window)
