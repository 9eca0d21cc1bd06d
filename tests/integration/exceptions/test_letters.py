"""Filing dead letters: whose they are, and what they mean at that moment."""

from __future__ import annotations

import json
import threading
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.exceptions.desk import about, report
from services.exceptions.letters import Filed
from services.ledger.operations import State
from tests.support.desk import World, altered, command, problem


def outcomes(world: World) -> set[str]:
    """Events with a recorded outcome: what the outbox may forget."""
    return {str(row.event_id) for row in world.rows("SELECT event_id FROM event_outcome")}


def test_the_letter_of_a_failed_operation_joins_its_exception(world: World) -> None:
    """Failure and exception committed before; the letter is shown with them and opens nothing new."""
    failed = world.failed()
    filed = world.die(failed)
    assert filed.state == "open"
    assert filed.exception_id == world.exception().exception_id
    letter = world.letter()
    assert (letter.code, letter.message) == ("missing_item_mapping", "line 1, service: svc is not mapped")
    assert (letter.tenant_id, letter.company_id, letter.queue) == (world.tenant, world.company_id, "export")
    assert world.exception().occurrences == 1


def test_a_letter_joins_what_the_failure_was_told_to_last(world: World) -> None:
    """It failed, was tried again, was told to wait, and failed again: the letter is not on the item of the wait."""
    failed = world.failed()
    with world.fleet.transaction(world.tenant) as connection:
        waiting = report(connection, about(failed), problem(type="accounting_sync_waiting"))
    again = world.fail(failed)
    (export_error,) = (one.exception_id for one in world.exceptions() if one.exception_id != waiting)
    assert world.die(again).exception_id == export_error


def test_the_same_letter_again_is_counted(world: World) -> None:
    """A letter delivered twice, say because the collector lost its connection, is one row, seen twice."""
    failed = world.failed()
    assert world.die(failed) == world.die(failed)
    assert (world.letter().occurrences, world.letter().state) == (2, "open")
    assert world.exception().occurrences == 1


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.SKIPPED, State.DISCARDED])
def test_the_letter_of_finished_work_is_filed_as_resolved(world: World, state: State) -> None:
    """Nobody needs to look at a letter whose operation has its outcome; it is kept and says why."""
    one = world.queued()
    with world.fleet.transaction(world.tenant) as connection:
        connection.execute(
            text("UPDATE operation SET state = :state, finished_at = now() WHERE operation_id = :id"),
            {"state": state, "id": one.operation_id},
        )
    assert world.die(one).state == "resolved"
    assert world.letter().close_reason == f"the operation is {state}"
    assert world.exceptions() == []


def test_the_letter_of_an_attempt_that_is_over_is_filed_as_resolved(world: World) -> None:
    """A letter that comes after the next attempt began does not reopen anything."""
    one = world.queued()
    world.set(one, attempt=2)
    assert world.die(one, attempt=1).state == "resolved"
    assert world.read(one).state == State.QUEUED


def test_the_letter_of_unfinished_work_is_sent_again_once_and_then_fails(world: World) -> None:
    """A command that killed its workers gets one more chance by itself; the second death is an exception."""
    one = world.queued()
    sent = {"dispatched_at": "2026-01-01T00:00:00Z", "due_at": "2099-01-01T00:00:00Z"}
    world.set(one, **sent)
    assert world.die(one, reason="delivery_limit").state == "replayed"
    again = world.read(one)
    assert (again.state, again.dispatched_at, again.attempt) == (State.QUEUED, None, 1)
    assert again.due_at.year < 2099
    assert world.exceptions() == []

    world.set(one, **sent)
    filed = world.die(one, reason="delivery_limit")
    assert filed.state == "open"
    assert world.read(one).state == State.FAILED
    assert world.exception().exception_id == filed.exception_id
    assert (world.exception().type, world.exception().code) == (
        "accounting_sync_poison_message",
        "command_delivery_limit",
    )
    assert world.letter().occurrences == 2


def test_the_first_death_told_twice_is_not_a_second_death(world: World) -> None:
    """A letter delivered again before the command was sent again does not fail the operation."""
    one = world.queued()
    world.set(one, dispatched_at="2026-01-01T00:00:00Z")
    for _ in range(3):
        assert world.die(one, reason="delivery_limit").state == "replayed"
    assert world.read(one).state == State.QUEUED
    assert (world.letter().occurrences, world.letter().replays) == (3, 1)


def test_a_waiting_operation_needs_no_letter(world: World) -> None:
    """A stale command of an operation that waits changes nothing: the ledger sends it when it may go on."""
    one = world.queued()
    world.set(one, state="waiting", reason="sync is paused")
    assert world.die(one).state == "resolved"
    assert world.read(one).state == State.WAITING


def test_a_failed_operation_that_nobody_explained_gets_an_exception(world: World) -> None:
    """Failed without an open exception would be silent; its letter opens one."""
    one = world.queued()
    world.set(one, state="failed", reason_code="odd", reason="something odd")
    filed = world.die(one)
    assert filed.exception_id == world.exception().exception_id
    assert world.exception().happened == "something odd"


def test_an_event_that_breaks_the_contract_opens_an_exception_that_says_what_and_where(world: World) -> None:
    """The letter names the field, the exception says how to go on, and the outbox may forget the event."""
    body = altered(world.emit("inv-77"), type="com.algapsa.billing.invoice.finalised.v1")
    filed = world.file(body)
    letter, opened = world.letter(), world.exception()
    assert (letter.code, letter.tenant_id, letter.exception_id) == (
        "unknown_type",
        world.tenant,
        opened.exception_id,
    )
    assert (opened.type, opened.entity_kind, opened.direction) == (
        "accounting_sync_poison_message",
        "event",
        "fleet",
    )
    assert "did you mean com.algapsa.billing.invoice.finalized.v1" in opened.happened
    assert str(filed.letter_id) in opened.details["letter_id"]
    assert opened.details["document"] == "inv-77"
    assert str(letter.event_id) in outcomes(world)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"\xff\xfe\x00", "bad_json"),
        (b"[1, 2]", "not_cloudevents"),
        (b'{"id": "x", "id": "y"}', "bad_json"),
        (b'{"specversion": "1.0", "tenantid": "*", "type": 7}', "unknown_type"),
        (b"[" * 100_000, "too_deep"),
        (b'{"a": "\\u0000"}', "bad_json"),
        (b'{"a": "' + b"x" * 2_000_000 + b'"}', "too_large"),
    ],
    ids=["empty", "not text", "array", "doubled name", "every tenant", "nested", "nul", "huge"],
)
def test_a_letter_that_does_not_say_whose_it_is_is_kept_for_operators(
    world: World, body: bytes, code: str
) -> None:
    """Without a tenant there is no exception; the letter is on the operators' list, byte by byte, and only there."""
    filed = world.file(body)
    assert (filed.state, filed.exception_id) == ("open", None)
    assert (world.letter().code, world.letter().tenant_id) == (code, None)
    ((stored,),) = world.rows("SELECT body FROM letter")
    assert bytes(stored) == body
    with world.fleet.transaction(world.tenant) as connection:
        assert connection.execute(text("SELECT count(*) FROM letter")).scalar_one() == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300)
    | st.text(max_size=100).map(lambda word: word.encode("utf-8", "surrogatepass")),
    queue=st.sampled_from(["intake.v1", "export.v1", "unheard.v9", ""]) | st.text(max_size=20),
    reason=st.sampled_from(["rejected", "delivery_limit", "expired"]) | st.text(max_size=20),
    headers=st.dictionaries(
        st.text(max_size=10), st.text(max_size=10) | st.integers() | st.binary(max_size=5)
    ),
)
def test_any_letter_can_be_filed(
    world: World, body: bytes, queue: str, reason: str, headers: dict[str, object]
) -> None:
    """Whatever bytes, names and headers a dead message has, it is filed and never blocks the collector."""
    filed = world.file(body, queue=queue, reason=reason, headers=headers)
    assert filed.state in {"open", "replayed"}
    assert filed == world.file(body, queue=queue, reason=reason, headers=headers) or filed.state == "replayed"


def test_a_body_that_is_wrong_in_a_thousand_places_is_filed(world: World) -> None:
    """The words of an exception stay short enough for the list and for the event to billing."""
    body = json.loads(world.emit())
    body["data"]["lines"] = [{"id": f"line {number}"} for number in range(3000)]
    world.file(json.dumps(body).encode())
    assert world.letter().code == "invalid_data"
    assert len(world.exception().happened) == 2000


def test_a_hostile_reason_is_kept_as_text(world: World) -> None:
    """What a consumer's header claims about a letter is data: NUL characters and torn pairs do not stop the filing."""
    body = altered(world.emit(), type="com.algapsa.billing.nothing.v1")
    filed = world.file(body, reason="a\0b", code="c\0\ud800", message="\ud83d torn \0 text" + "x" * 5000)
    assert filed.exception_id == world.exception().exception_id
    assert world.letter().code == "c\ufffd?"
    assert len(world.exception().happened) == 2000


def test_a_command_counts_only_where_commands_travel(world: World) -> None:
    """A body on the events' queue that looks like a command does not touch the operation it names."""
    one = world.queued()
    filed = world.file(command(one), queue="intake.v1")
    assert (filed.state, world.letter().operation_id) == ("open", None)
    assert world.read(one).attempt == 1


def test_a_command_for_an_unknown_operation_is_kept(world: World) -> None:
    """It comes from another installation or an old backup; the letter says so."""
    body = b'{"version":1,"operation_id":"%s","attempt":1}' % str(uuid4()).encode()
    assert world.file(body, queue="export.v1").state == "open"
    assert world.letter().code == "unknown_operation"


def test_the_letter_of_an_event_that_was_taken_over_is_filed_as_resolved(world: World) -> None:
    """A second copy that died does not matter once the event is in the ledger."""
    body = world.emit("inv-5")
    take_over(world, body)
    assert world.file(body).state == "resolved"
    assert world.exceptions() == []


def test_an_event_under_the_id_or_number_of_another_is_not_taken_for_it(world: World) -> None:
    """Two events with one id, or one place in a document's history: the second is an exception, not "done"."""
    body = world.emit("inv-5")
    take_over(world, body)
    world.file(altered(body, subject="inv-6"))
    world.file(altered(body, id=str(uuid4())))
    assert sorted(letter.code for letter in world.letters()) == ["id_taken", "sequence_taken"]
    assert {letter.state for letter in world.letters()} == {"open"}


def test_an_event_that_wore_its_workers_out_is_published_again_once(world: World) -> None:
    """The first delivery limit leaves the event with the outbox; the second is an exception and an outcome."""
    body = world.emit()
    first = world.file(body, reason="delivery_limit")
    assert (first.state, outcomes(world)) == ("replayed", set())
    second = world.file(body, reason="delivery_limit")
    assert second == Filed(first.letter_id, "open", world.exception().exception_id)
    assert outcomes(world) == {str(world.letter().event_id)}


def test_letters_filed_at_the_same_moment_are_one(world: World) -> None:
    """Two collectors with copies of one letter make one row and one exception."""
    body = altered(world.emit(), type="com.algapsa.billing.nothing.v1")
    ready = threading.Barrier(6)
    filed: list[Filed] = []

    def collect() -> None:
        ready.wait()
        filed.append(world.file(body))

    threads = [threading.Thread(target=collect) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(filed) == 6
    assert len(set(filed)) == 1
    assert world.letter().occurrences == 6
    assert len(world.exceptions()) == 1


def take_over(world: World, body: bytes) -> None:
    """Take an event over as intake does."""
    from services.ledger.intake import Intake
    from services.outbound.effects import Effects

    Intake(world.fleet, Effects(), world.desk).take_over(body)
