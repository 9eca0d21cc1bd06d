"""The relay: all that was committed reaches the broker, nothing is forgotten before it arrived, nobody waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg

import outbox
from messages import CONTENT_TYPE, parse, samples
from outbox import feed, recovery, store
from outbox.relay import OPTIONS
from services.database import Database
from tests.integration.outbox.events import VOIDED, Session, billing_system, emit, emit_data, voided
from tests.integration.outbox.relaying import (
    Queue,
    becomes,
    count,
    emit_many,
    empty,
    published,
    relaying,
    schedule,
    settings,
    take_over,
    write_many,
)
from tests.support import eventually


def test_an_event_arrives_as_it_was_emitted(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Byte for byte, persistent, with the properties that consumers route and trace by."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with billing_system(database_url) as psa:
        event_id, _ = emit_data(psa, "t1", VOIDED, "inv-1", voided("inv-1"), traceparent=trace)
        emit(psa, "t1", "inv-2")
    with relaying(database_url, broker_url, settings()):
        published(owner, 2)
    first, second = intake.take()
    (body,) = owner.execute("SELECT body FROM outbox_event WHERE event_id = %s", (event_id,)).fetchone() or (
        "",
    )
    assert first.body.decode() == body
    assert parse(first.body).id == event_id
    assert (first.exchange, first.routing_key) == ("billing", VOIDED)
    assert first.properties.message_id == str(event_id)
    assert first.properties.type == "com.algapsa.billing.invoice.voided.v1"
    assert first.properties.content_type == CONTENT_TYPE
    assert first.properties.delivery_mode == 2
    assert first.properties.headers.items() >= {"tenant": "t1", "traceparent": trace}.items()
    assert second.properties.headers["tenant"] == "t1"
    assert "traceparent" not in second.properties.headers


def test_a_rolled_back_event_never_arrives(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """What was not committed was not said."""
    with relaying(database_url, broker_url, settings()), billing_system(database_url) as psa:
        emit(psa, "t1", "inv-1")
        psa.rollback()
        emit(psa, "t1", "inv-2")
        psa.commit()
        published(owner, 1)
    assert [parse(delivered.body).subject for delivered in intake.take()] == ["inv-2"]


def test_an_event_stays_until_its_outcome_is_recorded(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """The baton rule: published is not arrived. A row goes when its event was taken over or became a dead letter."""
    emit_many(database_url, 3)
    with relaying(database_url, broker_url, settings()):
        published(owner, 3)
        assert intake.ids().total() == 3
        assert count(owner) == 3
        take_over(owner, limit=2)
        becomes(owner, "true", 1)
        owner.execute(
            """INSERT INTO letter (letter_id, tenant_id, subject, queue, reason, code, message, body, event_id)
               SELECT gen_random_uuid(), tenant_id, event_id::text, 'intake', 'rejected', 'bad_json', 'x', '', event_id
                 FROM outbox_event"""
        )
        empty(owner)


def test_a_transaction_that_commits_late_is_not_skipped(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Rows invisible when the relay passed their place are found when they commit, however much came since."""
    with relaying(database_url, broker_url, settings()), billing_system(database_url) as late:
        emit(late, "t1", "late-1")
        emit(late, "other", "late-2")
        for wave in range(5):
            emit_many(database_url, 20, tenants=2, prefix=f"wave{wave}")
            published(owner, 20 * (wave + 1))
        with late.transaction():
            emit(late, "t1", "late-3")
        assert intake.ids().total() == 100
        late.commit()
        published(owner, 103)
    assert sorted(parse(delivered.body).subject for delivered in intake.take()) == [
        "late-1",
        "late-2",
        "late-3",
    ]


def test_a_snapshot_held_elsewhere_does_not_slow_it_down(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """While a dump or report runs, PostgreSQL keeps every finished row. The relay reads none of them again.

    Counted in index entries, because time depends on the machine: finding, claiming, sweeping and watching read a
    handful for each event, however many finished ones lie beside it.
    """
    owner.execute("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
    waves, size = 10, 1_000
    with psycopg.connect(database_url, autocommit=True) as reporter:
        reporter.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reporter.execute("SELECT count(*) FROM algasync.outbox_event")
        with relaying(database_url, broker_url, settings(tenant_limit=100)):
            for wave in range(waves):
                write_many(owner, size, tenants=20, prefix=f"wave{wave}")
                published(owner, size)
                take_over(owner)
                empty(owner)
        reporter.execute("ROLLBACK")
    assert intake.depth == waves * size
    ended = """SELECT count(*) = 0 FROM pg_stat_activity
                WHERE application_name = 'algasync relay' AND datname = current_database()"""
    eventually(
        lambda: owner.execute(ended).fetchone() == (True,), what="the relay's sessions ended and were counted"
    )
    reads: dict[str, int] = dict(
        owner.execute(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname = 'outbox_event'"
        )
    )
    del reads["outbox_event_pkey"]  # asks for one row each time, so it never walks
    assert all(read < 4 * waves * size for read in reads.values()), reads


def test_sweeping_looks_once_for_each_event(database_url: str, owner: Session) -> None:
    """What arrived is forgotten at the price of what is asked about, in a database without statistics too.

    Counted in rows that the plan walks: the first plan of a relay is made while every table is empty, and with a join
    by walking a backlog of 3,000 cost a second a sweep.
    """
    size, asked = 3_000, 1_000
    with psycopg.connect(database_url, autocommit=True, options=OPTIONS) as relay:
        assert store.sweep(relay, []) == []
        write_many(owner, size)
        owner.execute("UPDATE outbox_event SET published_at = now(), due_at = now() + interval '3 minutes'")
        take_over(owner)
        ids = [row[0] for row in owner.execute("SELECT event_id::text FROM outbox_event LIMIT %s", (asked,))]
        relay.execute("BEGIN")
        row = relay.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {store._SWEEP}", {"ids": ids}).fetchone()
        relay.execute("ROLLBACK")
        assert row is not None
        for node in _nodes(row[0][0]["Plan"]):
            walked = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            walked += node.get("Rows Removed by Join Filter", 0)
            assert walked * node["Actual Loops"] <= 2 * asked, node["Node Type"]
        assert sorted(store.sweep(relay, ids)) == sorted(ids)
    assert count(owner) == size - asked


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def test_several_relays_share_the_work(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Three relays at once publish everything, and nothing twice."""
    wanted = settings(batch=50, tenant_limit=10_000)
    with (
        relaying(database_url, broker_url, wanted),
        relaying(database_url, broker_url, wanted),
        relaying(database_url, broker_url, wanted),
    ):
        for wave in range(4):
            write_many(owner, 1_000, tenants=7, prefix=f"wave{wave}")
        published(owner, 4_000)
    arrived = intake.ids()
    assert len(arrived) == 4_000
    assert set(arrived.values()) == {1}


def test_a_tenant_has_a_limited_number_under_way(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Twenty events of one tenant do not fill the queue before anyone takes them; others are not held up."""
    write_many(owner, 20, tenants=1, prefix="big")
    with relaying(database_url, broker_url, settings(tenant_limit=5)):
        published(owner, 5)
        with billing_system(database_url) as psa:
            emit(psa, "small", "inv-1")
        published(owner, 6)
        assert take_over(owner, limit=3) == 3
        eventually(lambda: intake.depth == 9)
        assert count(owner, "tenant_id = 't0' AND published_at IS NOT NULL") == 5


def test_relays_share_a_tenants_limit(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Two relays give a tenant no more than one would, restarted in between, and all of it in the end."""
    write_many(owner, 30, tenants=1, prefix="big")
    under_way = "published_at IS NOT NULL AND event_id NOT IN (SELECT event_id FROM event)"
    most = 0

    def taken_over(wanted: int) -> bool:
        nonlocal most
        most = max(most, count(owner, under_way))
        take_over(owner, limit=1_000)
        return 30 - count(owner) >= wanted

    for wanted in (15, 30):
        with (
            relaying(database_url, broker_url, settings(tenant_limit=6)),
            relaying(database_url, broker_url, settings(tenant_limit=6)),
        ):
            eventually(partial(taken_over, wanted), 20)
    assert 0 < most <= 6
    assert set(intake.ids().values()) == {1}


def test_what_nobody_took_over_is_published_again(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """A broker that lost its disk is told everything anew, at intervals that double; taken over, it ends."""
    emit_many(database_url, 4)
    with relaying(database_url, broker_url, settings(schedule=schedule(0.3, 1.2), tenant_limit=2)):
        published(owner, 4)
        for times in (2, 3, 4):
            intake.purge()
            becomes(owner, f"publications = {times}", 4)
        gaps = "SELECT round(extract(epoch FROM due_at - published_at)::numeric, 1) FROM outbox_event"
        assert {float(row[0]) for row in owner.execute(gaps)} == {1.2}
        take_over(owner)
        empty(owner)
    assert len(intake.ids()) == 4


def test_what_still_lies_in_the_queue_is_not_published_again(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Slow consumers are not buried under copies: while the queue holds everything, rows only get another interval."""
    emit_many(database_url, 4)
    with relaying(database_url, broker_url, settings(schedule=schedule(0.2, 0.4))):
        published(owner, 4)
        for _ in range(3):
            (latest,) = owner.execute("SELECT max(due_at) FROM outbox_event").fetchone() or (None,)
            becomes(owner, f"due_at > '{latest}'", 4)
    assert intake.depth == 4
    assert count(owner, "publications = 1") == 4


def test_recovery_publishes_at_once(
    database_url: str, broker_url: str, owner: Session, fleet: Database, intake: Queue
) -> None:
    """Whoever knows that the broker lost everything need not wait for the interval."""
    emit_many(database_url, 4)
    with relaying(database_url, broker_url, settings()):
        published(owner, 4)
        intake.purge()
        with fleet.transaction("*") as connection:
            assert recovery.publish_again(connection) == 4
        eventually(lambda: intake.depth == 4)


def test_an_event_no_queue_takes_stays_and_is_tried_again(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """Unroutable is not published: the row waits, longer each time, and leaves when somebody binds a queue."""
    intake.delete()
    emit_many(database_url, 3)
    with relaying(database_url, broker_url, settings(longest_backoff=1.0)):
        becomes(owner, "failures > 0", 3)
        assert count(owner, "published_at IS NOT NULL OR publications > 0") == 0
        intake.declare()
        published(owner, 3)
    assert set(intake.ids().values()) == {1}


def test_an_event_a_full_queue_refuses_stays_and_is_tried_again(
    database_url: str, broker_url: str, owner: Session
) -> None:
    """`reject-publish` answers with a nack; nothing is dropped, and all arrive once there is room."""
    full = Queue(
        broker_url,
        "full",
        arguments={"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-max-length": 20},
    )
    try:
        emit_many(database_url, 200)
        arrived: set[str] = set()
        with relaying(database_url, broker_url, settings(batch=50, longest_backoff=0.2)):
            eventually(lambda: count(owner, "failures > 0") > 0)
            assert count(owner) == 200

            def drained() -> bool:
                arrived.update(full.ids())
                return len(arrived) == 200

            eventually(drained, 30)
            published(owner, 200)
    finally:
        full.close()


def test_a_relay_told_to_stop_finishes_its_batch(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """After an orderly stop the marks and the queue agree to the message, so that a restart doubles nothing."""
    write_many(owner, 3_000, tenants=30)
    for _ in range(50):
        with relaying(database_url, broker_url, settings(batch=100)) as stop:
            before = count(owner, "published_at IS NOT NULL")
            intake.grows(before)
            stop.set()
        assert intake.depth == count(owner, "published_at IS NOT NULL")
        if intake.depth == 3_000:
            break
    assert set(intake.ids().values()) == {1}


def test_our_own_events_leave_the_outbox_for_the_feed(
    database_url: str, broker_url: str, owner: Session, fleet: Database
) -> None:
    """Confirmed by the broker, an accounting event moves into the feed, where the PSA reads it by cursor."""
    answers = Queue(broker_url, "answers", "accounting")
    try:
        event = parse(samples.read("com.algapsa.accounting.document.synced.v1"))
        with fleet.transaction(event.tenantid) as connection:
            emitted = [
                outbox.emit(connection, event.tenantid, event.type, event.subject, event.data)
                for _ in range(3)
            ]
        with relaying(database_url, broker_url, settings()):
            empty(owner)
        assert sorted(answers.ids()) == sorted(str(one.event_id) for one in emitted)
        with fleet.transaction(event.tenantid) as connection:
            page = feed.read(connection, event.tenantid)
            rest = feed.read(connection, event.tenantid, page.entries[0].position, limit=1)
        assert [entry.event_id for entry in page.entries] == [one.event_id for one in emitted]
        assert [json.loads(entry.body)["sequence"] for entry in page.entries] == [1, 2, 3]
        assert rest.entries == page.entries[1:2]
        assert page.complete
    finally:
        answers.close()


def test_facts_nobody_listens_to_go_into_the_feed_all_the_same(
    database_url: str, broker_url: str, owner: Session, fleet: Database
) -> None:
    """The feed needs no queue: an accounting event without a listener is no failure."""
    event = parse(samples.read("com.algapsa.accounting.exception.opened.v1"))
    with fleet.transaction(event.tenantid) as connection:
        emitted = outbox.emit(connection, event.tenantid, event.type, event.subject, event.data)
    with relaying(database_url, broker_url, settings()):
        empty(owner)
    with fleet.transaction(event.tenantid) as connection:
        assert [entry.event_id for entry in feed.read(connection, event.tenantid).entries] == [
            emitted.event_id
        ]


def test_lost_database_connections_are_made_again(
    database_url: str, broker_url: str, owner: Session, intake: Queue
) -> None:
    """PostgreSQL ends every session of the relay five times; each event arrives at least once and is marked."""
    with relaying(database_url, broker_url, settings(batch=50, tenant_limit=10_000)):
        for wave in range(5):
            write_many(owner, 400, tenants=5, prefix=f"wave{wave}")
            owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'algasync relay' AND datname = current_database()"
            )
        published(owner, 2_000, timeout=30)
    assert len(intake.ids()) == 2_000
