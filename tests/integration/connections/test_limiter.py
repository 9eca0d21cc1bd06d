"""The limiter: no sliding minute or second over Intuit's limits, shared by everybody, without a lost slot."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from services.connections import companies, limiter
from services.connections.limiter import HORIZON, Limiter
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.mapping import settings as sync
from services.quickbooks.errors import Throttled
from tests.support.intuit import Noted

TENANT = "tenant-a"
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.fixture
def company_id(fleet: Database) -> UUID:
    """A company that is connected."""
    with fleet.transaction(TENANT) as connection:
        return _company(connection, "1")


@pytest.fixture
def open_connection(fleet: Database) -> Iterator[Connection]:
    """A transaction that is rolled back at the end."""
    with fleet.engine.connect() as connection:
        connection.execute(text(f"SELECT set_config('algasync.tenant', '{TENANT}', false)"))
        yield connection
        connection.rollback()


def _company(connection: Connection, realm: str) -> UUID:
    company = companies.activate(
        connection, TENANT, environment="sandbox", realm_id=realm, actor="test", attention=Noted()
    )
    return company.company_id


def _share(connection: Connection, company_id: UUID, share: float) -> None:
    scope = sync.of_company(company_id)
    sync.put(connection, TENANT, scope, "limiter_share", share, actor="test")


def _busiest(slots: list[float], window: float) -> int:
    """The largest number of slots in any half-open window of so many seconds."""
    most, first = 0, 0
    for last, slot in enumerate(slots):
        while slots[first] <= slot - window:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    share=st.sampled_from([0.05, 0.3, 0.8, 1.0]),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.12, 0.3, 2.0, 20.0]), min_size=1, max_size=12),
    calls=st.integers(1, 700),
)
@example(share=1.0, gaps=[0.0], calls=1200)
@example(share=0.05, gaps=[0.0], calls=120)
def test_no_sliding_window_is_over_the_limit(
    share: float, gaps: list[float], calls: int, open_connection: Connection
) -> None:
    """Whenever calls are asked for, any minute holds at most 500 times the share of them, any second ten times it."""
    with open_connection.begin_nested() as savepoint:
        company_id = _company(open_connection, "7")
        _share(open_connection, company_id, share)
        moment, slots = NOON, []
        for number in range(calls):
            seconds = limiter.reserve(open_connection, company_id, moment=moment)
            if seconds <= HORIZON:
                slots.append((moment - NOON).total_seconds() + seconds)
            # The next one comes when it wants to, but not before the queue has room.
            pause = max(gaps[number % len(gaps)], seconds - HORIZON + 0.5 if seconds > HORIZON - 0.5 else 0.0)
            moment += timedelta(seconds=pause)
        savepoint.rollback()
    assert slots == sorted(slots)
    assert _busiest(slots, 60) <= 500 * share
    assert _busiest(slots, 1) <= max(1, 10 * share)


def test_batches_have_a_limit_of_their_own(open_connection: Connection) -> None:
    """Forty batches a minute at most, while single calls go on between them."""
    company_id = _company(open_connection, "7")
    _share(open_connection, company_id, 1)
    moment, batches = NOON, []
    for _ in range(60):
        seconds = limiter.reserve(open_connection, company_id, "batch", moment=moment)
        batches.append((moment - NOON).total_seconds() + seconds)
        assert limiter.reserve(open_connection, company_id, moment=moment) < seconds + 0.2
        moment += timedelta(seconds=1.6)
    assert _busiest(batches, 60) <= 40


def test_a_saturated_company_uses_nearly_the_whole_limit(open_connection: Connection) -> None:
    """At share 100 % a company that always has work makes at least 95 % of 500 calls in a minute."""
    company_id = _company(open_connection, "7")
    _share(open_connection, company_id, 1)
    moment, made = NOON, 0
    while moment < NOON + timedelta(seconds=60):
        moment += timedelta(seconds=limiter.reserve(open_connection, company_id, moment=moment))
        made += 1
    assert 475 <= made <= 500


def test_an_idle_company_goes_at_once(company_id: UUID, fleet: Database) -> None:
    """The first call after a quiet time does not wait."""
    with fleet.transaction(ALL_TENANTS) as connection:
        assert limiter.reserve(connection, company_id) == 0


def test_processes_share_the_slots(company_id: UUID, fleet: Database) -> None:
    """Slots taken at the same moment by many are one behind the other: none twice, none lost."""

    def take(_: int) -> None:
        with fleet.transaction(ALL_TENANTS) as connection:
            limiter.reserve(connection, company_id)

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(take, range(40)))
    with fleet.transaction(ALL_TENANTS) as connection:
        ahead = connection.execute(
            text("SELECT extract(epoch FROM next_call - clock_timestamp()) FROM company_limiter")
        ).scalar_one()
    spacing = limiter.interval(limiter.CALLS) / 0.8
    assert 38 * spacing - 2 < ahead <= 40 * spacing


def test_a_rolled_back_slot_is_free_again(company_id: UUID, fleet: Database) -> None:
    """A transaction that fails after reserving costs no room."""
    with fleet.engine.connect() as connection:
        connection.execute(text("SELECT set_config('algasync.tenant', '*', true)"))
        limiter.reserve(connection, company_id)
        connection.rollback()
    with fleet.transaction(ALL_TENANTS) as connection:
        assert limiter.reserve(connection, company_id) == 0


def test_a_pause_is_told_and_takes_no_slots(company_id: UUID, fleet: Database) -> None:
    """During a rest everybody hears how long it lasts; afterwards the queue is as empty as before."""
    with fleet.transaction(ALL_TENANTS) as connection:
        limiter.pause(connection, company_id, 60, "QuickBooks answered 429")
        limiter.pause(connection, company_id, 5, "a shorter one changes nothing")
        for _ in range(100):
            assert 59 < limiter.reserve(connection, company_id) <= 60
    with pytest.raises(Throttled) as told:
        Limiter(fleet).acquire(str(company_id), "call")
    assert 58 < told.value.retry_after <= 60


def test_acquire_sleeps_until_its_slot(company_id: UUID, fleet: Database) -> None:
    """The second call in a row waits for about the spacing, and pauses of other companies do not matter."""
    slept: list[float] = []
    with fleet.transaction(TENANT) as connection:
        other = _company(connection, "2")
    gate = Limiter(fleet, sleep=slept.append)
    gate.pause(str(other), 60, "another company")
    gate.acquire(str(company_id), "call")
    gate.acquire(str(company_id), "call")
    assert len(slept) == 1
    assert 0 < slept[0] <= limiter.interval(limiter.CALLS) / 0.8


def test_unknown_company_is_an_error(fleet: Database) -> None:
    """A company without a limiter was never connected, and is not let through."""
    with fleet.transaction(ALL_TENANTS) as connection, pytest.raises(LookupError, match="never connected"):
        limiter.reserve(connection, UUID(int=0))
