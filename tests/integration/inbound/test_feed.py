"""The change feed: one read a cycle, never two cycles at once, nothing hidden, and a certificate that says so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import simplejson
from sqlalchemy import text

from services.inbound import cycles, filing, objects, schedule, sightings
from services.inbound.poll import Poll
from services.inbound.retention import Retention
from services.inbound.sightings import Sighting
from tests.support.exporting import TENANT
from tests.support.inbound import InboundBench
from tests.support.ledger import company, setting

SMALL = {"cap": 5, "size": 4, "lag": timedelta(0)}
"""A feed that is full at five objects, and pages of four rows: overflow without a thousand of them."""

AHEAD = 1800
"""Seconds that QuickBooks' clock may move without the access token ending."""


def narrow(bench: InboundBench, **limits: Any) -> None:
    """Let the feed be full early, on both sides."""
    limits = SMALL | limits
    bench.switch(cdc_cap=limits["cap"])
    bench.runner = bench.new_runner(poll=Poll(**limits))


def move_feed(bench: InboundBench, by: timedelta) -> None:
    """Let connection and last complete answer be so much later, or earlier."""
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(
            text("UPDATE change_feed SET cursor = cursor + :by, begins_at = begins_at + :by"), {"by": by}
        )


def test_an_idle_cycle_is_one_read_and_complete(bench: InboundBench) -> None:
    """The sandbox counts one metered read; the certificate names window, counts and cost; the history stays silent."""
    before = bench.reads
    cycle = bench.poll()
    assert bench.reads - before == 1
    assert (cycle.state, cycle.reads, cycle.resolution, cycle.todo) == ("complete", 1, [], [])
    assert cycle.cursor_after is not None
    assert cycle.asked_from == cycle.cursor_before - timedelta(minutes=5)
    assert bench.timeline("change_feed", str(bench.company_id)) == []


def test_the_cursor_is_quickbooks_own_time(bench: InboundBench) -> None:
    """Its clock runs ahead of ours by half an hour: the cursor follows its answer (D16)."""
    bench.advance(AHEAD)
    cycle = bench.poll()
    now = bench.one("SELECT clock_timestamp()")
    assert cycle.cursor_after is not None
    assert cycle.cursor_after > now + timedelta(minutes=25)


def test_connecting_imports_nothing(bench: InboundBench) -> None:
    """Payments from before the connection are history; the first cycle may be told to begin earlier."""
    bench.receive("10.00", {})
    bench.advance(AHEAD)
    move_feed(bench, timedelta(seconds=AHEAD))
    bench.poll()
    assert bench.told("payment.received") == []
    with bench.fleet.transaction(TENANT) as connection:
        earlier = datetime.now().astimezone() - timedelta(hours=1)
        schedule.set_cursor(connection, bench.company_id, earlier, "wizard")
    bench.poll()
    assert len(bench.told("payment.received")) == 1


def test_the_same_change_twice_and_an_older_copy_after_a_newer_one(bench: InboundBench) -> None:
    """Neither changes anything: no new version, no operation, no event."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("60.00", {qb: "60.00"})
    first = bench.object("Payment", paid)
    bench.poll()
    bench.edit_payment(paid, {qb: 50}, TotalAmt=50)
    bench.poll()
    told = len(bench.told("payment.received")) + len(bench.told("payment.changed"))
    with bench.fleet.transaction(TENANT) as connection:
        for raw in (first, bench.object("Payment", paid)):
            seen = Sighting(
                "Payment",
                paid,
                raw["SyncToken"],
                sightings.instant(raw["MetaData"]["LastUpdatedTime"]),
                raw,
            )
            assert filing.file(connection, bench.company, None, [seen]) == {"seen": 1}
    bench.settle()
    assert len(bench.told("payment.received")) + len(bench.told("payment.changed")) == told
    assert bench.due("inv-1") == [5000]


def test_never_two_cycles_at_once(bench: InboundBench) -> None:
    """Woken again while one runs, another follows it; however often the scheduler comes by, one is open."""
    bench.wake()
    assert bench.open_due() == 1
    bench.wake()
    assert bench.open_due() == 0
    bench.settle()
    assert bench.open_due() == 1
    bench.settle()
    bench.open_due()
    assert bench.one("SELECT count(*) FROM operation WHERE kind = 'poll' AND finished_at IS NULL") == 0


def test_cycles_wait_for_automatic_sync_unless_somebody_asks(bench: InboundBench) -> None:
    """Switched off, nothing is read by the clock; asked for, it is."""
    with bench.fleet.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", False)
    bench.wake("schedule")
    assert bench.open_due() == 0
    bench.wake("request")
    assert bench.open_due() == 1


def test_webhooks_wake_a_company_only_once_it_has_rested(bench: InboundBench) -> None:
    """Our own writes make Intuit call: however often it does, a minute has one read. Asking in person is at once."""
    for number in range(5):
        bench.invoice(f"inv-{number}")
        bench.wake("webhook")
        assert bench.open_due() == 0
    waits = "SELECT due_at - clock_timestamp() AS wait, cause FROM change_feed"
    (row,) = bench.rows(waits)
    assert timedelta(seconds=30) < row.wait <= timedelta(seconds=60)
    assert row.cause == "webhook"
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE poll_cycle SET started_at = started_at - interval '61 seconds'"))
    bench.wake("webhook")
    assert bench.open_due() == 1
    bench.settle()
    bench.wake("webhook")
    assert bench.open_due() == 0
    bench.wake("request")
    assert bench.open_due() == 1


def test_companies_are_spread_over_the_interval(bench: InboundBench) -> None:
    """A thousand companies have a thousand moments: no second has a crowd, and each keeps its own."""
    query = """SELECT poll_slot(gen_random_uuid(), clock_timestamp(), 900) - clock_timestamp() AS wait
                 FROM generate_series(1, 1000)"""
    waits = [row.wait.total_seconds() for row in bench.rows(query)]
    assert all(0 <= wait <= 900 for wait in waits)
    assert max(sum(second <= wait < second + 10 for wait in waits) for second in range(0, 900, 10)) < 40
    slots = """SELECT poll_slot(id, at + interval '1 second', 900) - at AS later
                 FROM (SELECT id, poll_slot(id, clock_timestamp(), 900) AS at
                         FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 20)) i) s"""
    assert all(row.later.total_seconds() == pytest.approx(900, abs=0.001) for row in bench.rows(slots))


def test_inbound_neither_waits_for_outbound_nor_holds_it_up(bench: InboundBench) -> None:
    """A company whose calls rest still takes payments over, and a flood of changes leaves all room to exports."""
    from services.ledger import dispatch

    for _ in range(12):
        bench.receive("10.00", {})
    bench.wake()
    bench.open_due()
    bench.bill("inv-1")
    bench.runner.run(*_command(bench, "poll"))
    with bench.fleet.transaction("*") as connection:
        due = dispatch.due(connection, in_flight=8, limit=100)
        assert sum(command.queue == "inbound_apply" for command in due) == 8
        assert sum(command.queue == "export" for command in due) == 1
        connection.execute(
            text("UPDATE company_limiter SET paused_until = clock_timestamp() + interval '1 hour'")
        )
        resting = {command.queue for command in dispatch.due(connection, in_flight=8, limit=100)}
    assert resting == {"inbound_apply"}


def _command(bench: InboundBench, kind: str) -> tuple[Any, int]:
    (row,) = bench.rows(
        "SELECT operation_id, attempt FROM operation WHERE kind = :kind AND finished_at IS NULL", kind=kind
    )
    return row.operation_id, row.attempt


def test_a_change_nobody_can_read_stops_nothing(bench: InboundBench) -> None:
    """A payment that does not add up and one that is garbage are exceptions of their own; the others apply (D2)."""
    qb = bench.invoice("inv-1")
    paid = bench.receive("100.00", {qb: "100.00"})
    raw = simplejson.loads(simplejson.dumps(bench.object("Payment", paid)), use_decimal=True)
    broken = raw | {"Id": "900", "UnappliedAmt": 12}
    garbage = raw | {"Id": "901", "TotalAmt": "many", "Line": "none"}
    with bench.fleet.transaction(TENANT) as connection:
        found = [
            Sighting("Payment", "900", "0", None, broken),
            Sighting("Payment", "901", "0", None, garbage),
            Sighting("Payment", "unreadable-1", None, None, {"x": "\0\ud800"}, unreadable=True),
        ]
        filing.file(connection, bench.company, None, found)
    cycle = bench.poll()
    assert cycle.state == "complete"
    assert bench.codes() == ["unreadable_payment"] * 3
    assert bench.due("inv-1") == [0]


def test_a_full_answer_is_asked_for_entity_by_entity(bench: InboundBench) -> None:
    """The cap counts over all entities (D14): what was cut is found, and the certificate says how."""
    for name in ("A", "B", "C"):
        bench.bookkeeper("create", entity="Customer", body={"DisplayName": name})
    paid = [bench.receive("10.00", {}) for _ in range(3)]
    narrow(bench, cap=12)
    bench.advance(600)
    bench.receive("5.00", {})
    move_feed(bench, -timedelta(minutes=30))
    cycle = bench.poll()
    assert cycle.state == "complete"
    assert len(cycle.resolution) == 1
    assert "one by one" in cycle.resolution[0]
    assert cycle.reads == 6
    assert len(bench.told("payment.received")) == len(paid) + 1


def test_one_entity_that_is_too_much_is_read_by_query(bench: InboundBench) -> None:
    """More payments than an answer holds: pages by query, deletions by looking for what we know."""
    known = bench.receive("9.00", {})
    bench.poll()
    bench.bookkeeper("delete", entity="Payment", id=known)
    made = [bench.receive(f"{amount}.00", {}) for amount in range(10, 22)]
    narrow(bench)
    cycle = bench.poll()
    assert cycle.state == "complete"
    assert len(bench.told("payment.received")) == len(made) + 1
    assert [gone["quickbooks_id"] for gone in bench.told("payment.withdrawn")] == [known]
    assert bench.rows("SELECT FROM poll_seen") == []


def test_what_a_query_may_not_show_yet_is_asked_for_again(bench: InboundBench) -> None:
    """What came so late that a cycle by query does not look for it was deleted before the next overlap began."""
    for amount in range(10, 17):
        bench.receive(f"{amount}.00", {})
    move_feed(bench, -timedelta(minutes=30))
    narrow(bench, lag=cycles.LAG)
    by_query = bench.poll()
    assert by_query.resolution
    assert by_query.cursor_after is not None
    bench.switch(cdc_cap=1000)
    bench.runner = bench.new_runner()
    by_feed = bench.poll()
    assert by_feed.cursor_before == by_query.cursor_after - cycles.LAG
    assert bench.poll().cursor_before == by_feed.cursor_after


def test_the_cursor_moves_only_with_the_last_answer(bench: InboundBench) -> None:
    """A crash between any two questions: the cycle goes on where it was, and nothing is told twice."""
    made = [bench.receive(f"{amount}.00", {}) for amount in range(10, 22)]
    narrow(bench)
    cursor = bench.one("SELECT cursor FROM change_feed")
    bench.wake()
    bench.open_due()
    steps = 0
    while bench.cycle().state != "complete":
        assert bench.one("SELECT cursor FROM change_feed") == cursor
        bench.make_due()
        bench.trouble("cut_after", entity="cdc", times=1)
        bench.trouble("cut_after", entity="payment", operation="query", times=1)
        bench.runner.run(*_command(bench, "poll"))
        bench.expire_leases()
        bench.no_more_troubles()
        steps += 1
        assert steps < 60
    bench.settle()
    assert bench.one("SELECT cursor FROM change_feed") > cursor
    assert len(bench.told("payment.received")) == len(made)


def test_a_cursor_that_the_feed_does_not_reach(bench: InboundBench) -> None:
    """After a month away everything that changed is read by query, and what was deleted is found (D15)."""
    qb = bench.invoice("inv-1")
    gone = bench.receive("40.00", {qb: "40.00"})
    bench.poll()
    bench.bookkeeper("delete", entity="Payment", id=gone)
    bench.receive("100.00", {qb: "100.00"})
    move_feed(bench, -timedelta(days=40))
    narrow(bench, cap=1000, size=100)
    cycle = bench.poll()
    assert cycle.state == "complete"
    assert "beyond the feed" in cycle.resolution[0]
    assert len(bench.told("payment.withdrawn")) == 1
    assert bench.due("inv-1") == [0]


def test_a_refused_question_makes_the_cycle_incomplete_until_it_is_answered(bench: InboundBench) -> None:
    """The certificate says why, an exception asks, the cursor stays; the next moment mends all three by itself."""
    cursor = bench.one("SELECT cursor FROM change_feed")
    bench.trouble("fault", entity="cdc", code="2010", fault_type="ValidationFault")
    cycle = bench.poll()
    assert cycle.state == "incomplete"
    assert cycle.reason
    assert bench.codes() == ["feed_refused"]
    assert bench.one("SELECT cursor FROM change_feed") == cursor
    bench.no_more_troubles()
    cycle = bench.poll()
    assert cycle.state == "complete"
    assert bench.exceptions() == []


def test_a_revoked_connection_waits_and_loses_nothing(bench: InboundBench) -> None:
    """No second cycle is opened meanwhile, and after the reconnect it goes on from the same cursor."""
    qb = bench.invoice("inv-1")
    bench.trouble("unauthorized", entity="cdc")
    bench.poll()
    assert bench.cycle().state == "running"
    bench.receive("100.00", {qb: "100.00"})
    bench.wake()
    assert bench.open_due() == 0
    bench.no_more_troubles()
    bench.reconnect()
    bench.settle()
    bench.poll()
    assert bench.due("inv-1") == [0]


def test_once_a_day_it_looks_for_what_the_feed_did_not_show(bench: InboundBench) -> None:
    """What showed late, behind the overlap, is caught by the day's wider window; linked customers are looked for."""
    bench.receive("10.00", {})
    with bench.fleet.transaction(TENANT) as connection:
        late = {"h": timedelta(hours=1)}
        connection.execute(
            text("UPDATE change_feed SET cursor = cursor + :h, begins_at = begins_at - :h"), late
        )
    bench.poll()
    assert bench.told("payment.received") == []
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE change_feed SET swept_at = swept_at - interval '25 hours'"))
    bench.runner = bench.new_runner(poll=Poll(lag=timedelta(0)))
    cycle = bench.poll()
    assert len(bench.told("payment.received")) == 1
    assert cycle.reads == 2


def test_short_reads_stretch_only_what_webhooks_cover(bench: InboundBench) -> None:
    """Near the budget a company that webhooks wake rests longer between two cycles; a deaf one does not."""
    bench.set("read_budget", 100)
    with bench.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                """INSERT INTO metered_read (company_id, tenant_id, month, operation, reads)
                   VALUES (:c, :t, date_trunc('month', clock_timestamp()), 'changes', 90)"""
            ),
            {"c": bench.company_id, "t": TENANT},
        )
        place = (connection, TENANT, bench.company_id)
        assert schedule.interval(*place, hears=False) == timedelta(minutes=15)
        assert schedule.interval(*place, hears=True) == timedelta(hours=1)


def test_old_polls_and_empty_certificates_are_forgotten(bench: InboundBench) -> None:
    """What says nothing goes first; the newest version of an object stays."""
    bench.receive("10.00", {})
    bench.poll()
    bench.poll()
    with bench.fleet.transaction("*") as connection:
        old = "clock_timestamp() - interval '40 days'"
        connection.execute(text(f"UPDATE poll_cycle SET finished_at = {old}"))
        connection.execute(text(f"UPDATE operation SET finished_at = {old} WHERE kind = 'poll'"))
        forgotten = Retention().forget(connection)
    assert forgotten["polls"] == 3
    assert forgotten["cycles"] == 1
    assert forgotten["changes"] == 0


def test_certificates_are_paged(bench: InboundBench) -> None:
    """Newest first, from below a number."""
    bench.poll()
    bench.poll()
    with bench.fleet.transaction(TENANT) as connection:
        newest = cycles.page(connection, bench.company_id, limit=2)
        rest = cycles.page(connection, bench.company_id, before=newest[-1].number)
    assert [cycle.number for cycle in [*newest, *rest]] == [3, 2, 1]


def test_another_company_of_the_tenant_has_a_feed_of_its_own(bench: InboundBench) -> None:
    """The same ids in two companies are two objects."""
    with bench.fleet.transaction(TENANT) as connection:
        other = company(connection, TENANT, default=False, realm="9341450000000003")
        seen = Sighting("Payment", "1", "0", None, {"Id": "1"})
        for company_id in (bench.company_id, other):
            objects.put(connection, TENANT, company_id, None, [(seen, 1)])
        assert objects.get(connection, other, "Payment", "1") is not None


@pytest.mark.parametrize("kept", ["newest", "oldest"])
def test_whatever_a_full_answer_keeps_nothing_is_missed(bench: InboundBench, kept: str) -> None:
    """Intuit does not say which rows it cuts: either way all payments arrive."""
    made = [bench.receive(f"{amount}.00", {}) for amount in range(10, 19)]
    bench.switch(cdc_order=kept)
    narrow(bench)
    bench.poll()
    assert len(bench.told("payment.received")) == len(made)
