"""Backlogs that go 25 documents a call, where a company wants that: each document as exactly once as alone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from outbox.frames import Message
from outbox.publisher import BrokerUnavailable, Receipt
from services.ledger import dispatch, pauses
from services.mapping import settings
from services.refusals import Refusal
from tests.support.batches import alive, arrived, asked, backlog, batch, batches, gather
from tests.support.deadline import eventually
from tests.support.exporting import TENANT, Workbench, credit_note, invoice, payment, voided
from workers.dispatcher import Dispatcher


def test_without_the_setting_everything_goes_one_by_one(workbench: Workbench) -> None:
    """Off by default: no batch is made and no read is spent."""
    ids = backlog(workbench, 5, size=0)
    assert gather(workbench) == []
    workbench.settle()
    assert (asked(workbench), workbench.reads) == (0, 0)
    arrived(workbench, ids)


def test_a_backlog_goes_25_a_call(workbench: Workbench) -> None:
    """60 invoices are there once each, to the cent, after three calls; every document is counted as a read."""
    ids = backlog(workbench, 60)
    made = gather(workbench)
    assert [len(one.payload["members"]) for one in made] == [25, 25, 10]
    alive(workbench)
    workbench.settle()
    assert (asked(workbench), asked(workbench, "create")) == (3, 0)
    calls = [one.call for one in batches(workbench)]
    assert sum(call["reads"] for call in calls if call is not None) == 60
    assert workbench.reads == 3  # the sandbox, as the cheaper reading of Intuit's words has it
    arrived(workbench, ids)
    assert workbench.timeline("invoice", "inv-07") == ["InvoiceFinalized", "calling", "succeeded"]
    assert gather(workbench) == batches(workbench)


def test_fewer_than_a_call_takes_go_one_by_one(workbench: Workbench) -> None:
    """What would not fill a call does not wait for company, and costs no read."""
    ids = backlog(workbench, 4, size=5)
    assert gather(workbench) == []
    workbench.settle()
    assert workbench.reads == 0
    arrived(workbench, ids)


def test_the_dispatcher_makes_batches(workbench: Workbench) -> None:
    """It does so by itself, also while the broker is away."""
    backlog(workbench, 4, size=4)
    stop = threading.Event()
    dispatcher = Dispatcher(workbench.fleet, Away(), 8, timedelta(seconds=60))
    leader = threading.Thread(target=dispatcher.run, args=(stop,))
    leader.start()
    try:
        eventually(lambda: len(batches(workbench)) == 1, 15, what="a batch is made")
    finally:
        stop.set()
        leader.join()


class Away:
    """A broker that cannot be reached."""

    def publish(self, messages: Sequence[Message]) -> Receipt:
        """Nothing is published."""
        raise BrokerUnavailable("it is away")

    def idle(self, seconds: float = 0.0) -> None:
        """It says nothing."""


def test_wake_ups_are_locked_in_the_order_of_whoever_waits_for_several(
    workbench: Workbench, database_url: str
) -> None:
    """A payment that is about to wait for two invoices, and the batch that brings both: none stops the other."""
    backlog(workbench, 4, size=4)
    (made,) = gather(workbench)
    lock = "algasync.condition_lock('t-export', 'link', %s)"
    with psycopg.connect(database_url) as session, ThreadPoolExecutor(1) as worker:
        links = [f"invoice/inv-{one:02}" for one in range(4)]
        keys = {one: session.execute(f"SELECT {lock}", (one,)).fetchone() for one in links}
        by_lock = sorted(links, key=lambda one: keys[one] or ())
        before, after = next(pair for pair in itertools.pairwise(by_lock) if pair[0] > pair[1])
        session.execute(f"SELECT pg_advisory_xact_lock_shared({lock})", (before,))
        done = worker.submit(workbench.run, made)
        with psycopg.connect(database_url, autocommit=True) as watcher:
            blocked = "SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
            pid = session.info.backend_pid
            eventually(lambda: watcher.execute(blocked, (pid,)).fetchone() is not None, 15, what="it waits")
        session.execute(f"SELECT pg_advisory_xact_lock_shared({lock})", (after,))
        session.rollback()
        assert done.result(15).code == "succeeded"


def test_credit_notes_go_along_and_payments_follow(workbench: Workbench) -> None:
    """Credit notes share the call; a payment waits for its invoice and goes the moment that is there."""
    ids = backlog(workbench, 3, size=4)
    workbench.say("credit_note.finalized", credit_note("cn-1"), settle=False)
    workbench.say("payment.recorded", payment("pay-1", (ids[0], 9000)), settle=False)
    gather(workbench)
    workbench.settle()
    assert asked(workbench) == 1
    assert [one["DocNumber"] for one in workbench.objects("CreditMemo")] == ["CN-1"]
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    assert [one["Balance"] for one in workbench.objects() if one["DocNumber"] == "INV-00"] == [0]


def test_batches_come_due_as_intuits_limit_has_room(workbench: Workbench) -> None:
    """40 a minute times the share: the second one is due when the first one's slot is over, and no worker waits."""
    backlog(workbench, 9, size=3)
    made = gather(workbench)
    first, second, third = sorted(one.due_at for one in made)
    assert first < min(one.created_at for one in made) + timedelta(seconds=1)
    apart = (second - first).total_seconds(), (third - second).total_seconds()
    assert apart == pytest.approx((1.894, 1.894), abs=0.1)


def test_one_that_is_not_mapped_goes_alone_and_parks_itself(workbench: Workbench) -> None:
    """It gets the exception that it would have got alone, and the others go without it."""
    ids = backlog(workbench, 3, size=4)
    line = invoice("x")["lines"][0] | {"service_id": "unknown"}
    workbench.bill("bad", lines=[line])
    gather(workbench)
    workbench.settle()
    assert workbench.outcome("invoice", "bad") == ("failed", "missing_service_mapping")
    assert workbench.codes() == ["missing_service_mapping"]
    arrived(workbench, ids)


def test_nobody_is_put_into_a_second_batch(workbench: Workbench) -> None:
    """Who could not go along goes alone, however many there are of them."""
    line = invoice("x")["lines"][0] | {"service_id": "unknown"}
    workbench.set("export_batch_size", 4)
    ids = [f"inv-{one:02}" for one in range(4)]
    for one in ids:
        workbench.bill(one, lines=[line])
    workbench.run(gather(workbench)[0])
    assert (batch(workbench).state, batch(workbench).reason_code) == ("skipped", "too_few")
    assert len(gather(workbench)) == 1
    workbench.settle()
    assert [workbench.outcome("invoice", one)[0] for one in ids] == ["failed"] * 4
    assert asked(workbench) == 0


def test_what_was_handed_to_the_broker_already_goes_alone(workbench: Workbench) -> None:
    """A command that is out is left to its worker."""
    backlog(workbench, 4, size=4)
    with workbench.fleet.transaction("*") as connection:
        out = dispatch.due(connection, in_flight=1, limit=500)
        dispatch.sent(connection, out, resend=timedelta(0))
    assert gather(workbench) == []


def test_one_that_quickbooks_refuses_parks_itself(workbench: Workbench) -> None:
    """A fault of one item is that item's: it meets its refusal again alone, where it is explained."""
    ids = backlog(workbench, 3, size=4)
    workbench.map("item", "gone", "99999")
    line = invoice("x")["lines"][0] | {"service_id": "gone"}
    workbench.bill("bad", lines=[line])
    gather(workbench)
    workbench.settle()
    assert (asked(workbench), asked(workbench, "create")) == (1, 1)
    assert workbench.outcome("invoice", "bad") == ("failed", "quickbooks_2500")
    assert "will_retry" in workbench.timeline("invoice", "bad")
    arrived(workbench, ids)
    workbench.map("item", "gone", "3")
    workbench.replay(workbench.last("invoice", "bad"))
    assert workbench.outcome("invoice", "bad") == ("succeeded", None)
    assert workbench.codes() == []


def test_a_batch_that_is_refused_as_a_whole_is_taken_apart(workbench: Workbench) -> None:
    """No person is asked: its documents go one by one, and whoever the refusal was about would say so there."""
    ids = backlog(workbench, 4, size=4)
    workbench.switch(batch_size=3)
    gather(workbench)
    workbench.settle()
    assert (batch(workbench).state, batch(workbench).reason_code) == ("skipped", "refused")
    assert asked(workbench, "create") == 4
    assert workbench.codes() == []
    arrived(workbench, ids)


def test_a_stop_switch_of_a_kind_holds_its_documents_and_not_the_batch(workbench: Workbench) -> None:
    """Credit notes are paused: theirs waits by itself for the switch, and the invoices go."""
    ids = backlog(workbench, 3, size=4)
    workbench.say("credit_note.finalized", credit_note("cn-1"), settle=False)
    gather(workbench)
    stop: dict[str, Any] = {"tenant": TENANT, "company_id": workbench.company_id, "actor": "operator"}
    with workbench.fleet.transaction(TENANT) as connection:
        pauses.pause(connection, "kind", reason="look into it", kind="export_credit_memo", **stop)
    workbench.settle()
    assert workbench.outcome("credit_note", "cn-1") == ("waiting", "pause")
    arrived(workbench, ids)


def test_a_command_that_was_under_way_finds_its_document_in_a_batch(workbench: Workbench) -> None:
    """A worker that was late does nothing with it."""
    ids = backlog(workbench, 4, size=4)
    early = workbench.last("invoice", ids[0])
    gather(workbench)
    assert workbench.run(early).code == "waiting"
    assert workbench.objects() == []
    workbench.settle()
    arrived(workbench, ids)


def test_the_size_is_none_or_what_makes_a_call_worth_while(workbench: Workbench) -> None:
    """0 or 2 to 25, for a tenant or a company, and its history says who set it."""
    scope = settings.of_company(workbench.company_id)
    with workbench.fleet.transaction(TENANT) as connection:
        for wrong in (1, 26, -1, True, "25"):
            with pytest.raises(Refusal, match="export_batch_size"):
                settings.put(connection, TENANT, scope, "export_batch_size", wrong, actor="admin")
        settings.put(connection, TENANT, settings.TENANT, "export_batch_size", 25, actor="admin")
        settings.put(connection, TENANT, scope, "export_batch_size", 10, actor="admin")
        assert settings.resolve(connection, TENANT, company_id=workbench.company_id).export_batch_size == 10
        (entry,) = settings.history(connection, TENANT, scope, "export_batch_size")
    assert (entry.actor, entry.details["after"]) == ("admin", 10)


def test_a_void_before_the_call_takes_its_document_out(workbench: Workbench) -> None:
    """What was only put into a batch was not sent: the void cancels it, and the call carries the others."""
    ids = backlog(workbench, 4, size=4)
    gather(workbench)
    workbench.say("invoice.voided", voided(ids[0]), settle=False)
    workbench.settle()
    assert workbench.operations(ids[0])[0].reason_code == "superseded"
    assert sorted(one["DocNumber"] for one in workbench.objects()) == ["INV-01", "INV-02", "INV-03"]
    assert asked(workbench) == 1
    alive(workbench)


def test_switched_off_while_batches_wait(workbench: Workbench) -> None:
    """A batch that was not called lets its documents go one by one at once; one under way is finished as it is."""
    ids = backlog(workbench, 8, size=4)
    first, second = gather(workbench)
    workbench.trouble("cut_after", entity="batch", times=1)
    workbench.run(first)
    with workbench.fleet.transaction(TENANT) as connection:
        scope = settings.of_company(workbench.company_id)
        settings.put(connection, TENANT, scope, "export_batch_size", 0, actor="admin")
    assert workbench.operation(second.operation_id).due_at < second.due_at
    workbench.settle()
    states = [(one.state, one.reason_code) for one in batches(workbench)]
    assert states == [("succeeded", None), ("skipped", "switched_off")]
    assert (asked(workbench, "create"), gather(workbench)) == (4, batches(workbench))
    arrived(workbench, ids)


def test_a_throttled_batch_is_made_anew_from_what_is_known_then(workbench: Workbench) -> None:
    """Definitely not made: what was mended meanwhile goes into the next call, under an id of its own."""
    ids = backlog(workbench, 4, size=4)
    workbench.trouble("throttle", entity="batch", times=1)
    workbench.run(gather(workbench)[0])
    before = batch(workbench)
    workbench.map("item", "svc", "4")
    workbench.settle()
    after = batch(workbench)
    assert (before.outcome, after.generation) == ("unsent", 1)
    assert before.requestid != after.requestid
    items = {
        line["SalesItemLineDetail"]["ItemRef"]["value"]
        for line in (one["Line"][0] for one in workbench.objects())
    }
    assert items == {"4"}
    arrived(workbench, ids)
