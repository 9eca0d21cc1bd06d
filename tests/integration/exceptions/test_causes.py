"""Root causes: one fix releases everything that rests on it."""

from __future__ import annotations

import pytest

from services.database import Database, Role
from services.exceptions import causes, lifecycle, replays
from services.ledger.operations import State
from services.mapping import mappings
from services.refusals import Refusal
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


def test_the_api_may_release_and_retry_within_its_tenant(world: World, database_url: str) -> None:
    """What an accounting admin does through the PSA works under the API's own role, and for no other tenant."""
    cause = mappings.cause("item", world.company_id, "svc")
    failed = [world.failed(f"inv-{number}", cause) for number in range(3)]
    for one in failed:
        world.die(one)
    world.file(world.emit("inv-9"), reason="expired")
    found = {one.entity_id: one.exception_id for one in world.exceptions()}
    with Database(database_url, Role.API) as api:
        with api.transaction("t-other") as connection:
            assert causes.release(connection, world.tenant, cause, "mallory") == []
            with pytest.raises(Refusal, match="no exception"):
                replays.retry(connection, found["inv-0"], "mallory", "try")
        with api.transaction(world.tenant) as connection:
            lifecycle.ignore(connection, found["inv-2"], "booked by hand", "dana")
            assert replays.retry(connection, found["inv-0"], "dana", "try").operation is not None
            assert causes.release(connection, world.tenant, cause, "dana") == [failed[1].operation_id]
            event = next(one for name, one in found.items() if not name.startswith("inv-"))
            assert len(replays.retry(connection, event, "dana", "mended").events) == 1
    assert [world.read(one).attempt for one in failed] == [2, 2, 1]
