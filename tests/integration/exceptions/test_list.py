"""The exception list and the letters' list: filters, pages, counts that agree, one in full."""

from __future__ import annotations

import csv
import io
import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.exceptions import archive, exceptions, export, lifecycle
from services.exceptions.exceptions import Filters, Sort, SyncException
from services.exceptions.versions import Side
from services.ledger import links
from services.ledger.links import Link
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
        Filters(search="INV-2"),
        Filters(amount_from=13_500, amount_to=13_500),
        Filters(code="missing_item_mapping", assignee="dana"),
    ):
        with world.fleet.transaction(world.tenant) as connection:
            page = exceptions.page(connection, filters, limit=1)
            everything = exceptions.page(connection, replace(filters, states=()))
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
    with world.fleet.transaction(world.tenant) as connection:
        lifecycle.assign(connection, one, "dana", "dana")
    credit = world.report(kind="credit_note", id_="cn-1", amount=-700, code="x", title="50%_off \\ credit")
    now = datetime.now(UTC)
    expected = {
        Filters(assignee="dana"): {one},
        Filters(code="x"): {credit},
        Filters(amount_from=600, amount_to=700): {credit},
        Filters(amount_from=13_500): {one, two, three},
        Filters(amount_to=699): set(),
        Filters(search="PAY-1"): {two},
        Filters(search="%_off \\"): {credit},
        Filters(search="50__off"): set(),
        Filters(type="accounting_sync_unmapped_payment"): {two},
        Filters(cause="payment:x"): {two},
        Filters(company_id=world.company_id): {three},
        Filters(client_id="cl-2"): {two},
        Filters(direction="inbound"): set(),
        Filters(entity=("invoice", "inv-1")): {one},
        Filters(since=now + timedelta(minutes=1)): set(),
        Filters(before=now + timedelta(minutes=1)): {one, two, three, credit},
        Filters(tenant="t-other"): set(),
    }
    for filters, wanted in expected.items():
        with world.fleet.transaction(world.tenant) as connection:
            page = exceptions.page(connection, filters)
        assert {x.exception_id for x in page.exceptions} == wanted, filters


@pytest.mark.parametrize("sort", ["newest", "oldest", "seen", "amount"])
def test_every_order_goes_through_the_list_once(world: World, sort: Sort) -> None:
    """Pages of any order show every exception exactly once, in that order, equal values and missing ones too."""
    for number, amount in enumerate((100, None, -300, 100, 250)):
        world.report(id_=f"inv-{number}", amount=amount)
    world.report(id_="inv-1", amount=None)  # seen again
    with world.fleet.transaction(world.tenant) as connection:
        whole = exceptions.page(connection, sort=sort).exceptions
        seen, page = list[SyncException](), exceptions.page(connection, sort=sort, limit=2)
        seen += page.exceptions
        while page.after is not None:
            page = exceptions.page(connection, sort=sort, limit=2, after=page.after)
            seen += page.exceptions
    assert seen == whole
    keys = {
        "newest": lambda one: -one.created_at.timestamp(),
        "oldest": lambda one: one.created_at.timestamp(),
        "seen": lambda one: -one.last_seen_at.timestamp(),
        "amount": lambda one: -(-1 if one.amount is None else abs(one.amount)),
    }
    assert seen == sorted(seen, key=keys[sort])
    assert len({one.exception_id for one in seen}) == 5


def test_every_question_finds_its_rows_by_an_index(world: World) -> None:
    """No order and no filter has to read the whole table, however many other tenants' exceptions it holds."""
    world.report(id_="inv-1")
    scans = text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'exception'")
    with world.fleet.transaction(world.tenant) as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        before = connection.execute(scans).scalar()
        for sort in typing.get_args(Sort):
            exceptions.page(connection, Filters(tenant=world.tenant), sort=sort)
        for filters in (
            Filters(tenant=world.tenant, cause="x"),
            Filters(tenant=world.tenant, client_id="x"),
            Filters(tenant=world.tenant, search="x"),
            Filters(tenant=world.tenant, states=(), amount_from=1),
        ):
            exceptions.page(connection, filters)
        assert connection.execute(scans).scalar() == before


def test_search_finds_numbers_and_clients_of_documents(world: World) -> None:
    """What a person knows of a document finds its exception: the number, the client's name."""
    world.report(id_="inv-1")
    wanted = world.report(id_="inv-2")
    world.rows(
        """INSERT INTO document (tenant_id, kind, document_id, number, client_name)
           VALUES (:tenant, 'invoice', 'inv-2', 'A-1042', 'Café Zoë') RETURNING 1""",
        tenant=world.tenant,
    )
    assert [one.exception_id for one in world.exceptions(search="a-104")] == [wanted]
    assert [one.exception_id for one in world.exceptions(search="café")] == [wanted]


def test_the_csv_has_what_the_list_has(world: World) -> None:
    """The same filters give the same rows, amounts in their currency's decimals, and no cell runs as a formula."""
    world.report(id_="inv-1", title="=HYPERLINK(1)", amount=-13_500)
    world.report(id_="inv-2", client_id="cl-2")
    with world.fleet.transaction(world.tenant) as connection:
        text = export.csv(connection, Filters(client_id="cl-1"))
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["id"], row["title"], row["amount"]) == ("inv-1", "'=HYPERLINK(1)", "-135.00")


def test_both_versions_stand_side_by_side(world: World) -> None:
    """What billing has and what QuickBooks has, with every difference that was seen, and where to look."""
    failed = world.failed("inv-8", details={"place": "items"}, code="quickbooks_610")
    with world.fleet.transaction(world.tenant) as connection:
        values = {"tenant": world.tenant, "company": world.company_id}
        connection.execute(
            text(
                """INSERT INTO document (tenant_id, kind, document_id, number, client_name, currency, total,
                                         document_date, state, data)
                   VALUES (:tenant, 'invoice', 'inv-8', 'INV-8', 'Cool Cars', 'USD', 13500, '2026-08-01', 'finalized',
                           '{"due_date": "2026-08-31", "tax": 500}')
                   ON CONFLICT (tenant_id, kind, document_id) DO UPDATE SET number = excluded.number,
                       client_name = excluded.client_name, currency = 'USD', total = 13500, data = excluded.data,
                       document_date = excluded.document_date"""
            ),
            values,
        )
        links.put(
            connection,
            Link(
                world.tenant,
                world.company_id,
                "invoice",
                "inv-8",
                "Invoice",
                "77",
                "1",
                "INV-8",
                Decimal("130.00"),
                "USD",
                "synced",
                {"DocNumber": "INV-8", "TotalAmt": Decimal(130), "TxnTaxDetail": {"TotalTax": Decimal(5)}},
            ),
        )
        [one] = exceptions.page(connection).exceptions
        shown = exceptions.show(connection, one.exception_id)
    sides = {side.field: (side.billing, side.quickbooks, side.differs) for side in shown.versions}
    assert sides["number"] == ("INV-8", "INV-8", False)
    assert sides["total"] == ("135.00", "130.00", True)
    assert sides["tax"] == ("5.00", "5.00", False)
    assert sides["due date"] == ("2026-08-31", None, None)
    assert failed.operation_id == shown.exception.operation_id
    assert [link.rel for link in shown.links] == ["document", "place", "help", "psa"]
    assert shown.links[0].url.endswith("/app/invoice?txnId=77")
    assert shown.links[1].url.endswith("/app/items")


def test_what_was_seen_to_differ_stands_beside_what_was_agreed(world: World) -> None:
    """Of a drift, QuickBooks' side is what was seen there, line by line, with whose value counts."""
    differences = [{"field": "line 1 amount", "billing": "10", "quickbooks": "12", "owner": "billing"}]
    world.rows(
        """INSERT INTO document (tenant_id, kind, document_id, number)
           VALUES (:tenant, 'invoice', 'inv-9', 'INV-9') RETURNING 1""",
        tenant=world.tenant,
    )
    drifted = world.report(
        id_="inv-9",
        type="accounting_sync_drift",
        details={"differences": differences, "url": "https://x.example/1"},
    )
    with world.fleet.transaction(world.tenant) as connection:
        shown = exceptions.show(connection, drifted)
    assert Side("line 1 amount", "10", "12", True, "billing") in shown.versions
    assert shown.links[0].url == "https://x.example/1"


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
