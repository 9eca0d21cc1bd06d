"""The wanted topology, before any broker is asked."""

from __future__ import annotations

import pytest

from workers.topology import COMMAND_QUEUES, Binding, Difference, QueueName, bindings

OLD, NEW = (3, 10, 8), (4, 0, 0)


def _dead(version: tuple[int, ...]) -> Binding:
    return next(binding for binding in bindings(version) if binding.queue is QueueName.DEAD)


def test_dead_letters_have_no_delivery_limit_on_any_server() -> None:
    """RabbitMQ before 4.0 has none unless given one and refuses -1; from 4.0 only -1 means none."""
    assert "x-delivery-limit" not in _dead(OLD).arguments
    assert _dead(NEW).arguments["x-delivery-limit"] == -1


@pytest.mark.parametrize("version", [OLD, NEW])
def test_nothing_ends_a_dead_letter(version: tuple[int, ...]) -> None:
    """`dead` has no expiry, no length and no dead-letter exchange of its own."""
    assert set(_dead(version).arguments) <= {"x-queue-type", "x-delivery-limit"}


@pytest.mark.parametrize("version", [OLD, NEW])
def test_every_working_queue_dead_letters_at_least_once(version: tuple[int, ...]) -> None:
    """At-least-once dead-lettering silently turns into at-most-once unless all four arguments are there."""
    for binding in bindings(version):
        if binding.queue is not QueueName.DEAD:
            wanted = {
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": "dead",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
            assert wanted.items() <= binding.arguments.items()
            assert binding.arguments["x-delivery-limit"] > 0
            assert binding.arguments["x-max-length-bytes"] > 0


def test_dead_is_declared_before_anything_can_die() -> None:
    """A queue that dead-letters before `dead` exists holds its letters back."""
    assert bindings(OLD)[0].queue is QueueName.DEAD


def test_commands_are_addressed_without_a_version() -> None:
    """A queue may get its next version without a change to whoever sends commands."""
    keys = {b.routing_key: b.name for b in bindings(OLD) if b.exchange.name == "work"}
    assert keys == {str(queue): f"{queue}.v1" for queue in COMMAND_QUEUES}


def test_only_the_delivery_limit_of_dead_is_tolerable() -> None:
    """It cannot be set on a queue that lived through an upgrade to 4.0; every other difference stops the fleet."""
    assert Difference("queue dead.v1", "x-delivery-limit", "-1", "none").tolerable
    assert not Difference("queue dead.v1", "x-message-ttl", "none", "1000").tolerable
    assert not Difference("queue export.v1", "x-delivery-limit", "20", "none").tolerable
