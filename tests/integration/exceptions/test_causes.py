"""Root causes: one fix releases everything that rests on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy import Connection, text

from services.database import Database, Role
from services.exceptions import bulk, causes, lifecycle, replays
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


def test_many_are_handed_to_the_fleet_which_starts_each_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a few do not start in the mend's own transaction, and one that cannot start holds up no other."""
    monkeypatch.setattr(causes, "AT_ONCE", 2)
    failed = [world.failed(f"inv-{number}") for number in range(4)]
    with world.fleet.transaction(world.tenant) as connection:
        released = causes.release(connection, world.tenant, "mapping:item:c:svc", "dana", "mapped")
    assert released == sorted(one.operation_id for one in failed)
    assert {world.read(one).state for one in failed} == {State.FAILED}
    with world.fleet.transaction(world.tenant) as connection:
        replays.again(connection, failed[0].operation_id, "erin", "at the same time")
    assert causes.work_off(world.fleet) == 3
    assert {(world.read(one).state, world.read(one).attempt) for one in failed} == {(State.QUEUED, 2)}
    assert causes.work_off(world.fleet) == 0
    assert world.rows("SELECT FROM cause_release") == []


def test_what_fails_again_is_not_released_again_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mend that did not help starts every operation once, not in a circle."""
    monkeypatch.setattr(causes, "AT_ONCE", 0)
    monkeypatch.setattr(causes, "BATCH", 1)
    failed = [world.failed(f"inv-{number}") for number in range(2)]
    with world.fleet.transaction(world.tenant) as connection:
        causes.release(connection, world.tenant, "mapping:item:c:svc", "dana")
    assert causes.work_off(world.fleet) == 1
    [begun] = [one for one in failed if world.read(one).state == State.QUEUED]
    world.fail(begun)
    assert causes.work_off(world.fleet) == 1
    assert causes.work_off(world.fleet) == 0
    assert sorted(world.read(one).attempt for one in failed) == [2, 2]


def test_rows_of_a_bulk_act_do_not_share_their_fate(world: World) -> None:
    """Each is done or refused by itself, with a word for programs and one for people."""
    failed = [world.failed(f"inv-{number}") for number in range(2)]
    open_ = {one.entity_id: one.exception_id for one in world.exceptions()}
    with world.fleet.transaction(world.tenant) as connection:
        replays.again(connection, failed[0].operation_id, "dana", "first")
    ids = [open_["inv-0"], uuid4(), open_["inv-1"]]
    results = list(
        bulk.each(
            lambda: world.fleet.transaction(world.tenant),
            ids,
            lambda c, one: replays.retry(c, one, "dana", "all"),
        )
    )
    assert [(one.id, one.code) for one in results] == list(
        zip(ids, ["not_failed", "not_found", "done"], strict=True)
    )
    assert "only a failed operation" in results[0].message


def test_a_row_that_somebody_else_works_on_is_busy_and_the_others_go_on(world: World) -> None:
    """A held lock costs its own row only."""
    failed = [world.failed(f"inv-{number}") for number in range(2)]
    ids = sorted(one.operation_id for one in failed)

    @contextmanager
    def impatient() -> Iterator[Connection]:
        with world.fleet.transaction(world.tenant) as connection:
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            yield connection

    with world.fleet.transaction(world.tenant) as holder:
        holder.execute(text("SELECT FROM operation WHERE operation_id = :id FOR UPDATE"), {"id": ids[0]})
        results = list(bulk.each(impatient, ids, lambda c, one: replays.again(c, one, "dana", "all")))
    assert [one.code for one in results] == ["busy", "done"]
