"""Opening and closing exceptions in the transactions that find them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from sqlalchemy import text

from services.database import Database, Role
from services.exceptions import exceptions, lifecycle
from services.exceptions.desk import Subject, report, resolve
from services.ledger import timeline
from tests.support.deadline import eventually
from tests.support.desk import World, problem, scoped


def test_a_failure_and_its_exception_commit_together(world: World) -> None:
    """A failed operation has an exception, an entry in its document's timeline and an event to billing."""
    failed = world.failed("inv-7")
    opened = world.exception()
    assert (opened.state, opened.operation_id, opened.entity_id) == ("open", failed.operation_id, "inv-7")
    assert (opened.amount, opened.currency, opened.company_id) == (13500, "USD", world.company_id)
    assert world.told() == [("exception.opened.v1", str(opened.exception_id))]
    with world.fleet.transaction(world.tenant) as connection:
        entries = timeline.read(connection, world.tenant, "invoice", "inv-7")
    assert [entry.action for entry in entries] == ["exception_opened", "failed"]
    assert all(entry.intact for entry in entries)


def test_the_same_trouble_again_is_counted_and_told_once(world: World) -> None:
    """One open exception for a type and entity: repeats count on it, take over the newest words, and stay quiet."""
    first = world.report(happened="one")
    second = world.report(happened="two", code="missing_term_mapping")
    assert first == second
    assert (world.exception().occurrences, world.exception().happened) == (2, "two")
    assert world.exception().code == "missing_term_mapping"
    assert len(world.told()) == 1


def test_other_types_and_entities_open_their_own(world: World) -> None:
    """Type, entity kind and entity id each tell exceptions apart."""
    ids = {
        world.report(),
        world.report(id_="inv-2"),
        world.report(kind="payment"),
        world.report(type="accounting_sync_drift"),
    }
    assert len(ids) == 4


def test_after_it_is_resolved_the_same_trouble_opens_a_fresh_one(world: World) -> None:
    """A resolved exception is history; new trouble is a new exception."""
    first = world.report()
    with world.fleet.transaction(world.tenant) as connection:
        subject = Subject(world.tenant, "invoice", "inv-1")
        assert resolve(connection, subject, "accounting_sync_export_error", "mended")
        assert not resolve(connection, subject, "accounting_sync_export_error", "mended")
    second = world.report()
    assert first != second
    assert {one.exception_id: one.state for one in world.exceptions()} == {first: "resolved", second: "open"}


def test_an_ignored_trouble_stays_ignored_until_its_cause_is_another(world: World) -> None:
    """What somebody accepted is counted silently; something else about the same document is not."""
    first = world.report(cause="payment:unmapped:9")
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.ignore(connection, first, "paid in cash, booked by hand", "dana")
    assert world.report(cause="payment:unmapped:9") == first
    assert (world.exception().state, world.exception().occurrences) == ("ignored", 2)
    assert world.report(cause="payment:over_applied:9") != first


def test_success_closes_what_the_operation_and_its_document_had_open(world: World) -> None:
    """The finishing transaction resolves the export error, whichever step opened it, and tells billing."""
    failed = world.failed("inv-9")
    world.report(id_="inv-9", type="accounting_sync_drift")
    world.report(id_="inv-10")
    world.succeed(failed)
    states = {(one.entity_id, one.type): one.state for one in world.exceptions()}
    assert states == {
        ("inv-9", "accounting_sync_export_error"): "resolved",
        ("inv-9", "accounting_sync_drift"): "open",
        ("inv-10", "accounting_sync_export_error"): "open",
    }
    assert [kind for kind, _ in world.told()].count("exception.resolved.v1") == 1


def test_a_rolled_back_transaction_leaves_no_trace(world: World) -> None:
    """Exception, timeline entry and event live and die with the caller's transaction."""

    class Undone(Exception):
        pass

    def find_and_fail() -> None:
        with world.fleet.transaction(world.tenant) as connection:
            report(connection, Subject(world.tenant, "invoice", "inv-1"), problem())
            raise Undone

    with pytest.raises(Undone):
        find_and_fail()
    assert world.exceptions() == []
    assert world.told() == []


def test_opening_at_the_same_moment_makes_one_exception(world: World) -> None:
    """Eight transactions that find the same trouble at once end in one open exception, seen eight times."""
    ready = threading.Barrier(8)
    ids: list[UUID] = []

    def find() -> None:
        ready.wait()
        ids.append(world.report(id_="inv-race"))

    threads = [threading.Thread(target=find) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(ids) == 8
    assert len(set(ids)) == 1
    assert world.exception().occurrences == 8
    assert len(world.told()) == 1


def test_another_tenant_sees_and_changes_nothing(world: World, database_url: str) -> None:
    """Row-level security: the API of another tenant finds no exception and no letter, whatever id it knows."""
    failed = world.failed()
    world.die(failed)
    known = world.exception().exception_id
    with Database(database_url, Role.API) as api:
        with api.transaction("t-other") as connection:
            assert scoped(connection) == 0
            assert exceptions.page(connection, exceptions.Filters(states=())).exceptions == []
            touched = connection.execute(
                text("UPDATE exception SET assignee = 'mallory' WHERE exception_id = :id"), {"id": known}
            )
            assert touched.rowcount == 0
        with api.transaction(world.tenant) as connection:
            assert scoped(connection) == 2


def test_hostile_words_from_outside_are_kept_as_data(world: World) -> None:
    """Quotes, percent signs and markup in names and messages are text, in the list as in the event to billing."""
    nasty = 'O\'Brien; DROP TABLE exception; -- %s [red]{x} \\ "q"'
    world.report(happened=nasty, details={"name": nasty})
    assert world.exception().happened == nasty
    assert world.exception().details == {"name": nasty}


@pytest.mark.parametrize("act", ["comment", "ignore"])
def test_a_repeat_and_a_person_on_the_same_exception_do_not_block_each_other_for_good(
    world: World, act: str
) -> None:
    """A worker counts a repeat and then writes the timeline, while a person does both the other way round."""
    exception_id = world.report()
    acts = {
        "comment": lambda c: lifecycle.comment(c, exception_id, "asked the bookkeeper", "dana"),
        "ignore": lambda c: lifecycle.ignore(c, exception_id, "booked by hand", "dana"),
    }

    def person() -> None:
        with world.fleet.transaction(world.tenant) as connection:
            acts[act](connection)

    with ThreadPoolExecutor(1) as pool:
        with world.fleet.transaction(world.tenant) as connection:
            report(connection, Subject(world.tenant, "invoice", "inv-1"), problem())
            acting = pool.submit(person)
            eventually(
                lambda: world.rows(
                    "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
                    " WHERE NOT granted AND datname = current_database()"
                ),
                what="the person waits for the worker",
            )
            timeline.append(connection, world.tenant, "invoice", "inv-1", "algasync", "failed", {})
        acting.result(10)
    found = world.exception()
    assert (found.occurrences, found.state) == (2, "ignored" if act == "ignore" else "open")
