"""Root causes: one fix releases everything that rests on it."""

from __future__ import annotations

from services.exceptions import causes, lifecycle, replays
from services.ledger.operations import State
from services.mapping import mappings
from tests.support.desk import World


def test_causes_group_what_one_fix_repairs(world: World) -> None:
    """The widest cause comes first, with how many exceptions it has and how many can be released."""
    failed = [world.failed(f"inv-{number}", "mapping:item:c:svc") for number in range(3)]
    world.failed("inv-9", "mapping:term:c:net30")
    with world.fleet.transaction(world.tenant) as connection:
        replays.again(connection, failed[0].operation_id, "dana", "try")
        found = causes.page(connection, world.tenant)
        assert causes.page(connection, "t-other") == []
    assert [(one.cause, one.exceptions, one.releasable) for one in found] == [
        ("mapping:item:c:svc", 3, 2),
        ("mapping:term:c:net30", 1, 1),
    ]


def test_a_preview_is_what_a_release_does(world: World) -> None:
    """The preview names exactly the operations that the release then starts; others do not move."""
    failed = [world.failed(f"inv-{number}") for number in range(3)]
    ignored = world.failed("inv-8")
    other = world.failed("inv-9", "mapping:term:c:net30")
    (found,) = (one.exception_id for one in world.exceptions() if one.entity_id == "inv-8")
    for one in failed:
        world.die(one)
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.ignore(connection, found, "booked by hand", "dana")
        previewed = [
            one.operation_id for one in causes.preview(connection, world.tenant, "mapping:item:c:svc")
        ]
        released = causes.release(connection, world.tenant, "mapping:item:c:svc", "dana")
        assert causes.release(connection, world.tenant, "mapping:item:c:svc", "dana") == []
    assert previewed == released == sorted(one.operation_id for one in failed)
    assert {world.read(one).state for one in failed} == {State.QUEUED}
    assert {world.read(one).state for one in (ignored, other)} == {State.FAILED}
    assert {letter.state for letter in world.letters()} == {"replayed"}


def test_setting_the_mapping_releases_what_failed_for_it(world: World) -> None:
    """Through the mapping's own door, in its transaction: one setting, and all its invoices start again."""
    cause = mappings.cause("item", world.company_id, "svc-backup")
    failed = [world.failed(f"inv-{number}", cause) for number in range(2)]
    with world.fleet.transaction(world.tenant) as connection:
        mappings.put(
            connection,
            world.tenant,
            world.company_id,
            ("item", "svc-backup", ""),
            external_id="17",
            actor="dana",
            on_mapping_set=lambda c, tenant, key: causes.release(c, tenant, key, "dana"),
        )
    assert {(world.read(one).state, world.read(one).attempt) for one in failed} == {(State.QUEUED, 2)}
