"""Books that agree: whatever an MSP does in a month, nothing is unexplained and both totals foot."""

from __future__ import annotations

import json
from datetime import date, timedelta

from sqlalchemy import text

from services.inbound import resolutions
from services.inbound.reconcile.period import Period
from services.outbound import csv_handover
from services.outbound.csv_files import Selection
from tests.support.exporting import TENANT, applied, credit_note, invoice, payment, voided
from tests.support.ledger import company
from tests.support.reconcile import ReconcileBench, keys


def test_empty_books_are_zero(books: ReconcileBench) -> None:
    """No documents: both receivables are 0, and nothing differs."""
    made = books.clean()
    assert (made.totals.ours, made.totals.quickbooks, made.counts["matched"]) == (0, 0, 0)


def test_invoices_credits_and_payments_match_to_the_cent(books: ReconcileBench) -> None:
    """Partial payments, one over several invoices, credit notes applied in part, overpayments: all matched."""
    for number in range(1, 5):
        books.invoice(f"inv-{number}", 10000 + number)
    books.say("credit_note.finalized", credit_note("cn-1", net=-4000))
    books.say("credit.applied", applied("app-1", "cn-1", "inv-1", 1500))
    books.pay("pay-1", 5000, {"inv-1": 5000})
    books.pay("pay-2", 12000, {"inv-2": 6000, "inv-3": 6000})
    books.pay("pay-3", 20000, {"inv-4": 10004}, reference="overpaid")
    made = books.clean()
    assert made.counts == {
        "matched": 9,
        "timing": 0,
        "open_exceptions": 0,
        "accepted": 0,
        "unapplied": 0,
        "outside_scope": 0,
        "fx": 0,
        "unexplained": 0,
    }
    assert made.totals.ours == made.totals.quickbooks == books.receivables() == 40010 - 4000 - 37000
    assert made.roll_forward["closing"].ours == made.totals.ours


def test_payments_told_by_quickbooks_match_and_their_rest_is_itemised(books: ReconcileBench) -> None:
    """Money received there: allocations match, what is on native invoices or on none is itemised, and it foots."""
    first, second = books.invoice("inv-1", 10000), books.invoice("inv-2", 5000)
    native = books.native(30.0)
    books.receive("60.00", {first: "60.00"})
    books.receive("100.00", {second: "50.00", native: "30.00"})
    books.poll()
    made = books.clean()
    assert made.totals.ours == 15000 - 6000 - 5000
    assert made.totals.quickbooks == books.receivables()
    assert made.totals.amounts["unapplied"] == -2000
    assert made.totals.amounts["outside_scope"] == 3000 - 3000
    assert (made.counts["unapplied"], made.counts["outside_scope"]) == (1, 2)


def test_credit_applied_in_quickbooks_matches(books: ReconcileBench) -> None:
    """A bookkeeper's application of our credit note, and one of a native credit memo, are known once they are told."""
    invoice = books.invoice("inv-1", 10000)
    books.say("credit_note.finalized", credit_note("cn-1", net=-4000))
    books.bookkeeper(
        "apply-credit", memo=books.external("credit_note", "cn-1"), invoice=invoice, amount="40.00"
    )
    books.poll()
    made = books.clean()
    assert made.counts["matched"] == 3
    assert made.totals.quickbooks == made.totals.ours == books.receivables() == 6000


def test_prepayments_are_unapplied_until_they_are_used(books: ReconcileBench) -> None:
    """A prepayment invoice is not exported, its money is; applied, nothing of it is left over."""
    books.bill("pre-1", net=7000, type="prepayment")
    books.settle()
    unpaid = books.clean()
    assert (unpaid.totals.ours, unpaid.totals.quickbooks) == (7000, 0)
    books.pay("pay-1", 7000, {"pre-1": 7000})
    paid = books.clean()
    assert (paid.totals.ours, paid.totals.quickbooks) == (0, -7000)
    assert paid.totals.amounts["unapplied"] == -7000
    books.invoice("inv-1", 10000)
    books.say("credit.applied", applied("app-1", "pre-1", "inv-1", 7000, source_kind="prepayment"))
    used = books.clean()
    assert used.totals.ours == used.totals.quickbooks == books.receivables() == 3000
    assert used.totals.amounts["unapplied"] == 0


def test_what_is_on_its_way_is_timing(books: ReconcileBench) -> None:
    """Not exported yet, or waiting for automatic sync: named, summed, and no alarm."""
    books.invoice("inv-1", 10000)
    books.set("auto_sync", False, "tenant")
    books.bill("inv-2", net=5000)
    books.settle()
    books.say("invoice.voided", voided("inv-1"), settle=False)
    made = books.clean()
    assert keys(made.listed("timing")) == ["invoice/inv-1", "invoice/inv-2"]
    assert (made.totals.ours, made.totals.quickbooks) == (5000, 10000)
    assert made.totals.amounts["timing"] == 5000
    assert "auto_sync" in made.listed("timing")[1].why or "waiting" in made.listed("timing")[1].why


def test_voids_on_both_sides_agree(books: ReconcileBench) -> None:
    """A voided invoice, a voided credit note and a payment that never was count for nothing in both books."""
    books.invoice("inv-1", 10000)
    books.invoice("inv-2", 10000)
    books.say("credit_note.finalized", credit_note("cn-1", net=-4000))
    books.pay("pay-1", 3000, {"inv-2": 3000})
    books.say("invoice.voided", voided("inv-1"))
    books.say("credit_note.voided", voided("cn-1"))
    books.say("payment.reversed", {"id": "pay-1", "date": "2026-11-03", "reason": "keyed_in_error"})
    books.bill("inv-3")
    books.say("invoice.voided", voided("inv-3"))
    made = books.clean()
    assert made.totals.ours == made.totals.quickbooks == 10000
    assert books.codes() == []


def test_open_and_accepted_exceptions_are_what_they_are(books: ReconcileBench) -> None:
    """Drift with an open exception, the same accepted, a failed export, and one given up: each in its class."""
    ids = [books.invoice(f"inv-{number}", 10000) for number in range(3)]
    books.bookkeeper("edit", entity="Invoice", id=ids[0], changes={"Line": [books.line(90)]})
    books.bookkeeper("delete", entity="Invoice", id=ids[1])
    books.bookkeeper("void", entity="Invoice", id=ids[2])
    books.bill("inv-9", client={"id": "cl-9", "name": "Nobody", "tax_exempt": True})
    books.poll()
    made = books.clean()
    assert keys(made.listed("open_exceptions")) == [f"invoice/inv-{one}" for one in (0, 1, 2, 9)]
    assert all(item.exception_id is not None for item in made.listed("open_exceptions"))
    assert made.totals.amounts["open_exceptions"] == -1000 - 10000 - 10000 - 13500
    with books.fleet.transaction(TENANT) as connection:
        for act, document in ((resolutions.accept, "inv-0"), (resolutions.mark_void, "inv-1")):
            act(connection, books.company_id, "invoice", document, actor="controller", reason="agreed")
    books.give_up("invoice", "inv-9", "billed by hand")
    made = books.clean()
    assert keys(made.listed("accepted")) == ["invoice/inv-0", "invoice/inv-1", "invoice/inv-9"]
    assert keys(made.listed("open_exceptions")) == ["invoice/inv-2"]


def test_a_change_on_top_of_a_known_one_is_unexplained(books: ReconcileBench) -> None:
    """An exception explains what it was opened for, and nothing that came after it."""
    first, second = books.invoice("inv-1", 10000), books.invoice("inv-2", 10000)
    books.bookkeeper("edit", entity="Invoice", id=first, changes={"Line": [books.line(90)]})
    books.poll()
    books.bookkeeper("edit", entity="Invoice", id=first, changes={"Line": [books.line(80)]})
    books.say("invoice.voided", voided("inv-2"), settle=False)
    books.bookkeeper("edit", entity="Invoice", id=second, changes={"Line": [books.line(70)]})
    made = books.statement()
    assert keys(made.listed("unexplained")) == ["invoice/inv-1", "invoice/inv-2"]


def test_what_is_quickbooks_own_is_itemised(books: ReconcileBench) -> None:
    """Native documents that the feed has passed, customers of nobody, journal entries: outside, and in the total."""
    books.native(120.0)
    books.native(30.0, customer="3")
    books.journal(45.0)
    books.advance(2)
    books.poll()
    made = books.clean()
    assert made.counts["outside_scope"] == 3
    assert made.totals.ours == 0
    assert made.totals.quickbooks == made.totals.amounts["outside_scope"] == books.receivables() == 19500
    kinds = sorted(item.kind for item in made.listed("outside_scope"))
    assert kinds == ["invoice", "invoice", "journal_entry"]


def test_history_before_the_cutover(books: ReconcileBench) -> None:
    """Linked history matches; what was left out at the cutover is outside, and no alarm."""
    old = books.native(100.0, TxnDate="2026-10-31", DocNumber="INV-1")
    books.advance(2)
    books.poll()
    books.known_before("inv-1", old, 10000)
    books.bill("inv-2", net=5000)
    books.settle()
    made = books.clean()
    assert keys(made.listed("outside_scope")) == ["invoice/inv-2"]
    assert made.totals.quickbooks == 10000


def test_history_that_was_paid_is_no_receivable(books: ReconcileBench) -> None:
    """Linked by the wizard and listed as paid: in both books it is worth nothing, with each side's reason."""
    old = books.native(100.0, TxnDate="2026-09-30", DocNumber="OLD-1")
    books.receive("100.00", {old: "100.00"})
    raw = books.object("Invoice", old)
    with books.fleet.transaction(TENANT) as connection:
        values = {
            "t": TENANT,
            "c": books.company_id,
            "id": old,
            "token": raw["SyncToken"],
            "raw": json.dumps(raw),
        }
        for statement in (
            """INSERT INTO onboarding_document (tenant_id, kind, document_id, number, document_date, total, currency,
                                                client_id, state)
               VALUES (:t, 'invoice', 'old-1', 'OLD-1', '2026-09-30', 10000, 'USD', 'cl-1', 'paid')""",
            "INSERT INTO document (tenant_id, kind, document_id) VALUES (:t, 'invoice', 'old-1')",
            "UPDATE change_feed SET begins_at = clock_timestamp() + interval '1 hour' WHERE company_id = :c",
            """INSERT INTO link (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token,
                                 linked_via, snapshot)
               VALUES (:t, :c, 'invoice', 'old-1', 'Invoice', :id, :token, 'onboarding', CAST(:raw AS jsonb))""",
        ):
            connection.execute(text(statement), values)
    made = books.clean()
    assert made.counts["matched"] == 1
    assert (made.totals.ours, made.totals.quickbooks) == (0, 0)
    assert sorted(item.why for item in made.listed("outside_scope")) == [
        "history that the PSA handed over as paid",
        "received before algasync was connected",
    ]


def test_a_draft_whose_tax_is_computed_leaves_nothing(books: ReconcileBench) -> None:
    """It stands in QuickBooks for a moment and is removed: neither book has it."""
    draft = invoice("inv-1", net=10000, tax_source="pending_external")
    books.say("invoice.tax_requested", {**draft, "client": {**draft["client"], "tax_exempt": False}})
    made = books.clean()
    assert (made.items, made.totals.quickbooks) == ([], 0)


def test_a_document_redated_for_closed_books_is_accepted(books: ReconcileBench) -> None:
    """Somebody decided for a date in the open period: known, itemised, not an alarm."""
    books.prefer("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    books.bill("inv-1", net=10000)
    books.settle()
    assert books.clean().counts["open_exceptions"] == 1
    books.decide(books.last("invoice", "inv-1"), "redate", book_on=date(2026, 11, 2))
    made = books.clean()
    assert keys(made.listed("accepted")) == ["invoice/inv-1"]
    assert made.totals.difference == 0


def test_a_void_that_is_offset_in_the_open_period_is_accepted(books: ReconcileBench) -> None:
    """Invoice and memo stand in their own periods and come to nothing; a change of either is an alarm."""
    books.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    books.invoice("inv-1", 10000)
    books.say("credit_note.finalized", credit_note("cn-1", net=-4000))
    books.bookkeeper("close-books", through="2026-10-31")
    books.prefer("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    books.say("invoice.voided", voided("inv-1", date="2026-11-06"))
    books.say("credit_note.voided", voided("cn-1", date="2026-11-06"))
    assert books.clean().counts["open_exceptions"] == 2
    for kind, document_id in (("invoice", "inv-1"), ("credit_note", "cn-1")):
        books.decide(books.last(kind, document_id), "offset")
    for _ in range(2):  # before the feed shows what we made, and after
        made = books.clean()
        assert sorted(keys(made.listed("accepted"))) == [
            "credit_note/cn-1",
            "credit_note/cn-1/offset",
            "invoice/inv-1",
            "invoice/inv-1/offset",
        ]
        assert (made.counts["matched"], made.totals.ours, made.totals.quickbooks) == (2, 0, 0)
        books.poll()
        assert (books.exceptions(), books.told("credit.applied_in_quickbooks")) == ([], [])
    link = books.link("invoice_offset", "inv-1")
    assert link is not None
    october = books.clean(Period.of("2026-10"))
    assert october.totals.difference == 10000 - 4000
    changes = {"Line": [books.line(101)]}
    books.bookkeeper("edit", entity="CreditMemo", id=link.external_id, changes=changes)
    changed = {item.target for item in books.statement().listed("unexplained")}
    assert {("CreditMemo", link.external_id), ("Invoice", books.external("invoice", "inv-1"))} <= changed


def test_by_hand_effects_follow_their_exceptions(books: ReconcileBench) -> None:
    """A write-off takes off the PSA's receivables at once; in QuickBooks somebody enters it, and says so."""
    books.invoice("inv-1", 10000)
    written = {"id": "inv-1", "amount": 10000, "date": "2026-11-20", "reason": "bankrupt"}
    books.say("invoice.written_off", {**written, "actor": {"type": "system"}})
    made = books.clean()
    assert (made.totals.ours, made.totals.quickbooks) == (0, 10000)
    assert made.totals.amounts["open_exceptions"] == 10000
    books.give_up("invoice", "inv-1", "entered memo 7")
    made = books.clean()
    assert made.totals.amounts["accepted"] == 10000


def test_a_write_off_that_we_enter_matches(books: ReconcileBench) -> None:
    """Where a company has an item for it: memo and application are known, and so is what becomes of them."""
    books.set("write_off_item", {"id": "1", "name": "Bad debts"})
    books.invoice("inv-1", 10000)
    written = {"id": "inv-1", "amount": 10000, "date": "2026-11-20", "reason": "bankrupt"}
    books.say("invoice.written_off", {**written, "actor": {"type": "system"}})
    made = books.clean()
    assert (made.counts["matched"], made.totals.ours, made.totals.quickbooks) == (3, 0, 0)
    (memo,) = books.objects("CreditMemo")
    books.bookkeeper("edit", entity="CreditMemo", id=memo["Id"], changes={"Line": [books.line(101)]})
    changed = books.statement()
    assert [item.target for item in changed.listed("unexplained")] == [("CreditMemo", memo["Id"])]


def test_a_further_write_off_matches_and_a_repeated_one_counts_once(books: ReconcileBench) -> None:
    """Each has its own memo; what billing only said again took nothing more off its receivables."""
    books.set("write_off_item", {"id": "1", "name": "Bad debts"})
    books.invoice("inv-1", 10000)
    for amount, day in ((6000, "2026-11-20"), (1000, "2026-11-25"), (1000, "2026-11-25")):
        written = {"id": "inv-1", "amount": amount, "date": day, "reason": "bankrupt"}
        books.say("invoice.written_off", {**written, "actor": {"type": "system"}})
    made = books.clean()
    assert (made.totals.ours, made.totals.quickbooks, made.counts["matched"]) == (3000, 3000, 5)


def test_a_period_cuts_both_books_at_the_same_day(books: ReconcileBench) -> None:
    """Receivables are those at the end of the last day; the roll-forward leads there from the first."""
    books.invoice("inv-1", 10000, invoice_date="2026-09-30")
    books.invoice("inv-2", 5000, invoice_date="2026-10-31")
    books.pay("pay-1", 4000, {"inv-1": 4000}, date="2026-10-15")
    books.invoice("inv-3", 2500, invoice_date="2026-11-01")
    made = books.clean(Period.of("2026-10"))
    assert (made.totals.ours, made.totals.quickbooks, made.counts["matched"]) == (11000, 11000, 3)
    roll = {name: one.quickbooks for name, one in made.roll_forward.items()}
    assert roll == {"opening": 10000, "invoices": 5000, "payments": -4000, "closing": 11000}
    assert books.clean(Period.between(None, date(2026, 9, 29))).totals.ours == 0
    later = made.period.ends + timedelta(days=1)
    assert books.clean(Period.between(later, later)).totals.ours == 13500


def test_documents_handed_over_as_csv(books: ReconcileBench) -> None:
    """Before the import they are on their way; imported they match by everything that identifies them."""
    books.set("auto_sync", False, "tenant")
    books.bill("inv-1", net=10000)
    books.bill("inv-2", net=5000)
    with books.fleet.transaction(TENANT) as connection:
        october = Selection(date(2026, 10, 1), date(2026, 10, 31))
        csv_handover.hand_over(connection, TENANT, october, actor="controller")
    assert keys(books.clean().listed("timing")) == ["invoice/inv-1", "invoice/inv-2"]
    books.native(100.0, TxnDate="2026-10-31", DocNumber="INV-1")
    made = books.clean()
    assert keys(made.listed("timing")) == ["invoice/inv-2"]
    (matched,) = made.listed("matched")
    assert (matched.key, matched.difference) == ("invoice/inv-1", 0)
    assert "not linked" in matched.why
    books.native(50.0, TxnDate="2026-10-31", DocNumber="INV-2", CustomerRef={"value": "3"})
    assert keys(books.clean().listed("timing")) == ["invoice/inv-2"]  # somebody else's invoice of that number


def test_a_billing_profile_is_a_sub_customer(books: ReconcileBench) -> None:
    """Documents of a profile that bills for itself are on its sub-customer; the parent's payment pays them."""
    body = {"DisplayName": "Cool Cars West", "Job": True, "ParentRef": {"value": "2"}, "BillWithParent": True}
    sub = books.bookkeeper("create", entity="Customer", body=body)["Id"]
    books.map("billing_profile", "west", sub)
    profile = {"id": "west", "name": "West", "bills_separately": True, "parent": "cl-1"}
    books.invoice("inv-1", 10000, billing_profile=profile)
    books.invoice("inv-2", 5000)
    books.pay("pay-1", 12000, {"inv-1": 8000, "inv-2": 4000})
    made = books.clean()
    assert (made.counts["matched"], made.totals.ours, made.totals.quickbooks) == (3, 3000, 3000)


def test_a_payment_entered_on_both_sides(books: ReconcileBench) -> None:
    """While a person is asked whether it is one payment, it is an open exception; linked it is one, and matches."""
    there = books.invoice("inv-1", 10000)
    paid = books.receive("60.00", {there: "60.00"})
    books.say("payment.recorded", payment("pay-1", ("inv-1", 6000), date="2026-11-02"), settle=False)
    books.poll()
    asked = books.clean()
    assert asked.totals.ours == asked.totals.quickbooks == 4000
    assert asked.counts["open_exceptions"] == 2
    books.decide(books.last_of("Payment", paid), "same:pay-1")
    linked = books.clean()
    assert (linked.counts["matched"], linked.counts["open_exceptions"]) == (2, 0)


def test_two_companies_have_a_statement_each(books: ReconcileBench) -> None:
    """What is in, or on its way to, another company is not on this one's statement."""
    with books.fleet.transaction(TENANT) as connection:
        company(connection, TENANT, default=False, realm="9341450000000099")
    books.invoice("inv-1", 10000)
    books.bill("inv-2", net=5000, target_company="9341450000000099")
    made = books.clean()
    assert [item.key for item in made.items] == ["invoice/inv-1"]
