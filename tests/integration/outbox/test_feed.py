"""The feed: append-only, in the order in which it becomes visible, kept for 30 days."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

import outbox
from messages import Event, parse, samples
from outbox import feed
from services.database import Database, Role
from tests.integration.outbox.events import Session
from tests.support import eventually

APPEND = "SELECT algasync.accounting_event_append(%s)"


def event() -> Event:
    """An accounting event."""
    return parse(samples.read("com.algapsa.accounting.document.synced.v1"))


def emitted(fleet: Database, count: int, tenant: str = "t1") -> list[UUID]:
    """Emit events that wait in the outbox for their relay."""
    sample = event()
    with fleet.transaction(tenant) as connection:
        return [
            outbox.emit(connection, tenant, sample.type, sample.subject, sample.data).event_id
            for _ in range(count)
        ]


def read(fleet: Database, after: int = 0, tenant: str = "t1", limit: int = 100) -> feed.Page:
    """A page of the feed."""
    with fleet.transaction(tenant) as connection:
        return feed.read(connection, tenant, after, limit)


def relay_session(database_url: str) -> Session:
    """A session as a relay's lane has it."""
    return psycopg.connect(database_url, options="-c role=algasync_fleet -c algasync.tenant=*")


def test_a_cursor_misses_no_late_commit(database_url: str, fleet: Database, owner: Session) -> None:
    """Two relays append at once: the second waits for the first, so no page is read past what is still to come."""
    first, second = emitted(fleet, 2)
    with (
        relay_session(database_url) as one,
        relay_session(database_url) as two,
        ThreadPoolExecutor(1) as pool,
    ):
        one.execute(APPEND, ([first],))

        def append_second() -> None:
            two.execute(APPEND, ([second],))
            two.commit()

        later = pool.submit(append_second)
        waiting = """SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
                      WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted"""
        eventually(lambda: owner.execute(waiting).fetchone() == (1,), what="the second append waits")
        assert read(fleet).entries == ()
        one.commit()
        later.result(10)
    page = read(fleet)
    assert [entry.event_id for entry in page.entries] == [first, second]


def test_a_rolled_back_append_leaves_the_event_with_the_relay(
    database_url: str, fleet: Database, owner: Session
) -> None:
    """A relay that dies before its commit has not told the feed anything."""
    (event_id,) = emitted(fleet, 1)
    with relay_session(database_url) as lane:
        lane.execute(APPEND, ([event_id],))
        lane.rollback()
    assert read(fleet).entries == ()
    assert owner.execute("SELECT event_id FROM outbox_event").fetchall() == [(event_id,)]


def test_pages_follow_each_other(database_url: str, fleet: Database) -> None:
    """A reader that goes on from each page's cursor sees every event of its tenant once, and no other tenant's."""
    mine, others = emitted(fleet, 7), emitted(fleet, 3, tenant="t2")
    with relay_session(database_url) as lane:
        lane.execute(APPEND, ([event_id for pair in zip(mine, others, strict=False) for event_id in pair],))
        lane.execute(APPEND, (mine[3:],))
    seen, cursor = [], 0
    while entries := (page := read(fleet, cursor, limit=2)).entries:
        seen += [entry.event_id for entry in entries]
        cursor = page.after
    assert seen == mine
    assert read(fleet, cursor).after == cursor


def test_a_tenant_sees_only_its_own(database_url: str, fleet: Database) -> None:
    """The API's role reads the feed of the tenant it serves, whatever the query asks for."""
    mine = emitted(fleet, 1)
    with relay_session(database_url) as lane:
        lane.execute(APPEND, (mine,))
    with Database(database_url, Role.API) as api, api.transaction("t2") as connection:
        assert feed.read(connection, "t1").entries == ()


def test_nobody_changes_what_was_said(database_url: str, fleet: Database) -> None:
    """Neither role may write, change or delete in the feed; appending is the only way in."""
    mine = emitted(fleet, 1)
    with relay_session(database_url) as lane:
        lane.execute(APPEND, (mine,))
        lane.commit()
        for statement in (
            "UPDATE algasync.accounting_event SET body = ''",
            "DELETE FROM algasync.accounting_event",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                lane.execute(statement)
            lane.rollback()


def partitions(owner: Session) -> list[str]:
    """Names of the feed's partitions."""
    rows = owner.execute(
        "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
        " WHERE inhparent = 'accounting_event'::regclass ORDER BY 1"
    )
    return [row[0] for row in rows]


def test_partitions_exist_a_week_ahead_and_are_protected(fleet: Database, owner: Session) -> None:
    """The feed never runs out of days, and each day is behind row-level security like the whole."""
    with fleet.transaction("*") as connection:
        connection.exec_driver_sql("SELECT outbox_maintain()")
    today = datetime.now(UTC).date()
    wanted = [f"accounting_event_{today + timedelta(days=day):%Y%m%d}" for day in range(8)]
    assert partitions(owner) == wanted
    unprotected = owner.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY (%s) AND NOT (relrowsecurity AND relforcerowsecurity)",
        (wanted,),
    )
    assert unprotected.fetchall() == []


def test_old_days_are_dropped_and_their_readers_told(
    database_url: str, fleet: Database, owner: Session
) -> None:
    """A cursor from before the retention hears that events are gone; one after it, and a new reader, read on."""
    old, new = emitted(fleet, 2)
    with relay_session(database_url) as lane:
        lane.execute(APPEND, ([old],))
    (first,) = read(fleet).entries
    today = datetime.now(UTC).date()
    past = today - timedelta(days=31)
    owner.execute(
        f"""SET ROLE algasync_owner;
            ALTER TABLE accounting_event DETACH PARTITION accounting_event_{today:%Y%m%d};
            ALTER TABLE accounting_event_{today:%Y%m%d} RENAME TO accounting_event_{past:%Y%m%d};
            UPDATE accounting_event_{past:%Y%m%d} SET recorded_at = recorded_at - interval '31 days';
            ALTER TABLE accounting_event ATTACH PARTITION accounting_event_{past:%Y%m%d}
              FOR VALUES FROM ('{past} 00:00Z') TO ('{past + timedelta(days=1)} 00:00Z')"""
    )
    with fleet.transaction("*") as connection:
        assert connection.exec_driver_sql("SELECT * FROM outbox_maintain()").one() == (1, 1, 0)
    with relay_session(database_url) as lane:
        lane.execute(APPEND, ([new],))
    missed = read(fleet, first.position - 1) if first.position > 1 else read(fleet, 0)
    assert [entry.event_id for entry in missed.entries] == [new]
    assert missed.complete is (first.position == 1)
    assert read(fleet, first.position).complete
    assert read(fleet, 0).complete


def test_a_reader_does_not_keep_maintenance_waiting(
    database_url: str, fleet: Database, owner: Session
) -> None:
    """While somebody reads an old day it stays, and is dropped the next time."""
    today = datetime.now(UTC).date()
    past = today - timedelta(days=40)
    owner.execute(
        f"""SET ROLE algasync_owner;
            CREATE TABLE accounting_event_{past:%Y%m%d} PARTITION OF accounting_event
              FOR VALUES FROM ('{past} 00:00Z') TO ('{past + timedelta(days=1)} 00:00Z')"""
    )
    with psycopg.connect(database_url) as reader:
        reader.execute(f"SELECT * FROM algasync.accounting_event_{past:%Y%m%d}")
        with fleet.transaction("*") as connection:
            assert connection.exec_driver_sql("SELECT * FROM outbox_maintain()").one() == (0, 0, 0)
    with fleet.transaction("*") as connection:
        assert connection.exec_driver_sql("SELECT * FROM outbox_maintain()").one() == (0, 1, 0)


def test_idempotency_keys_live_90_days(database_url: str, fleet: Database, owner: Session) -> None:
    """A key is remembered long after its event is gone, and forgotten after 90 days."""
    sample = event()
    for key in ("young", "old"):
        with fleet.transaction("t1") as connection:
            outbox.emit(connection, "t1", sample.type, sample.subject, sample.data, idempotency_key=key)
    owner.execute(
        """UPDATE outbox_idempotency SET created_at = clock_timestamp() - CASE idempotency_key
             WHEN 'old' THEN interval '91 days' ELSE interval '89 days' END"""
    )
    with fleet.transaction("*") as connection:
        assert connection.exec_driver_sql("SELECT * FROM outbox_maintain()").one() == (0, 0, 1)
    assert owner.execute("SELECT idempotency_key FROM outbox_idempotency").fetchall() == [("young",)]


def test_a_filter_leaves_out_and_moves_on(fleet: Database) -> None:
    """Only the types asked for come, and the cursor passes what they leave out: nothing is read over and over."""
    synced = emitted(fleet, 3)
    received = parse(samples.read("com.algapsa.accounting.payment.received.v1"))
    with fleet.transaction("t1") as connection:
        paid = outbox.emit(connection, "t1", received.type, received.subject, received.data).event_id
    with fleet.transaction("*") as connection:
        connection.execute(
            text("SELECT accounting_event_append(CAST(:ids AS uuid[]))"),
            {"ids": [str(one) for one in (*synced[:2], paid, synced[2])]},
        )

    def filtered(after: int = 0, limit: int = 100, *, types: list[str]) -> feed.Page:
        with fleet.transaction("t1") as connection:
            return feed.read(connection, "t1", after, limit, types)

    everything = read(fleet)
    page = filtered(types=["payment.received.v1"])
    assert [entry.event_id for entry in page.entries] == [paid]
    assert page.after == everything.after
    assert filtered(page.after, types=["payment.received.v1"]).after == everything.after
    first = filtered(limit=2, types=["document.synced.v1"])
    rest = filtered(first.after, limit=2, types=["document.synced.v1"])
    assert [entry.event_id for entry in (*first.entries, *rest.entries)] == synced
    assert filtered(types=["document.drifted.v1"]).entries == ()
