"""Replaying and discarding: plans first, one new attempt whoever asks, events under their own id."""

from __future__ import annotations

import threading
from uuid import UUID, uuid4

import pytest

from services.database.engine import ALL_TENANTS
from services.exceptions import lifecycle, replays
from services.exceptions.archive import Filters
from services.exceptions.replays import Step
from services.ledger import timeline
from services.ledger.intake import Intake
from services.ledger.operations import State
from services.outbound.effects import Effects
from services.refusals import Refusal
from tests.support.deadline import eventually
from tests.support.desk import World, altered


def plan(world: World, **filters: object) -> list[Step]:
    """What a replay would do."""
    with world.fleet.transaction(ALL_TENANTS) as connection:
        return replays.plan(connection, Filters(**filters))


def replay(world: World, letter_id: UUID, actor: str = "dana") -> Step:
    """Replay one letter."""
    with world.fleet.transaction(ALL_TENANTS) as connection:
        return replays.replay(connection, letter_id, actor, "item mapped")


def discard(world: World, letter_id: UUID) -> Step:
    """Discard one letter."""
    with world.fleet.transaction(ALL_TENANTS) as connection:
        return replays.discard(connection, letter_id, "dana", "entered by hand")


def test_a_plan_says_what_would_happen_and_changes_nothing(world: World) -> None:
    """A dry run names the new attempt of each operation, and why what cannot be replayed is left."""
    failed = world.failed("inv-1")
    world.die(failed)
    world.file(b"not json")
    steps = plan(world)
    assert [step.action for step in steps] == ["new_attempt", "nothing"]
    assert steps[0].explanation == "export_invoice of invoice inv-1 starts attempt 2"
    assert world.read(failed) == failed
    assert {letter.state for letter in world.letters()} == {"open"}


def test_a_replay_is_the_next_attempt_of_the_same_operation(world: World) -> None:
    """No new operation, same key; who and why stand in the document's timeline."""
    failed = world.failed("inv-1")
    filed = world.die(failed)
    assert replay(world, filed.letter_id).action == "new_attempt"
    now = world.read(failed)
    assert (now.state, now.attempt, now.tries) == (State.QUEUED, 2, 0)
    letter = world.letter()
    assert (letter.state, letter.replays, letter.closed_by) == ("replayed", 1, "dana")
    assert letter.close_reason == "item mapped"
    with world.fleet.transaction(world.tenant) as connection:
        last = timeline.read(connection, world.tenant, "invoice", "inv-1")[-1]
    assert (last.actor, last.action, last.details["reason"]) == ("dana", "replayed", "item mapped")
    assert world.exception().state == "open"


def test_a_letter_that_fails_again_is_a_new_letter_of_the_next_attempt(world: World) -> None:
    """The list shows that it failed again: attempt 2, the same exception, seen twice."""
    one = world.failed("inv-1")
    replay(world, world.die(one).letter_id)
    one = world.fail(one)
    world.die(one)
    assert [(letter.attempt, letter.state) for letter in world.letters()] == [(1, "replayed"), (2, "open")]
    assert world.exception().occurrences == 2


def test_success_after_a_replay_settles_exception_and_letters(world: World) -> None:
    """When the new attempt succeeds, nothing is left open."""
    one = world.failed("inv-1")
    replay(world, world.die(one).letter_id)
    world.succeed(one)
    assert (world.exception().state, world.letter().state) == ("resolved", "resolved")


def test_two_operators_at_once_make_one_new_attempt(world: World) -> None:
    """Eight replays of the same letter at the same moment: one acts, seven are told that it was done."""
    failed = world.failed()
    letter_id = world.die(failed).letter_id
    ready = threading.Barrier(8)
    steps: list[Step] = []

    def ask(name: str) -> None:
        ready.wait()
        steps.append(replay(world, letter_id, name))

    threads = [threading.Thread(target=ask, args=(f"operator {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(step.action for step in steps) == ["new_attempt", *["nothing"] * 7]
    assert world.read(failed).attempt == 2
    assert world.letter().replays == 1


def test_a_replay_races_with_the_same_letter_arriving_again(world: World) -> None:
    """A copy of the letter that arrives around its replay never puts it back on the list of open ones."""
    for _ in range(10):
        failed = world.failed()
        letter_id = world.die(failed).letter_id
        ready = threading.Barrier(2)

        def arrive() -> None:
            ready.wait()  # noqa: B023 - joined below, within the round
            world.die(failed, attempt=1)  # noqa: B023

        thread = threading.Thread(target=arrive)
        thread.start()
        ready.wait()
        replay(world, letter_id)
        thread.join(20)
        (letter,) = world.letters(ids=[letter_id])
        assert letter.state == "replayed"
        assert world.read(failed).attempt == 2


def test_an_event_goes_to_the_outbox_again_as_it_was(world: World) -> None:
    """Same id, same sequence, same bytes; until it is taken over, the outbox answers for it again."""
    body = world.emit("inv-3")
    filed = world.file(body, reason="expired")
    event_id = world.letter().event_id
    assert event_id is not None
    with world.fleet.transaction(ALL_TENANTS) as connection:  # the baton's sweep: the letter is an outcome
        connection.exec_driver_sql(
            "DELETE FROM outbox_event WHERE event_id IN (SELECT event_id FROM event_outcome) AND exchange = 'billing'"
        )
    assert world.rows("SELECT FROM outbox_event WHERE event_id = :id", id=event_id) == []

    step = replay(world, filed.letter_id)
    assert (step.action, step.explanation) == (
        "emit_again",
        "emits invoice.finalized.v1 of invoice inv-3, sequence 1 again, under its own id",
    )
    assert world.published(event_id) == body
    assert world.rows("SELECT FROM event_outcome WHERE event_id = :id", id=event_id) == []
    assert Intake(world.fleet, Effects(), world.desk).take_over(world.published(event_id)) == "applied"
    assert plan(world, ids=[filed.letter_id], states=())[0].action == "nothing"


def test_an_event_that_would_fail_again_is_not_sent_in_circles(world: World) -> None:
    """Replaying what still cannot be read does nothing and says what is wrong with it."""
    filed = world.file(altered(world.emit(), type="com.algapsa.billing.nothing.v1"))
    step = replay(world, filed.letter_id)
    assert step.action == "nothing"
    assert "would fail again, unknown_type" in step.explanation
    assert world.letter().state == "open"


def test_discarding_gives_the_operation_up(world: World) -> None:
    """The operation ends as discarded with the reason, its exception and letters close, later steps go on."""
    failed = world.failed("inv-1")
    step = discard(world, world.die(failed).letter_id)
    assert step.action == "discard_operation"
    gone = world.read(failed)
    assert (gone.state, gone.reason) == (State.DISCARDED, "entered by hand")
    assert (world.exception().state, world.exception().resolution) == (
        "resolved",
        "discarded: entered by hand",
    )
    assert (world.letter().state, world.letter().closed_by) == ("discarded", "dana")


def test_what_may_be_in_quickbooks_is_not_discarded(world: World) -> None:
    """An unknown outcome is found out by a replay, never given up."""
    failed = world.failed()
    letter_id = world.die(failed).letter_id
    world.set(failed, outcome="unknown")
    step = discard(world, letter_id)
    assert (step.action, world.letter().state) == ("nothing", "open")
    assert "may be in QuickBooks" in step.explanation


def test_a_discarded_event_stays_discarded_when_a_copy_arrives(world: World) -> None:
    """Nobody decides twice about the same event; its exception is closed with the reason."""
    body = altered(world.emit(), type="com.algapsa.billing.nothing.v1")
    filed = world.file(body)
    assert discard(world, filed.letter_id).action == "discard_letter"
    assert world.exception().state == "resolved"
    assert world.file(body).state == "discarded"
    assert world.exception().state == "resolved"


def test_unreadable_bytes_that_come_again_after_a_discard_are_shown_again(world: World) -> None:
    """Bytes without an id may be a new message each time, so a discard does not silence the next."""
    filed = world.file(b"not json")
    discard(world, filed.letter_id)
    assert world.letter().state == "discarded"
    assert world.file(b"not json").state == "open"


def test_retrying_an_exception_replays_what_is_behind_it(world: World) -> None:
    """By its operation or by its event; without either it refuses with the fix."""
    failed = world.failed("inv-1")
    world.die(failed)
    body = world.emit()
    world.file(body, reason="expired")
    by_kind = {one.entity_kind: one.exception_id for one in world.exceptions()}
    with world.fleet.transaction(world.tenant) as connection:
        done = replays.retry(connection, by_kind["invoice"], "dana", "item mapped")
        assert done.operation is not None
        assert done.operation.attempt == 2
        sent = replays.retry(connection, by_kind["event"], "dana", "mended")
    assert [letter.state for letter in world.letters()] == ["replayed", "replayed"]
    assert sent.events == [world.letters(queue="intake")[0].event_id]
    lone = world.report(kind="client", id_="cl-1")
    with world.fleet.transaction(world.tenant) as connection:
        with pytest.raises(Refusal, match="Map it"):
            replays.retry(connection, lone, "dana", "try")
        with pytest.raises(Refusal, match="only a failed operation"):
            replays.retry(connection, by_kind["invoice"], "dana", "again")


def test_retrying_an_ignored_exception_puts_it_back_on_the_list(world: World) -> None:
    """Work that runs again is nobody's closed case: if it fails once more, somebody must see it."""
    failed = world.failed("inv-1")
    found = world.exception().exception_id
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.ignore(connection, found, "later", "dana")
        replays.again(connection, failed.operation_id, "dana", "now")
    assert world.exception().state == "open"
    world.fail(failed)
    assert (world.exception().state, world.exception().occurrences) == ("open", 2)


def test_an_unknown_letter_is_named(world: World) -> None:
    """A wrong id is an error that names it."""
    with pytest.raises(Refusal, match="no dead letter"):
        replay(world, uuid4())


def test_the_outboxs_sweep_does_not_take_a_replayed_event_away(world: World) -> None:
    """A sweep that saw the letter open, and waits while a replay commits, leaves the event that is under way."""
    filed = world.file(world.emit(), reason="expired")
    event_id = world.letter().event_id
    swept = threading.Event()

    def sweep() -> None:
        with world.fleet.transaction(ALL_TENANTS) as connection:
            connection.exec_driver_sql(
                "DELETE FROM outbox_event WHERE event_id IN (SELECT event_id FROM event_outcome)"
            )
        swept.set()

    def waits() -> bool:
        return bool(world.rows("SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"))

    with world.fleet.transaction(ALL_TENANTS) as connection:
        assert replays.replay(connection, filed.letter_id, "dana", "mended").action == "emit_again"
        thread = threading.Thread(target=sweep)
        thread.start()
        eventually(waits, what="the sweep waits for the replay")
    thread.join(20)
    assert swept.is_set()
    assert event_id is not None
    assert world.published(event_id)
