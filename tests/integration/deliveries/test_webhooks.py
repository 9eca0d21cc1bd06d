"""Webhooks: signed, each event owed once, in order, until it has arrived."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import text

from services.database.engine import ALL_TENANTS
from services.exceptions import notices
from services.psa import deliveries, lanes, pace, retries, subscriptions
from services.psa.troubles import DISABLED, REFUSED
from services.refusals import Refusal
from tests.integration.deliveries.conftest import TENANT, Desk
from tests.support import eventually
from tests.support.receiver import Answer, Post, Receiver
from tests.support.telling import emit, publish, synced, tell


def test_an_event_arrives_signed_and_byte_for_byte(desk: Desk, endpoint: Receiver) -> None:
    """What the receiver gets is what the feed holds, under a signature that it can check from AlgaPSA's description."""
    _, secret = desk.webhook(endpoint.url + "/hooks?a=1")
    (event_id,) = tell(desk.fleet, TENANT, "inv-1")
    desk.work()
    (post,) = endpoint.got
    with desk.fleet.transaction(TENANT) as connection:
        body = connection.execute(text("SELECT body FROM accounting_event")).scalar_one()
    assert post.body == body.encode()
    assert (post.method, post.path) == ("POST", "/hooks?a=1")
    assert post.event_id == post.headers["x-alga-event-id"] == event_id
    assert post.headers["content-type"] == "application/cloudevents+json"
    assert post.is_signed_with(secret)
    assert not post.is_signed_with(secret + "x")
    moment = int(post.headers["x-alga-signature"].split(",")[0].removeprefix("t="))
    assert abs(moment - time.time()) < 60


def test_a_webhook_gets_what_it_asked_for_and_nothing_from_before(desk: Desk, endpoint: Receiver) -> None:
    """It begins with the next event, of its types and its tenant only."""
    tell(desk.fleet, TENANT, "before")
    desk.webhook(endpoint.url, "document.synced.v1")
    wanted = tell(desk.fleet, TENANT, "inv-1")
    tell(desk.fleet, "tenant-b", "inv-of-another")
    tax = {**synced("inv-2")}
    publish(desk.fleet, emit(desk.fleet, TENANT, "document.synced.v1", "inv-2", tax))
    desk.work()
    assert endpoint.ids()[0] == wanted[0]
    assert [post.event["subject"] for post in endpoint.got] == ["inv-1", "inv-2"]
    with pytest.raises(Refusal, match=r"invoice\.finalized"):
        desk.webhook(endpoint.url, "invoice.finalized.v1")


def test_an_event_is_owed_once_whatever_is_repeated(desk: Desk, endpoint: Receiver) -> None:
    """One row for each (subscription, event): moving it again, or replaying its time, makes no second one."""
    subscription_id, _ = desk.webhook(endpoint.url)
    (event_id,) = tell(desk.fleet, TENANT, "inv-1")
    publish(desk.fleet, UUID(event_id))
    with desk.api.transaction(TENANT) as connection:
        since = datetime.now(UTC) - timedelta(hours=1)
        replayed = deliveries.replay_range(connection, TENANT, subscription_id, since=since, actor="admin")
    desk.work()
    assert (replayed, len(endpoint.got), len(desk.log(subscription_id))) == (0, 1, 1)


def test_what_is_owed_commits_with_the_feed(desk: Desk, endpoint: Receiver) -> None:
    """A relay that dies before its commit leaves neither the event in the feed nor a delivery; later both come."""
    subscription_id, _ = desk.webhook(endpoint.url)
    event_id = emit(desk.fleet, TENANT, "document.synced.v1", "inv-1", synced("inv-1"))
    with desk.fleet.engine.connect() as connection:
        connection.execute(text("SELECT set_config('algasync.tenant', '*', true)"))
        connection.execute(text("SELECT accounting_event_append(ARRAY[CAST(:id AS uuid)])"), {"id": event_id})
        connection.rollback()
    assert desk.log(subscription_id) == []
    publish(desk.fleet, event_id)
    assert [one.event_id for one in desk.log(subscription_id)] == [event_id]


def test_a_failed_delivery_is_repeated_under_its_id(desk: Desk, endpoint: Receiver) -> None:
    """After a minute, five, thirty: the same delivery and event ids, a fresh signature, until a 2xx."""
    subscription_id, secret = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    endpoint.answer = lambda _: 500 if len(endpoint.got) < 3 else 204
    for wait in (0, 1, 5):
        desk.pass_time(timedelta(minutes=wait * 1.2))
        desk.work()
        assert desk.due() == []
    assert len({(post.delivery_id, post.event_id) for post in endpoint.got}) == 1
    assert [post.headers["x-alga-attempt"] for post in endpoint.got] == ["1", "2", "3"]
    assert all(post.is_signed_with(secret) for post in endpoint.got)
    (delivery,) = desk.log(subscription_id)
    assert (delivery.state, delivery.attempts, delivery.status) == ("delivered", 3, 204)
    assert desk.subscription(subscription_id).failures == 0


def test_the_log_says_what_was_answered(desk: Desk, endpoint: Receiver) -> None:
    """Code, time and the beginning of the answer, also one that no database would take as it is."""
    subscription_id, _ = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    endpoint.answer = lambda _: (503, {"Retry-After": "3600"}, b"busy\x00" + b"x" * 50_000)
    desk.work()
    (delivery,) = desk.log(subscription_id)
    with desk.api.transaction(TENANT) as connection:
        (attempt,) = deliveries.attempts(connection, delivery.delivery_id)
    assert (attempt.outcome, attempt.status) == ("again", 503)
    assert attempt.reply.startswith("busyx")
    assert len(attempt.reply) == lanes.REPLY_KEPT
    assert attempt.milliseconds >= 0
    assert delivery.due_at - datetime.now(UTC) > timedelta(minutes=59)


def test_redirects_are_not_followed(desk: Desk, endpoint: Receiver, other_endpoint: Receiver) -> None:
    """A redirect could lead a signed body anywhere; it is an error that says so."""
    subscription_id, _ = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    endpoint.answer = lambda _: (307, {"Location": other_endpoint.url}, b"")
    desk.work()
    assert other_endpoint.got == []
    assert "redirects are not followed" in str(desk.log(subscription_id)[0].error)


def test_events_of_one_document_keep_their_order(desk: Desk, endpoint: Receiver) -> None:
    """While one waits for its repetition, later ones of its document wait with it, and other documents go on."""
    subscription_id, _ = desk.webhook(endpoint.url)
    refused = tell(desk.fleet, TENANT, "inv-1")[0]
    endpoint.answer = lambda post: 500 if post.event_id == refused and len(endpoint.got) == 1 else 200
    desk.work()
    later = tell(desk.fleet, TENANT, "inv-1", "inv-2", "inv-1")
    desk.work()
    assert endpoint.ids() == [refused, later[1]]
    desk.pass_time(timedelta(minutes=2))
    desk.work()
    assert endpoint.ids() == [refused, later[1], refused, later[0], later[2]]
    assert {one.state for one in desk.log(subscription_id)} == {"delivered"}


def test_an_endpoint_that_hangs_blocks_only_itself(
    make_desk: Callable[..., Desk], endpoint: Receiver, other_endpoint: Receiver
) -> None:
    """While one receiver keeps us waiting, another one gets all of its events."""
    desk = make_desk(threads=2)
    let_go = threading.Event()

    def hang(_: Post) -> Answer:
        let_go.wait(30)
        return 200

    endpoint.answer = hang
    desk.webhook(endpoint.url)
    desk.webhook(other_endpoint.url)
    tell(desk.fleet, TENANT, *(f"inv-{number}" for number in range(20)))
    for lane in desk.due():
        desk.notifier.wake(lane)
    other_endpoint.wait(20)
    assert len(endpoint.got) == 1
    let_go.set()
    endpoint.wait(2)


def test_a_destination_that_fails_rests_and_loses_nothing(desk: Desk, endpoint: Receiver) -> None:
    """After three failures in a row it is tried with one event at a time; once it works, all that waited goes."""
    subscription_id, _ = desk.webhook(endpoint.url)
    events = tell(desk.fleet, TENANT, *(f"inv-{number}" for number in range(30)))
    endpoint.answer = lambda _: None
    assert desk.work() == pace.REST_AFTER
    desk.pass_time(timedelta(minutes=2))
    assert desk.work() == 1
    endpoint.answer = lambda _: 200
    endpoint.got.clear()
    desk.pass_time(timedelta(minutes=6))
    desk.work()
    assert sorted(endpoint.ids()) == sorted(events)
    assert desk.subscription(subscription_id).pending == 0


def fail_for_a_day(desk: Desk, endpoint: Receiver) -> None:
    """Nothing is taken for a bit more than 24 hours."""
    endpoint.answer = lambda _: 502
    for _ in range(14):
        desk.work()
        desk.pass_time(timedelta(hours=2))
    desk.work()


def test_a_day_of_failures_disables_and_resume_goes_on(desk: Desk, endpoint: Receiver) -> None:
    """Disabled, with one exception and one notice; events are owed all the same, and resume sends them in order."""
    subscription_id, _ = desk.webhook(endpoint.url)
    before = tell(desk.fleet, TENANT, "inv-1")
    fail_for_a_day(desk, endpoint)
    found = desk.subscription(subscription_id)
    assert (found.state, found.pending) == ("disabled", 1)
    assert [one.state for one in desk.exceptions(DISABLED)] == ["open"]
    with desk.fleet.transaction(TENANT) as connection:
        (notice,) = notices.page(connection, TENANT).notices
    assert (notice.kind, notice.title) == ("deliveries", "Webhook psa is disabled")
    meanwhile = tell(desk.fleet, TENANT, "inv-1", "inv-1")
    desk.pass_time(timedelta(days=2))
    assert desk.work() == 0
    endpoint.answer = lambda _: 200
    endpoint.got.clear()
    (opened,) = desk.exceptions(DISABLED)
    with desk.api.transaction(TENANT) as connection:
        retries.retry(connection, opened.exception_id, "admin", "the receiver is mended")
    with desk.api.transaction(TENANT) as connection, pytest.raises(Refusal, match="it is resolved"):
        retries.retry(connection, opened.exception_id, "admin", "once more")
    desk.work()
    own = [post.event_id for post in endpoint.got if post.event["type"].endswith("document.synced.v1")]
    assert own == before + meanwhile
    assert [one.state for one in desk.exceptions(DISABLED)] == ["resolved"]


def test_an_event_that_alone_is_refused_is_given_up_with_an_exception(desk: Desk, endpoint: Receiver) -> None:
    """Others arrive, this one uses up its attempts: an exception says so, its document goes on, a replay closes it."""
    subscription_id, _ = desk.webhook(endpoint.url, "document.synced.v1")
    poison = tell(desk.fleet, TENANT, "inv-1")[0]
    endpoint.answer = lambda post: 400 if post.event_id == poison else 200
    for hours in (0, 0.02, 0.1, 0.6, 2.3, 13.5):
        desk.pass_time(timedelta(hours=hours))
        tell(desk.fleet, TENANT, f"inv-other-{hours}")
        desk.work()
    assert desk.subscription(subscription_id).state == "active"
    (given_up,) = desk.log(subscription_id, "failed")
    assert (str(given_up.event_id), given_up.attempts) == (poison, len(pace.WAITS) + 1)
    assert [one.state for one in desk.exceptions(REFUSED)] == ["open"]
    after = tell(desk.fleet, TENANT, "inv-1")[0]
    desk.work()
    assert endpoint.ids()[-1] == after
    endpoint.answer = lambda _: 200
    (opened,) = desk.exceptions(REFUSED)
    with desk.api.transaction(TENANT) as connection:
        assert retries.obstacle(connection, opened.exception_id) is None
        retries.retry(connection, opened.exception_id, "admin", "the receiver is mended")
        assert retries.obstacle(connection, opened.exception_id) == "the delivery is on its way already"
    desk.work()
    assert endpoint.got[-1].delivery_id == str(given_up.delivery_id)
    assert [one.state for one in desk.exceptions(REFUSED)] == ["resolved"]


def test_a_pause_keeps_what_is_owed(desk: Desk, endpoint: Receiver) -> None:
    """Nothing is sent while paused but a test; resume sends everything since, in order."""
    subscription_id, _ = desk.webhook(endpoint.url)
    with desk.api.transaction(TENANT) as connection:
        subscriptions.pause(connection, TENANT, subscription_id, reason="upgrade", actor="admin")
    events = tell(desk.fleet, TENANT, "inv-1", "inv-1", "inv-2")
    assert desk.work() == 0
    with desk.api.transaction(TENANT) as connection:
        test_id = deliveries.test(connection, TENANT, subscription_id, actor="admin")
    assert desk.work() == 1
    assert endpoint.got[0].delivery_id == str(test_id)
    assert endpoint.got[0].event["type"] == "com.algapsa.accounting.webhook.test.v1"
    with desk.api.transaction(TENANT) as connection:
        subscriptions.resume(connection, TENANT, subscription_id, actor="admin")
    desk.work()
    assert endpoint.ids()[1:] == events


def test_a_test_that_fails_is_not_repeated_and_harms_nothing(desk: Desk, endpoint: Receiver) -> None:
    """It is for somebody who looks at the answer now."""
    subscription_id, _ = desk.webhook(endpoint.url)
    endpoint.answer = lambda _: 500
    with desk.api.transaction(TENANT) as connection:
        deliveries.test(connection, TENANT, subscription_id, actor="admin")
    assert desk.work() == 1
    (delivery,) = desk.log(subscription_id)
    assert (delivery.state, delivery.status) == ("failed", 500)
    assert desk.subscription(subscription_id).failures == 0


def test_a_rotated_secret_signs_from_then_on(desk: Desk, endpoint: Receiver) -> None:
    """What was owed before is signed with the new one too: only that one is kept."""
    subscription_id, old = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    with desk.api.transaction(TENANT) as connection:
        new = subscriptions.rotate(connection, desk.vault, TENANT, subscription_id, actor="admin").secret
    desk.work()
    assert new != old
    assert endpoint.got[0].is_signed_with(new)
    assert not endpoint.got[0].is_signed_with(old)


def test_secrets_are_kept_encrypted(desk: Desk, endpoint: Receiver) -> None:
    """Neither the row nor the timeline holds what signs."""
    _, secret = desk.webhook(endpoint.url)
    with desk.fleet.transaction(ALL_TENANTS) as connection:
        stored = connection.execute(text("SELECT secret FROM subscription")).scalar_one()
        noted = connection.execute(text("SELECT string_agg(details::text, '') FROM timeline")).scalar_one()
    assert secret.encode() not in bytes(stored)
    assert desk.vault.open(stored) == secret
    assert secret not in noted


def test_a_time_range_is_replayed_also_from_before_the_webhook(desk: Desk, endpoint: Receiver) -> None:
    """A new receiver catches up with what the feed keeps; what it had already comes again under the same id."""
    old = tell(desk.fleet, TENANT, "inv-0", "inv-1")
    subscription_id, _ = desk.webhook(endpoint.url)
    new = tell(desk.fleet, TENANT, "inv-1")
    desk.work()
    first = endpoint.got[0].delivery_id
    with desk.api.transaction(TENANT) as connection:
        since = datetime.now(UTC) - timedelta(hours=1)
        replay = partial(
            deliveries.replay_range, connection, TENANT, subscription_id, since=since, actor="admin"
        )
        counted, count = replay(dry_run=True), replay()
    assert counted == count == 3
    desk.work()
    assert endpoint.ids()[1:] == old + new
    assert endpoint.got[-1].delivery_id == first


def test_a_deleted_webhook_gets_nothing_more(desk: Desk, endpoint: Receiver) -> None:
    """Neither what it was owed nor what comes later; its log stays, its secret goes."""
    subscription_id, _ = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    with desk.api.transaction(TENANT) as connection:
        subscriptions.delete(connection, TENANT, subscription_id, actor="admin")
    tell(desk.fleet, TENANT, "inv-2")
    assert desk.work() == 0
    with desk.fleet.transaction(TENANT) as connection:
        rows = connection.execute(text("SELECT state FROM delivery")).scalars().all()
        assert connection.execute(text("SELECT secret FROM subscription")).scalar_one() is None
    assert rows == ["failed"]
    with pytest.raises(Refusal), desk.api.transaction(TENANT) as connection:
        subscriptions.get(connection, TENANT, subscription_id)


def test_two_workers_never_serve_a_lane_at_once(desk: Desk, endpoint: Receiver) -> None:
    """However many commands come: each event goes once, in order."""
    desk.webhook(endpoint.url)
    events = tell(desk.fleet, TENANT, *(["inv-1"] * 20))
    (lane,) = desk.due()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(desk.notifier.run, [lane] * 8))
    assert endpoint.ids() == events


def test_a_worker_that_was_stopped_too_long_writes_nothing(desk: Desk, endpoint: Receiver) -> None:
    """Its lease ended and another worker took the lane: what the first one learned is discarded."""
    subscription_id, _ = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")

    def overtake(_: Post) -> Answer:
        with desk.fleet.transaction(ALL_TENANTS) as connection:
            over = text("UPDATE subscription SET lease_until = '-infinity'")
            connection.execute(over)
            assert lanes.take(connection, subscription_id) is not None
        return 500

    endpoint.answer = overtake
    desk.notifier.run(subscription_id)
    assert desk.subscription(subscription_id).failures == 0
    assert [(one.state, one.attempts) for one in desk.log(subscription_id)] == [("pending", 0)]


def test_a_rate_is_kept(desk: Desk, endpoint: Receiver) -> None:
    """A receiver that wants 1200 a minute gets them at least 50 ms apart."""
    desk.webhook(endpoint.url, per_minute=1200)
    tell(desk.fleet, TENANT, *(f"inv-{number}" for number in range(5)))
    eventually(lambda: desk.work() >= 0 and len(endpoint.got) == 5)
    gaps = [later.at - earlier.at for earlier, later in zip(endpoint.got, endpoint.got[1:], strict=False)]
    assert min(gaps) >= 0.045


def test_old_logs_are_forgotten(desk: Desk, endpoint: Receiver) -> None:
    """Attempts after a month, deliveries after three; what is pending stays."""
    subscription_id, _ = desk.webhook(endpoint.url)
    tell(desk.fleet, TENANT, "inv-1")
    desk.work()
    pending = tell(desk.fleet, TENANT, "inv-2")
    with desk.fleet.transaction(ALL_TENANTS) as connection:
        connection.execute(text("UPDATE delivery SET closed_at = closed_at - interval '100 days'"))
        assert deliveries.forget(connection) == {"deliveries": 1, "attempts": 0}
    assert [str(one.event_id) for one in desk.log(subscription_id)] == pending
