"""History: what agrees in number, total, customer and date is linked and never exported; the rest is asked."""

from __future__ import annotations

import datetime

import pytest

from services.ledger import waits
from services.onboarding import history, reading, runs
from services.onboarding.runs import Run
from services.outbound import csv_handover
from services.outbound.csv_files import Selection
from services.refusals import Refusal
from tests.integration.onboarding.conftest import ACTOR, Wizard
from tests.support.exporting import TENANT, invoice, payment
from tests.support.ledger import setting


def link_all(wizard: Wizard, run: Run) -> int:
    """Link what is confident."""
    return history.link_confident(wizard.bench.fleet, run, actor=ACTOR)


def test_every_state_of_invoice_and_credit_notes_are_linked_without_export(wizard: Wizard) -> None:
    """Sent, paid, overdue, half-paid, voided invoices and credit notes are linked; drafts are no history."""
    states = ("sent", "paid", "overdue", "partially_applied", "cancelled")
    ids = wizard.enter("Invoice", *(wizard.form("2", f"H-{n}", "135.00") for n in range(5)))
    memo = wizard.enter("CreditMemo", wizard.form("2", "CN-1", "80.00"))[0]
    wizard.keeper("void", entity="Invoice", id=ids[4])
    documents = [wizard.document(f"d{n}", f"H-{n}", 13500, "cl-1", state=s) for n, s in enumerate(states)]
    documents.append(wizard.document("cn", "CN-1", -8000, "cl-1", kind="credit_note"))
    documents.append(wizard.document("draft", "H-0", 13500, "cl-1", state="draft"))
    wizard.hand_over([], documents)
    run = wizard.start()
    found = wizard.history(run)
    assert {id_: match.status for id_, match in found.items()} == {
        **{f"d{n}": "confident" for n in range(5)},
        "cn": "confident",
        "draft": "none",
    }
    assert link_all(wizard, run) == 6
    linked = wizard.bench.link("invoice", "d0")
    assert linked is not None
    assert (linked.external_id, linked.linked_via, linked.snapshot["Id"]) == (ids[0], "onboarding", ids[0])
    voided, credit = wizard.bench.link("invoice", "d4"), wizard.bench.link("credit_note", "cn")
    assert voided is not None
    assert credit is not None
    assert voided.state == "voided"
    assert (credit.external_type, credit.external_id) == ("CreditMemo", memo)
    assert wizard.bench.timeline("invoice", "d0") == ["linked"]
    assert link_all(wizard, run) == 0
    assert wizard.writes() == []


def test_every_doubt_is_a_review_with_its_reason(wizard: Wizard) -> None:
    """Number collision, other total, customer, date, number or void: never linked in bulk, each by its name."""
    ids = wizard.enter(
        "Invoice",
        wizard.form("2", "R-1", "10.00"),
        wizard.form("2", "R-2", "10.00"),
        wizard.form("3", "R-3", "10.00"),
        wizard.form("2", "R-4", "10.00", day="2025-04-01"),
        wizard.form("2", "r 5", "10.00"),
        wizard.form("2", "R-6", "10.00"),
        wizard.form("2", "R-7", "10.00"),
    )
    wizard.keeper("void", entity="Invoice", id=ids[5])
    wizard.hand_over(
        [],
        [
            wizard.document("total", "R-1", 1001, "cl-1"),
            wizard.document("twin1", "R-2", 1000, "cl-1"),
            wizard.document("twin2", "R-2", 1000, "cl-1"),
            wizard.document("customer", "R-3", 1000, "cl-1"),
            wizard.document("date", "R-4", 1000, "cl-1"),
            wizard.document("number", "R-5", 1000, "cl-1"),
            wizard.document("void", "R-6", 1000, "cl-1"),
            wizard.document("unlinked", "R-7", 1000, "cl-9"),
            wizard.document("none", "X-1", 777, "cl-1"),
        ],
    )
    run = wizard.start()
    found = wizard.history(run)
    reasons = {id_: match.found[0].reasons if match.found else () for id_, match in found.items()}
    assert reasons == {
        "total": ("total_mismatch",),
        "twin1": ("number_collision",),
        "twin2": ("number_collision",),
        "customer": ("customer_mismatch",),
        "date": ("date_mismatch",),
        "number": ("number_differs",),
        "void": ("voided_in_quickbooks",),
        "unlinked": ("customer_not_linked",),
        "none": (),
    }
    assert link_all(wizard, run) == 0
    with wizard.bench.fleet.transaction(TENANT) as connection:
        history.link(connection, run, "invoice", "twin1", ids[1], actor=ACTOR)
    with pytest.raises(Refusal, match="linked already"), wizard.bench.fleet.transaction(TENANT) as connection:
        history.link(connection, run, "invoice", "twin2", ids[1], actor=ACTOR)
    assert wizard.bench.link("invoice", "twin2") is None


def test_a_document_that_waits_for_export_is_linked_instead(wizard: Wizard) -> None:
    """An invoice the ledger knows and QuickBooks has already is linked, and its export ends as skipped."""
    with wizard.bench.fleet.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", False)
    wizard.bench.bill("led", number="L-1", invoice_date="2026-10-31")
    there = wizard.enter("Invoice", wizard.form("2", "L-1", "135.00", day="2026-10-31"))
    run = wizard.start()
    assert wizard.history(run)["led"].status == "confident"
    assert link_all(wizard, run) == 1
    assert wizard.bench.outcome("invoice", "led") == ("skipped", "linked")
    with wizard.bench.fleet.transaction(TENANT) as connection:
        setting(connection, TENANT, "auto_sync", True)
    wizard.bench.settle()
    assert [one["Id"] for one in wizard.bench.objects() if one.get("DocNumber") == "L-1"] == there


def test_an_export_of_unknown_outcome_is_left_to_find_out(wizard: Wizard) -> None:
    """A document whose export may have arrived is not linked behind the exporter's back: it finds its own."""
    wizard.bench.trouble("cut_after", entity="Invoice", operation="create", times=1)
    wizard.bench.bill("fly", number="F-1")
    operation = wizard.bench.last("invoice", "fly")
    wizard.bench.settle(rounds=1)
    assert wizard.bench.last("invoice", "fly").outcome == "unknown", operation
    run = wizard.start()
    assert wizard.history(run)["fly"].status == "confident"
    assert link_all(wizard, run) == 0
    wizard.bench.settle()
    linked = wizard.bench.link("invoice", "fly")
    assert linked is not None
    assert linked.linked_via == "export"
    assert len([one for one in wizard.bench.objects() if one.get("DocNumber") == "F-1"]) == 1


def test_reading_goes_on_behind_the_last_page_kept(wizard: Wizard) -> None:
    """A reading that dies between pages asks for nothing twice but the row by which pages overlap."""
    wizard.enter("Invoice", *(wizard.form("2", f"P-{n}", "1.00") for n in range(25)))
    expected = len(wizard.bench.objects("Invoice"))
    with wizard.bench.fleet.transaction(TENANT) as connection:
        run = runs.start(connection, TENANT, wizard.bench.company_id, ACTOR)
    heard = 0

    class Died(Exception):
        """The process is gone."""

    def dies(_: runs.Reading) -> None:
        nonlocal heard
        heard += 1
        if heard == 2:
            raise Died

    with pytest.raises(Died):
        reading.read(wizard.bench.fleet, wizard.bench.clients, run, ["Invoice"], progress=dies, size=10)
    before = wizard.bench.reads
    with wizard.bench.fleet.transaction(TENANT) as connection:
        assert runs.start(connection, TENANT, wizard.bench.company_id, "somebody else") == run
    reading.read(wizard.bench.fleet, wizard.bench.clients, run, ["Invoice"], size=10)
    with wizard.bench.fleet.transaction(TENANT) as connection:
        done = runs.readings(connection, run.run_id)["Invoice"]
        forms = reading.sales_forms(connection, run.run_id)
    assert (done.taken, len(forms), done.done) == (expected, expected, True)
    assert wizard.bench.reads - before == done.pages - 2
    reading.read(wizard.bench.fleet, wizard.bench.clients, run, ["Invoice"], size=10)
    assert wizard.bench.reads - before == done.pages - 2


def test_what_failed_for_an_unlinked_document_goes_on_once_it_is_linked(wizard: Wizard) -> None:
    """A payment on an invoice from before the cutover rests with a person; the link lets it go out by itself."""
    bench = wizard.bench
    bench.set("cutover_date", "2026-11-01", "tenant")
    (there,) = wizard.enter("Invoice", wizard.form("2", "OLD-1", "135.00", "2026-10-31"))
    bench.say("invoice.finalized", invoice("old-1", number="OLD-1"))
    bench.say("payment.recorded", payment("pay-old", ("old-1", 13500)))
    assert bench.outcome("payment", "pay-old") == ("failed", "unlinked_before_cutover")
    run = wizard.start()
    assert link_all(wizard, run) == 1
    bench.settle()
    assert bench.outcome("payment", "pay-old")[0] == "succeeded"
    (paid,) = bench.objects("Payment")
    assert paid["Line"][0]["LinkedTxn"][0]["TxnId"] == there
    assert bench.exceptions() == []


def test_what_went_over_by_csv_is_found_and_never_exported(wizard: Wizard) -> None:
    """Handed over as a file, imported by hand, linked by number, total, customer and date: one copy in the books."""
    bench = wizard.bench
    bench.set("auto_sync", False, "tenant")
    bench.say("invoice.finalized", invoice("csv-1", number="CSV-1"))
    october = Selection(datetime.date(2026, 10, 1), datetime.date(2026, 10, 31))
    with bench.fleet.transaction(TENANT) as connection:
        csv_handover.hand_over(connection, TENANT, october, actor=ACTOR)
    bench.set("auto_sync", True, "tenant")
    with bench.fleet.transaction(TENANT) as connection:
        waits.release(connection, TENANT, "auto_sync", "tenant")
    bench.settle()
    assert bench.outcome("invoice", "csv-1")[0] == "waiting"
    wizard.enter("Invoice", wizard.form("2", "CSV-1", "135.00", "2026-10-31"))
    run = wizard.start()
    assert wizard.history(run)["csv-1"].status == "confident"
    assert link_all(wizard, run) == 1
    bench.settle()
    assert bench.outcome("invoice", "csv-1") == ("skipped", "linked")
    assert len([one for one in bench.objects() if one.get("DocNumber") == "CSV-1"]) == 1
