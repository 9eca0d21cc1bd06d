"""The exception list and the letters' list: filters, pages, counts that agree, one in full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.exceptions import archive, exceptions, lifecycle
from services.exceptions.exceptions import Filters
from services.refusals import Refusal
from tests.support.desk import World


def test_pages_go_through_the_list_once_newest_first(world: World) -> None:
    """Following the cursor shows every exception exactly once, though new ones arrive meanwhile."""
    reported = [world.report(id_=f"inv-{number}") for number in range(7)]
    seen, after = [], None
    while True:
        with world.fleet.transaction(world.tenant) as connection:
            page = exceptions.page(connection, after=after, limit=3)
        seen += [one.exception_id for one in page.exceptions]
        world.report(id_=f"late-{len(seen)}")
        after = page.after
        if after is None:
            break
    assert seen == list(reversed(reported))


def test_counts_agree_with_the_list_under_every_filter(world: World) -> None:
    """Counts by state are those of the rows that the same filters show, whatever page and states are asked for."""
    ids = [world.report(id_=f"inv-{number}", client_id=f"cl-{number % 2}") for number in range(6)]
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.start(connection, ids[0], "dana")
        lifecycle.ignore(connection, ids[1], "booked by hand", "dana")
    for filters in (
        Filters(),
        Filters(client_id="cl-0"),
        Filters(cause="nothing"),
        Filters(states=("ignored",)),
    ):
        with world.fleet.transaction(world.tenant) as connection:
            page = exceptions.page(connection, filters, limit=1)
            everything = exceptions.page(
                connection, Filters(states=(), client_id=filters.client_id, cause=filters.cause)
            )
        found = [one.state for one in everything.exceptions]
        assert page.counts == {state: found.count(state) for state in exceptions.STATES}


def test_filters_choose(world: World) -> None:
    """Type, cause, company, client, direction, entity and age each leave only what they name."""
    one = world.report(id_="inv-1")
    two = world.report(
        kind="payment",
        id_="pay-1",
        type="accounting_sync_unmapped_payment",
        cause="payment:x",
        client_id="cl-2",
    )
    failed = world.failed("inv-3")
    (three,) = (x.exception_id for x in world.exceptions() if x.operation_id == failed.operation_id)
    now = datetime.now(UTC)
    expected = {
        Filters(type="accounting_sync_unmapped_payment"): {two},
        Filters(cause="payment:x"): {two},
        Filters(company_id=world.company_id): {three},
        Filters(client_id="cl-2"): {two},
        Filters(direction="inbound"): set(),
        Filters(entity=("invoice", "inv-1")): {one},
        Filters(since=now + timedelta(minutes=1)): set(),
        Filters(before=now + timedelta(minutes=1)): {one, two, three},
        Filters(tenant="t-other"): set(),
    }
    for filters, wanted in expected.items():
        with world.fleet.transaction(world.tenant) as connection:
            page = exceptions.page(connection, filters)
        assert {x.exception_id for x in page.exceptions} == wanted, filters


def test_one_is_shown_with_its_letters_and_its_own_history(world: World) -> None:
    """`show` has the words, the letters joined to it, and only its own part of the document's timeline."""
    failed = world.failed("inv-8")
    world.die(failed)
    world.report(id_="inv-8", type="accounting_sync_drift")
    (opened,) = world.exceptions(type="accounting_sync_export_error")
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.comment(connection, opened.exception_id, "asked the bookkeeper", "dana")
        shown = exceptions.show(connection, opened.exception_id)
    assert [letter.operation_id for letter in shown.letters] == [failed.operation_id]
    assert [entry.action for entry in shown.history] == ["exception_opened", "failed", "exception_comment"]
    assert shown.exception.operation_state == "failed"
    with pytest.raises(Refusal, match="no exception"), world.fleet.transaction(world.tenant) as connection:
        exceptions.show(connection, uuid4())


def test_letters_are_chosen_by_what_an_operator_knows(world: World) -> None:
    """Queue, the broker's reason or our code, kind of operation or short name of the event, age, ids."""
    world.die(world.failed("inv-1"))
    world.file(b"not json")
    body = world.emit()
    world.file(body, reason="expired")
    by_queue = world.letters(queue="intake")
    assert len(by_queue) == 2
    assert [one.code for one in world.letters(reason="bad_json")] == ["bad_json"]
    assert [one.type for one in world.letters(type="export_invoice")] == ["export_invoice"]
    assert [one.reason for one in world.letters(type="invoice.finalized.v1")] == ["expired"]
    assert len(world.letters(reason="rejected")) == 2
    assert world.letters(since=datetime.now(UTC) + timedelta(minutes=1)) == []
    assert len(world.letters(ids=[by_queue[0].letter_id])) == 1
    assert len(world.letters(tenant=world.tenant)) == 2
    with world.fleet.transaction("*") as connection:
        page = archive.page(connection, archive.Filters(queue="intake"), limit=1)
    assert (len(page.letters), page.counts["open"]) == (1, 2)
    with world.fleet.transaction("*") as connection:
        rest = archive.page(connection, archive.Filters(queue="intake"), after=page.after)
    assert [one.letter_id for one in (*page.letters, *rest.letters)] == [one.letter_id for one in by_queue]
