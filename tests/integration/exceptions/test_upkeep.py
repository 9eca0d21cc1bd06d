"""Keeping letters and exceptions in step with the ledger."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from messages import commands
from services.database.engine import ALL_TENANTS
from services.exceptions import upkeep
from services.exceptions.attention import CONNECTION_EXPIRED, ConnectionAttention
from services.ledger.intake import Intake
from services.outbound.effects import Effects
from tests.support.desk import World, altered, problem


def test_a_lost_letter_is_rebuilt_from_the_ledger(world: World) -> None:
    """A failed operation whose letter the broker lost gets one that can be replayed like the original."""
    failed = world.failed()
    world.failed()
    with world.fleet.transaction(ALL_TENANTS) as connection:
        assert upkeep.rebuild(connection) == 0  # the letters may still be on their way
        assert upkeep.rebuild(connection, grace=timedelta()) == 2
        assert upkeep.rebuild(connection, grace=timedelta()) == 0
    (letter,) = (one for one in world.letters() if one.operation_id == failed.operation_id)
    assert (letter.reason, letter.code, letter.state) == ("rebuilt", "missing_item_mapping", "open")
    assert letter.exception_id in {one.exception_id for one in world.exceptions()}
    ((body,),) = world.rows("SELECT body FROM letter WHERE letter_id = :id", id=letter.letter_id)
    assert commands.parse(bytes(body)) == commands.Command(operation_id=failed.operation_id, attempt=1)
    assert world.die(failed).letter_id == letter.letter_id
    assert [(one.occurrences, one.reason) for one in world.letters()] == [(1, "rejected"), (1, "rebuilt")]


def test_the_sweep_closes_what_was_settled_elsewhere(world: World) -> None:
    """An operation that ended and an event that arrived after all leave no open letter and no open exception."""
    ended = world.failed("inv-1")
    world.die(ended)
    open_still = world.failed("inv-2")
    world.die(open_still)
    body = world.emit("inv-3")
    world.file(body, reason="expired")
    taken = altered(body, id=str(uuid4()), subject="inv-4")
    world.file(taken)
    Intake(world.fleet, Effects(), world.desk).take_over(body)
    world.set(ended, state="discarded", finished_at="2026-01-01T00:00:00Z")
    with world.fleet.transaction(ALL_TENANTS) as connection:
        assert upkeep.sweep(connection) == {"letters": 2, "exceptions": 2, "reopened": 0}
        assert upkeep.sweep(connection) == {"letters": 0, "exceptions": 0, "reopened": 0}
    states = {one.subject: (one.state, one.close_reason) for one in world.letters()}
    assert states[str(ended.operation_id)] == ("resolved", "the operation is discarded")
    assert states[str(open_still.operation_id)] == ("open", None)
    assert sorted(state for state, _ in states.values()) == ["open", "open", "resolved", "resolved"]


def test_a_lost_connection_is_one_exception_until_the_reconnect(world: World) -> None:
    """Expired connections are on the list once a company, and the reconnect resolves them."""

    class Company:
        company_id = world.company_id
        tenant_id = world.tenant

    desk, company = ConnectionAttention(), Company()
    trouble = problem(f"connection:{world.company_id}", type=CONNECTION_EXPIRED, code="connection_expired")
    with world.fleet.transaction(world.tenant) as connection:
        desk.needed(connection, company, trouble)
        desk.needed(connection, company, trouble)
    opened = world.exception()
    assert (opened.entity_kind, opened.entity_id, opened.direction) == (
        "connection",
        str(world.company_id),
        "connection",
    )
    assert (opened.occurrences, opened.company_id) == (2, world.company_id)
    with world.fleet.transaction(world.tenant) as connection:
        desk.settled(connection, company, "reconnected by dana")
    assert (world.exception().state, world.exception().resolution) == ("resolved", "reconnected by dana")


def test_a_replayed_event_that_went_missing_is_open_again(world: World) -> None:
    """If neither ledger nor outbox knows a replayed event, its letter is back on the list, with an exception."""
    body = world.emit()
    assert world.file(body, reason="delivery_limit").state == "replayed"
    with world.fleet.transaction(ALL_TENANTS) as connection:
        assert upkeep.sweep(connection)["reopened"] == 0  # the outbox still answers for it
        connection.exec_driver_sql("DELETE FROM outbox_event WHERE exchange = 'billing'")
        assert upkeep.sweep(connection)["reopened"] == 1
    assert world.letter().state == "open"
    assert world.letter().exception_id == world.exception().exception_id
