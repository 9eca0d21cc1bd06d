"""How a statement is made: what it costs, how it is kept, and what happens while the books move."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from sqlalchemy import text

from services.exceptions import notices
from services.inbound.reconcile import cost, run, store, telling
from services.quickbooks.call import Call
from services.quickbooks.errors import QuickBooksError
from services.quickbooks.reply import Reply
from tests.support.exporting import TENANT, applied, credit_note
from tests.support.reconcile import ALL, ReconcileBench, keys


def test_it_costs_what_was_said_and_what_the_sandbox_counts(books: ReconcileBench) -> None:
    """Pages of ten: the estimate, what the statement says it spent, and Intuit's own count are one number."""
    for number in range(12):
        books.bill(f"inv-{number}")
    books.settle()
    books.journal(5.0)
    before = books.reads
    made = books.statement(size=10)
    spent = books.reads - before
    invoices, others, accounts, counting = 2, 4, 1, 5
    assert made.reads == spent == invoices + others + accounts + counting
    assert made.estimated_reads == 5 + 1 + 5  # of full pages: a thousand rows are one
    with books.fleet.transaction(TENANT) as connection:
        known = cost.known(connection, books.company_id)
    assert known is not None
    assert (known.counts["Invoice"], known.reads, known.counting) == (12, 6, 0)


def test_what_is_unexplained_is_looked_at_twice(books: ReconcileBench) -> None:
    """One read more for up to a hundred of them, and only then."""
    for number in range(3):
        books.invoice(f"inv-{number}")
    clean = books.statement()
    books.bookkeeper("delete", entity="Invoice", id=books.external("invoice", "inv-1"))
    books.native(70.0)
    before = books.reads
    found = books.statement()
    assert found.unexplained == 2
    assert found.reads == books.reads - before == clean.reads + 1


def test_books_that_move_while_they_are_read_raise_no_alarm(books: ReconcileBench) -> None:
    """An export, a payment and a correction that land between two pages are no difference."""
    books.invoice("inv-1", 10000)
    books.bill("inv-2", net=5000)  # its export has not run yet
    moved: list[str] = []

    def look(call: Call) -> Reply:
        reply = books.clients.look(books.company_id, call)
        if call.operation == "query" and call.entity not in moved:
            moved.append(call.entity)
            if call.entity == "Invoice":
                books.settle()
                books.say("credit_note.finalized", credit_note("cn-1", net=-4000))
            elif call.entity == "CreditMemo":
                books.say("credit.applied", applied("app-1", "cn-1", "inv-1", 1500))
            elif call.entity == "Payment":
                books.pay("pay-1", 2500, {"inv-2": 2500})
        return reply

    expected = cost.ask(lambda call: books.clients.look(books.company_id, call))
    made = run.make(books.fleet, look, books.company, ALL, expected, actor="controller")
    assert [f"{item.key}: {item.why}" for item in made.listed("unexplained")] == []
    books.foots(made)
    assert made.totals.ours == made.totals.quickbooks - made.totals.difference


def test_a_page_that_comes_late_is_asked_for_again(
    books: ReconcileBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy QuickBooks costs a statement time and nothing else."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    books.invoice("inv-1", 10000)
    books.trouble("throttle", operation="query", times=3)
    made = books.clean()
    assert made.counts["matched"] == 1


def test_a_failure_is_kept_with_its_reason(books: ReconcileBench) -> None:
    """QuickBooks refuses: no half of a statement is kept, and the row says why."""
    books.trouble("fault", operation="query", status=400, code="6190", skip=5)  # after counting
    with pytest.raises(QuickBooksError):
        books.statement()
    with books.fleet.transaction(TENANT) as connection:
        (kept,) = store.page(connection, TENANT)
        assert store.items(connection, kept.statement_id) == []
    assert (kept.state, kept.result) == ("failed", None)
    assert "6190" in str(kept.reason)


def test_who_died_over_a_statement_left_it_interrupted(books: ReconcileBench) -> None:
    """A statement that nobody works on any more is not running for ever."""
    known = cost.ask(lambda call: books.clients.look(books.company_id, call))
    with books.fleet.transaction(TENANT) as connection:
        statement_id = store.start(connection, books.company, ALL, known, "controller")
        assert store.get(connection, statement_id).state == "running"
        connection.execute(
            text("UPDATE reconciliation SET alive_at = alive_at - CAST(:ago AS interval)"),
            {"ago": store.SILENT + timedelta(seconds=1)},
        )
        assert store.get(connection, statement_id).state == "interrupted"


def test_what_is_not_zero_is_told_once(books: ReconcileBench) -> None:
    """One notice a statement, with its exception; a statement that is zero tells nobody anything."""
    books.clean()
    books.native(70.0)
    books.statement()
    with books.fleet.transaction("*") as connection:
        assert (telling.tell(connection), telling.tell(connection)) == (1, 0)
    with books.fleet.transaction(TENANT) as connection:
        (notice,) = notices.page(connection, TENANT, kind="reconciliation").notices
    assert notice.title == "Billing and QuickBooks do not agree"
    assert "1 difference is unexplained, 70.00 USD together" in notice.message
    (open_,) = books.exceptions()
    assert books.one("SELECT exception_id FROM notice_exception") == open_.exception_id


def test_statements_are_kept_seven_years(books: ReconcileBench) -> None:
    """With their items; after that they go, a batch at a time."""
    books.native(70.0)
    books.statement()
    books.clean(period=type(ALL)(None, date(2026, 1, 1)))
    with books.fleet.transaction("*") as connection:
        assert store.forget(connection) == 0
        old = "UPDATE reconciliation SET started_at = started_at - CAST(:ago AS interval)"
        connection.execute(text(old), {"ago": store.KEEP})
        assert store.forget(connection) == 2
    assert books.rows("SELECT FROM reconciliation_item") == []


def test_a_customer_linked_anew_does_not_alarm(books: ReconcileBench) -> None:
    """What was exported to the customer before stays there, and is known to."""
    books.invoice("inv-1", 10000)
    with books.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                """UPDATE mapping SET external_id = '3', updated_at = clock_timestamp()
                    WHERE kind = 'customer' AND key = 'cl-1'"""
            )
        )
    made = books.clean()
    assert keys(made.listed("accepted")) == ["invoice/inv-1"]
