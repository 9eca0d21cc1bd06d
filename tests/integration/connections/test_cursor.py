"""Where changes are read from, set by a person: before the first cycle, afterwards, and while one is under way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.inbound import schedule
from services.refusals import Refusal
from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench


def set_cursor(bench: InboundBench, cursor: datetime) -> None:
    """An admin sets it."""
    with bench.fleet.transaction(TENANT) as connection:
        schedule.set_cursor(connection, bench.company_id, cursor, "admin")


def asked_from(bench: InboundBench) -> datetime:
    """Where the next cycle begins to look."""
    return bench.poll().asked_from


def test_the_next_cycle_begins_there(bench: InboundBench) -> None:
    """Set back: what changed since then is read again, with the usual overlap; and once only."""
    wanted = datetime.now(UTC) - timedelta(days=3)
    set_cursor(bench, wanted)
    assert wanted - timedelta(minutes=6) < asked_from(bench) <= wanted
    assert asked_from(bench) > wanted + timedelta(days=2)


def test_a_cycle_under_way_does_not_undo_it(bench: InboundBench) -> None:
    """The wish stands although a cycle that began before it completes after it."""
    bench.wake()
    bench.open_due()
    wanted = datetime.now(UTC) - timedelta(days=3)
    set_cursor(bench, wanted)
    bench.settle()
    assert bench.cycle().state == "complete"
    assert asked_from(bench) <= wanted


def test_a_moment_to_come_is_refused(bench: InboundBench) -> None:
    """Changes until then would never be seen."""
    with pytest.raises(Refusal, match="not come yet") as refused:
        set_cursor(bench, datetime.now(UTC) + timedelta(hours=1))
    assert refused.value.field == "cursor"
