"""What people do to exceptions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection

from services.exceptions import exceptions, lifecycle
from services.ledger import timeline
from services.refusals import Refusal
from tests.support.desk import World


def test_the_life_of_an_exception(world: World) -> None:
    """open -> in progress -> ignored -> open: each step names who did it, and billing hears of both ends."""
    found = world.report()
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.start(connection, found, "dana")
        lifecycle.assign(connection, found, "lee@msp.example", "dana")
        assert exceptions.get(connection, found).state == "in_progress"
        lifecycle.ignore(connection, found, "booked by hand", "lee")
        ignored = exceptions.get(connection, found)
        assert (ignored.state, ignored.resolution) == ("ignored", "booked by hand")
        assert ignored.closed_at is not None
        lifecycle.reopen(connection, found, "it matters after all", "dana")
        reopened = exceptions.get(connection, found)
        assert (reopened.state, reopened.resolution, reopened.closed_at) == ("open", None, None)
        entries = timeline.read(connection, world.tenant, "invoice", "inv-1")
    assert [(entry.actor, entry.action) for entry in entries] == [
        ("algasync", "exception_opened"),
        ("dana", "exception_started"),
        ("dana", "exception_assigned"),
        ("lee", "exception_ignored"),
        ("dana", "exception_reopened"),
    ]
    assert [kind for kind, _ in world.told()] == [
        "exception.opened.v1",
        "exception.resolved.v1",
        "exception.opened.v1",
    ]


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda c, e: lifecycle.start(c, e, "dana"), "only an open one"),
        (lambda c, e: lifecycle.assign(c, e, "lee", "dana"), "reopen it"),
        (lambda c, e: lifecycle.ignore(c, e, "again", "dana"), "only an open one"),
    ],
    ids=["start", "assign", "ignore"],
)
def test_what_a_closed_exception_refuses(
    world: World, act: Callable[[Connection, object], None], sentence: str
) -> None:
    """A refused act says the state and what to do instead, and leaves no trace in the timeline."""
    found = world.report()
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.ignore(connection, found, "booked by hand", "dana")
        before = len(timeline.read(connection, world.tenant, "invoice", "inv-1"))
        with pytest.raises(Refusal, match=sentence):
            act(connection, found)
        assert len(timeline.read(connection, world.tenant, "invoice", "inv-1")) == before


@pytest.mark.parametrize("reason", ["", "   ", "a\0b"])
def test_a_reason_must_say_something(world: World, reason: str) -> None:
    """Ignoring without a reason is refused by the name of the field, and nothing changes."""
    found = world.report()
    with world.fleet.transaction(world.tenant) as connection:
        with pytest.raises(Refusal) as refused:
            lifecycle.ignore(connection, found, reason, "dana")
        assert refused.value.field == "reason"
        assert exceptions.get(connection, found).state == "open"


def test_an_old_one_is_not_reopened_beside_a_newer_one(world: World) -> None:
    """There is one open exception for a type and entity, also when an older one is asked back."""
    first = world.report(cause="one")
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.ignore(connection, first, "booked by hand", "dana")
    second = world.report(cause="two")
    assert second != first
    with world.fleet.transaction(world.tenant) as connection:
        with pytest.raises(Refusal, match="newer open one"):
            lifecycle.reopen(connection, first, "after all", "dana")
        assert exceptions.get(connection, first).state == "ignored"
