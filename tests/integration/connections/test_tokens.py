"""Tokens: one refresh at a time in the whole fleet, the new token stored before it is used, none lost in a crash."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from services.connections import companies, token_store
from services.connections.companies import Company
from services.connections.intuit import Intuit
from services.connections.tokens import Tokens
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.quickbooks.errors import AuthFailed, NotSent
from tests.support.deadline import eventually
from tests.support.intuit import Admin, Noted, counted, switch, trouble
from tests.support.sandbox import Sandbox

TENANT = "tenant-a"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def company(admin: Admin) -> Company:
    """A company connected a moment ago."""
    return admin.connected(TENANT)


@pytest.fixture
def tokens(fleet: Database, intuit: Intuit, noted: Noted) -> Tokens:
    """The tokens of a worker process, which does not rest after a cut-off refresh."""
    return Tokens(fleet, intuit, noted, rest=0)


@pytest.fixture
def start(database_url: str, sandbox: Sandbox, key: str, company: Company) -> Iterator[Start]:
    """A function that makes a process which refreshes the company's token, ready to `go`."""
    started: list[subprocess.Popen[str]] = []

    def start(threads: int = 1, times: int = 1, rest: float = 0) -> subprocess.Popen[str]:
        order = {
            "database": database_url,
            "api": sandbox.api,
            "control": sandbox.control,
            "key": key,
            "company": str(company.company_id),
            "threads": threads,
            "times": times,
            "rest": rest,
        }
        command = [sys.executable, "-m", "tests.support.refresher", json.dumps(order)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def go(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Let a ready process begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return process


def row(fleet: Database, company: Company) -> Any:
    """The stored row of the company's tokens."""
    with fleet.transaction(ALL_TENANTS) as connection:
        return connection.execute(
            text("SELECT * FROM company_token WHERE company_id = :id"), {"id": company.company_id}
        ).one()


def age(fleet: Database, company: Company, column: str, seconds: float) -> None:
    """Let one of the token's ends be so many seconds away."""
    with fleet.transaction(ALL_TENANTS) as connection:
        connection.execute(
            text(f"UPDATE company_token SET {column} = clock_timestamp() + make_interval(secs => :seconds)"),
            {"seconds": seconds},
        )


def state(fleet: Database, company: Company) -> str:
    """The company's state as stored."""
    with fleet.transaction(ALL_TENANTS) as connection:
        return companies.get(connection, company.company_id).state


def test_stored_tokens_are_unreadable(fleet: Database, company: Company, tokens: Tokens) -> None:
    """What lies in the database does not contain the token that is in use."""
    token = tokens.access_token(str(company.company_id))
    assert token.encode() not in bytes(row(fleet, company).access_token)


def test_a_good_token_is_used_without_asking_anybody(
    company: Company, tokens: Tokens, sandbox: Sandbox
) -> None:
    """An access token with time left is handed out as it is."""
    first = tokens.access_token(str(company.company_id))
    assert tokens.access_token(str(company.company_id)) == first
    assert counted(sandbox).get("refreshes", 0) == 0


def test_a_token_about_to_end_is_renewed(
    company: Company, tokens: Tokens, fleet: Database, sandbox: Sandbox
) -> None:
    """Less than five minutes left: a new token, stored with a later end."""
    before = row(fleet, company)
    age(fleet, company, "access_expires_at", 200)
    tokens.access_token(str(company.company_id))
    after = row(fleet, company)
    assert counted(sandbox)["refreshes"] == 1
    assert after.version > before.version
    assert after.access_expires_at >= before.access_expires_at
    assert after.refreshing_since is None


def test_rotated_refresh_token_is_kept(company: Company, tokens: Tokens, sandbox: Sandbox) -> None:
    """With a refresh token that changes every time and dies at once, a chain of refreshes goes on."""
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=0)
    token = tokens.access_token(str(company.company_id))
    for _ in range(5):
        newer = tokens.refresh(str(company.company_id), token)
        assert newer != token
        token = newer
    assert counted(sandbox)["refreshes"] == 5


def test_who_comes_second_gets_what_the_first_fetched(
    company: Company, fleet: Database, intuit: Intuit, sandbox: Sandbox
) -> None:
    """Two processes with the same rejected token cause one refresh."""
    one, two = Tokens(fleet, intuit, Noted()), Tokens(fleet, intuit, Noted())
    old = one.access_token(str(company.company_id))
    assert two.access_token(str(company.company_id)) == old
    fresh = one.refresh(str(company.company_id), old)
    assert two.refresh(str(company.company_id), old) == fresh
    assert counted(sandbox)["refreshes"] == 1


def test_who_waited_for_a_refresh_does_not_repeat_it(
    company: Company, fleet: Database, intuit: Intuit, sandbox: Sandbox
) -> None:
    """A process that waits while another one refreshes takes that one's token and asks nobody."""
    one, two = Tokens(fleet, intuit, Noted()), Tokens(fleet, intuit, Noted())
    old = one.access_token(str(company.company_id))
    trouble(sandbox, "latency", entity="oauth", times=1, seconds=1)
    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda tokens: tokens.refresh(str(company.company_id), old), (one, two)))
    assert got[0] == got[1] != old
    assert counted(sandbox) == {"refreshes": 1}


def test_fifty_threads_share_one_refresh(company: Company, tokens: Tokens, sandbox: Sandbox) -> None:
    """Fifty calls answered 401 with the same token ask Intuit once and all get the same new token."""
    old = tokens.access_token(str(company.company_id))
    with ThreadPoolExecutor(50) as pool:
        got = set(pool.map(lambda _: tokens.refresh(str(company.company_id), old), range(50)))
    assert len(got) == 1
    assert got != {old}
    assert counted(sandbox) == {"refreshes": 1}


def test_processes_and_threads_never_refresh_at_once(start: Start, sandbox: Sandbox, fleet: Database) -> None:
    """Three processes of ten threads ask for newer tokens 300 times: no overlap at Intuit, no token lost.

    The sandbox kills a refresh token the moment it is used, and the whole connection when it is used again.
    """
    switch(
        sandbox,
        rotate_on_every_refresh=True,
        old_refresh_token_grace_seconds=0,
        refresh_reuse_revokes_chain=True,
    )
    processes = [start(threads=10, times=10) for _ in range(3)]
    for process in processes:
        go(process)
    ended = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(len(json.loads(printed.splitlines()[-1])) == 10 for printed in ended)
    seen = counted(sandbox)
    assert seen["refreshes"] >= 10
    assert seen.get("overlapping_refreshes", 0) == 0
    assert seen.get("invalid_grants", 0) == 0


@pytest.mark.timeout(300)  # a busy machine takes its time to start ten processes
def test_fifty_workers_and_crashes_lose_no_token(
    start: Start, sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens
) -> None:
    """Fifty workers refresh 1,000 times while five more processes are killed at odd moments of their refreshes.

    Never two refreshes at once at Intuit, no token is lost, nobody is stranded.
    """
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=86400)
    with ThreadPoolExecutor(2) as pool:
        workers = list(pool.map(lambda _: start(threads=10, times=20, rest=0.2), range(5)))
        victims = list(pool.map(lambda _: start(threads=4, times=100_000, rest=0.2), range(5)))
    for worker in workers:
        go(worker)
    for number, victim in enumerate(victims):
        go(victim)
        wanted = counted(sandbox).get("refreshes", 0) + number
        eventually(lambda wanted=wanted: counted(sandbox).get("refreshes", 0) > wanted, 60)
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=10)
    ended = [worker.communicate(timeout=100)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 5
    assert sum(len(json.loads(printed.splitlines()[-1])) for printed in ended) == 50
    seen = counted(sandbox)
    assert seen.get("overlapping_refreshes", 0) == 0
    assert seen.get("invalid_grants", 0) == 0
    old = tokens.access_token(str(company.company_id))
    assert tokens.refresh(str(company.company_id), old) != old
    assert state(fleet, company) == "active"
    assert row(fleet, company).refreshing_since is None


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_thousand_refreshes_and_crashes_lose_no_token(
    start: Start, sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens
) -> None:
    """Fifty workers go on until Intuit has refreshed 1,000 times; every fiftieth refresh costs a process its life.

    Intuit counts, so refreshes that several workers share count once. Never two at once, no token lost.
    """
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=86400)
    workers = [go(start(threads=10, times=1_000_000, rest=0.2)) for _ in range(5)]
    for killed in range(20):
        eventually(lambda wanted=50 * (killed + 1): counted(sandbox).get("refreshes", 0) >= wanted, 300)
        victim = workers.pop(0)
        victim.send_signal(signal.SIGKILL)
        victim.communicate(timeout=10)
        workers.append(go(start(threads=10, times=1_000_000, rest=0.2)))
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=10)
    seen = counted(sandbox)
    assert seen["refreshes"] >= 1_000
    assert seen.get("overlapping_refreshes", 0) == 0
    assert seen.get("invalid_grants", 0) == 0
    old = tokens.access_token(str(company.company_id))
    eventually(lambda: tokens.refresh(str(company.company_id), old) != old, 60)
    assert state(fleet, company) == "active"


def test_crash_between_answer_and_store_is_marked_and_mended(
    start: Start, sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens
) -> None:
    """Killed while Intuit's answer was on its way: the mark stays, and Intuit's grace for the old token mends it."""
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=86400)
    old = tokens.access_token(str(company.company_id))
    trouble(sandbox, "hang_after", entity="oauth", times=1)
    process = go(start())
    eventually(lambda: counted(sandbox).get("refreshes") == 1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert row(fleet, company).refreshing_since is not None
    assert tokens.refresh(str(company.company_id), old) != old
    assert row(fleet, company).refreshing_since is None
    assert state(fleet, company) == "active"


def test_crash_that_lost_the_token_is_never_silent(
    start: Start, sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens, noted: Noted
) -> None:
    """Killed likewise, but Intuit gives no grace: the company needs attention, and the reason says what happened."""
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=0)
    old = tokens.access_token(str(company.company_id))
    trouble(sandbox, "hang_after", entity="oauth", times=1)
    process = go(start())
    eventually(lambda: counted(sandbox).get("refreshes") == 1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    with pytest.raises(AuthFailed, match="cut off on"):
        tokens.refresh(str(company.company_id), old)
    assert state(fleet, company) == "expired"
    assert "cut off" in noted.open[company.company_id].why


def test_a_cut_off_refresh_is_not_raced(
    start: Start, sandbox: Sandbox, fleet: Database, intuit: Intuit, company: Company
) -> None:
    """For half a minute after a refresh was cut off Intuit is not asked again: it may still be at the first one."""
    tokens = Tokens(fleet, intuit, Noted())
    old = tokens.access_token(str(company.company_id))
    trouble(sandbox, "hang_before", entity="oauth", times=1)
    process = go(start())
    eventually(lambda: row(fleet, company).refreshing_since is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    with pytest.raises(NotSent, match="cut off"):
        tokens.refresh(str(company.company_id), old)
    assert counted(sandbox).get("refreshes", 0) == 0


def test_lost_database_session_does_not_lose_the_answer(
    sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens, database_url: str
) -> None:
    """The session that holds the lock dies while Intuit answers: the new token is stored all the same."""
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=0)
    old = tokens.access_token(str(company.company_id))
    trouble(sandbox, "latency", entity="oauth", times=1, seconds=1)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(tokens.refresh(str(company.company_id), old)))
    thread.start()
    eventually(lambda: row(fleet, company).refreshing_since is not None)
    _end_lock_holder(database_url)
    thread.join(10)
    held = row(fleet, company)
    assert got
    assert got != [old]
    assert held.refreshing_since is None
    assert tokens.refresh(str(company.company_id), got[0]) != got[0]


def test_overtaken_refresh_takes_the_newer_token(
    sandbox: Sandbox,
    fleet: Database,
    intuit: Intuit,
    company: Company,
    tokens: Tokens,
    database_url: str,
) -> None:
    """A process that lost its lock while it asked finds that another was faster, and uses that one's token."""
    switch(sandbox, rotate_on_every_refresh=True, old_refresh_token_grace_seconds=86400)
    old = tokens.access_token(str(company.company_id))
    trouble(sandbox, "latency", entity="oauth", times=1, seconds=1.5)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(tokens.refresh(str(company.company_id), old)))
    thread.start()
    eventually(lambda: row(fleet, company).refreshing_since is not None)
    _end_lock_holder(database_url)
    faster = Tokens(fleet, intuit, Noted(), rest=0).refresh(str(company.company_id), old)
    thread.join(10)
    assert got == [faster]


def test_revoked_connection_expires_the_company_once(
    sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens, noted: Noted, intuit: Intuit
) -> None:
    """Revoked at Intuit: the company is expired, its exception names the fix, and nobody is asked again."""
    old = tokens.access_token(str(company.company_id))
    with fleet.transaction(TENANT) as connection:
        held = token_store.read(connection, intuit.vault, company.company_id)
        assert held is not None
        intuit.oauth(connection, TENANT).revoke(held.refresh_token)
    with pytest.raises(AuthFailed):
        tokens.refresh(str(company.company_id), old)
    assert state(fleet, company) == "expired"
    problem = noted.open[company.company_id]
    assert (problem.type, problem.title) == (
        "accounting_connection_expired",
        "Accounting connection needs attention",
    )
    assert "Reconnect QuickBooks" in problem.fix
    asked = counted(sandbox)["refreshes"]
    with pytest.raises(AuthFailed, match="not connected"):
        tokens.access_token(str(company.company_id))
    assert counted(sandbox)["refreshes"] == asked


@pytest.mark.parametrize(
    ("column", "sentence"),
    [("refresh_expires_at", "lapse"), ("hard_expires_at", "fixed time")],
)
def test_ended_connection_is_not_tried(
    column: str, sentence: str, sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens
) -> None:
    """A refresh token past its own end, or past Intuit's hard limit, expires the company without a call."""
    old = tokens.access_token(str(company.company_id))
    age(fleet, company, column, -1)
    with pytest.raises(AuthFailed, match=sentence):
        tokens.refresh(str(company.company_id), old)
    assert state(fleet, company) == "expired"
    assert counted(sandbox).get("refreshes", 0) == 0


def test_silent_intuit_leaves_a_living_token_in_use(
    sandbox: Sandbox, fleet: Database, company: Company, tokens: Tokens
) -> None:
    """A token with minutes left serves when a renewal gets no answer; the company stays active."""
    first = tokens.access_token(str(company.company_id))
    age(fleet, company, "access_expires_at", 200)
    tokens = Tokens(fleet, tokens._intuit, Noted())
    trouble(sandbox, "server_error", entity="oauth", times=1)
    assert tokens.access_token(str(company.company_id)) == first
    assert state(fleet, company) == "active"


def test_proactive_refresh_finds_who_is_due(fleet: Database, company: Company, tokens: Tokens) -> None:
    """A company whose access token ends within the quarter of an hour is due, and is not after it was kept fresh."""
    with fleet.transaction(ALL_TENANTS) as connection:
        assert token_store.due(connection, within=900, limit=10) == []
    age(fleet, company, "access_expires_at", 600)
    with fleet.transaction(ALL_TENANTS) as connection:
        assert token_store.due(connection, within=900, limit=10) == [company.company_id]
    assert tokens.keep_fresh(company.company_id)
    assert not tokens.keep_fresh(company.company_id)
    with fleet.transaction(ALL_TENANTS) as connection:
        assert token_store.due(connection, within=900, limit=10) == []


def _end_lock_holder(database_url: str) -> None:
    """End the database session that holds the refresh lock, as a failing network does."""
    with psycopg.connect(database_url) as connection:
        ended = connection.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_locks
                WHERE locktype = 'advisory' AND granted AND objsubid = 1
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        ).fetchall()
    assert ended == [(True,)]
