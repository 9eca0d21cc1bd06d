"""When it is tried again, given up and left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.psa import pace

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


def test_the_waits_are_algapsas() -> None:
    """1 min, 5 min, 30 min, 2 h, 12 h, each a little longer so that destinations do not fall into step."""
    for attempts, minutes in enumerate((1, 5, 30, 120, 720, 720, 720), start=1):
        waits = [pace.wait(attempts) for _ in range(50)]
        assert all(timedelta(minutes=minutes) <= wait <= timedelta(minutes=minutes * 1.1) for wait in waits)
        assert len(set(waits)) > 1


@given(st.integers(1, 20), st.floats(0, 1e9))
def test_what_the_server_asks_is_respected_within_reason(attempts: int, asked: float) -> None:
    """Never sooner than we would, never later than half a day for the asking."""
    wait = pace.wait(attempts, asked)
    assert wait >= pace.WAITS[min(attempts, 5) - 1]
    assert wait >= min(timedelta(seconds=asked), pace.WAITS[-1])
    assert wait <= pace.WAITS[-1] * (1 + pace.JITTER)


@given(st.integers(0, 100))
def test_rests_grow_and_are_bounded(failures: int) -> None:
    """None at first; then longer with each failure, two hours at most."""
    rest, more = pace.rest(failures), pace.rest(failures + 1)
    assert (rest is None) == (failures < pace.REST_AFTER)
    assert more is None or (rest or timedelta()) <= more <= timedelta(hours=2)


def test_no_delivery_is_given_up_while_nothing_arrives() -> None:
    """Then it is the destination that fails; a delivery is to blame only where others arrived after its first try."""
    used_up = len(pace.WAITS) + 1
    assert not pace.is_over(used_up, NOW, None)
    assert not pace.is_over(used_up, NOW, NOW - timedelta(hours=1))
    assert not pace.is_over(used_up - 1, NOW, NOW + timedelta(hours=1))
    assert pace.is_over(used_up, NOW, NOW + timedelta(hours=1))


def test_a_destination_is_disabled_after_a_day_and_several_failures() -> None:
    """Neither a bad hour nor two failures a day apart are enough."""
    day = timedelta(hours=24)
    assert not pace.is_dead(100, NOW, NOW + day - timedelta(seconds=1))
    assert not pace.is_dead(4, NOW, NOW + 3 * day)
    assert pace.is_dead(5, NOW, NOW + day)
