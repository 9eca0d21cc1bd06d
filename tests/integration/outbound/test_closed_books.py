"""Closed books: nothing goes into a closed period before somebody decides how; open-period work goes on."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from services.outbound import closed_books, decisions
from services.refusals import Refusal
from tests.support.exporting import TENANT, Workbench, applied, credit_note, invoice, payment, voided


def close(workbench: Workbench, through: str = "2026-10-31") -> None:
    """The bookkeeper closes the books, and we have read it."""
    workbench.bookkeeper("close-books", through=through)
    workbench.know("AccountingInfoPrefs", BookCloseDate=through)


def reopen(workbench: Workbench) -> int:
    """The bookkeeper opens the books, we read the preferences, and the clock comes by."""
    workbench.bookkeeper("close-books", through=None)
    workbench.know("AccountingInfoPrefs", BookCloseDate=None)
    with workbench.fleet.transaction("*") as connection:
        connection.execute(text("UPDATE company SET facts_read_at = clock_timestamp()"))
        released = closed_books.reopen(connection)
    workbench.settle()
    return released


CREATED = [
    ("invoice.finalized", "invoice", invoice("d-1")),
    ("credit_note.finalized", "credit_note", credit_note("d-1")),
    ("payment.recorded", "payment", payment("d-1", amount=5000, date="2026-10-31")),
]


@pytest.mark.parametrize(("event", "kind", "data"), CREATED, ids=[kind for _, kind, _ in CREATED])
def test_a_date_in_the_closed_period_is_a_decision(
    workbench: Workbench, event: str, kind: str, data: dict[str, object]
) -> None:
    """Nothing is sent; booked under another day with a reason, which stands in note and timeline."""
    close(workbench)
    workbench.say(event, data)
    assert workbench.outcome(kind, "d-1") == ("failed", "books_closed")
    (exception,) = workbench.exceptions()
    assert [choice["choice"] for choice in exception.details["choices"]] == ["redate"]
    assert "2026-10-31" in exception.happened
    assert workbench.counters()["companies"] == {}
    workbench.decide(workbench.last(kind, "d-1"), "redate", book_on=date(2026, 11, 2))
    link = workbench.link(kind, "d-1")
    assert link is not None
    assert link.snapshot["TxnDate"] == "2026-11-02"
    assert "Dated 2026-10-31 in billing, books closed; controller: agreed" in link.snapshot["PrivateNote"]
    assert "decided" in workbench.timeline(kind, "d-1")
    assert workbench.exceptions() == []


def test_a_decision_names_an_open_day_a_reason_and_an_offered_choice(workbench: Workbench) -> None:
    """Refused by field, and nothing changes."""
    close(workbench)
    workbench.say("invoice.finalized", invoice("inv-1"))
    operation_id = workbench.last("invoice", "inv-1").operation_id
    for choice, reason, day, field in [
        ("redate", "agreed", date(2026, 10, 31), "date"),
        ("redate", "agreed", None, "date"),
        ("redate", "  ", date(2026, 11, 2), "reason"),
        ("overwrite", "agreed", None, "choice"),
    ]:
        with (
            workbench.fleet.transaction(TENANT) as connection,
            pytest.raises(Refusal) as refused,
        ):
            decisions.decide(connection, operation_id, choice, actor="c", reason=reason, book_on=day)
        assert refused.value.field == field
    assert workbench.outcome("invoice", "inv-1") == ("failed", "books_closed")


def test_what_waits_for_the_books_goes_by_itself_when_they_open(workbench: Workbench) -> None:
    """Nobody has to remember: the next reading of the preferences sets it going, and only then."""
    close(workbench)
    workbench.say("invoice.finalized", invoice("inv-1"))
    with workbench.fleet.transaction("*") as connection:
        assert closed_books.reopen(connection) == 0
    assert reopen(workbench) == 1
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.exceptions() == []


def test_books_closed_since_we_looked(workbench: Workbench) -> None:
    """QuickBooks says so: the same exception, and the preferences are read again soon."""
    workbench.bookkeeper("close-books", through="2026-10-31")
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE company SET facts_read_at = clock_timestamp()"))
    workbench.say("invoice.finalized", invoice("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "books_closed")
    with workbench.fleet.transaction(TENANT) as connection:
        assert connection.execute(text("SELECT facts_read_at FROM company")).scalar_one() is None
    workbench.decide(workbench.last("invoice", "inv-1"), "redate", book_on=date(2026, 11, 2))
    assert workbench.objects()[0]["TxnDate"] == "2026-11-02"


def test_an_open_period_payment_on_a_closed_period_invoice_goes_through(workbench: Workbench) -> None:
    """Money that came in November pays October's invoice."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    close(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    assert workbench.objects()[0]["Balance"] == 0.0


def test_edits_voids_and_un_applying_stop_at_closed_books(workbench: Workbench) -> None:
    """What stands in the closed period is not touched: voids offer what offsets them, all others a dated recipe."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.finalized", invoice("inv-2"))
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    workbench.say("credit_note.finalized", credit_note("cn-2"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-2", 13500), date="2026-10-31"))
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 1000, date="2026-10-31"))
    before = [workbench.objects(entity) for entity in ("Invoice", "CreditMemo", "Payment")]
    close(workbench)
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-24"))
    workbench.say("invoice.voided", voided("inv-2"))
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 1000))
    workbench.say("credit_note.voided", voided("cn-2"))
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-06", "reason": "keyed_in_error"})
    codes = {(row.entity_id, row.code) for row in workbench.exceptions()}
    assert {("inv-1", "books_closed"), ("inv-2", "books_closed"), ("cn-2", "books_closed")} <= codes
    assert {("app-1", "books_closed"), ("pay-1", "books_closed")} <= codes
    offered = {
        row.entity_id: [one["choice"] for one in row.details["choices"]] for row in workbench.exceptions()
    }
    assert offered == {"inv-1": [], "inv-2": ["offset"], "cn-2": ["offset"], "app-1": [], "pay-1": []}
    fixes = {row.entity_id: row.fix for row in workbench.exceptions()}
    assert "journal entry dated 2026-11-01 that debits Accounts Receivable" in fixes["pay-1"]
    assert "Leave it applied" in fixes["app-1"]
    assert "no amount has changed" in fixes["inv-1"]
    assert [workbench.objects(entity) for entity in ("Invoice", "CreditMemo", "Payment")] == before
    reopen(workbench)
    assert workbench.exceptions() == []
    assert workbench.object("Invoice", before[0][1]["Id"])["TotalAmt"] == 0.0


def test_a_correction_keeps_the_date_that_was_decided(workbench: Workbench) -> None:
    """Re-dated once, it is not moved back into the closed period by the next change of something else."""
    close(workbench)
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.decide(workbench.last("invoice", "inv-1"), "redate", book_on=date(2026, 11, 2))
    workbench.say("invoice.corrected", invoice("inv-1", due_date="2026-12-24"))
    (there,) = workbench.objects()
    assert (there["TxnDate"], there["DueDate"]) == ("2026-11-02", "2026-12-24")
    assert "agreed" in there["PrivateNote"]
