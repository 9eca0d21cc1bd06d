"""Voids: never over money, credit of ours taken off first, nothing to void before an export, done once."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.support.exporting import TENANT, Workbench, applied, credit_note, invoice, payment, shares, voided


def exported(workbench: Workbench) -> str:
    """An invoice of 135.00 in QuickBooks; its id there."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    return link.external_id


def test_an_unpaid_invoice_is_voided(workbench: Workbench) -> None:
    """Amounts at zero, link void, billing told; nothing is read."""
    invoice_id = exported(workbench)
    workbench.say("invoice.voided", voided("inv-1"))
    there = workbench.object("Invoice", invoice_id)
    assert (there["TotalAmt"], there["PrivateNote"][:6]) == (0.0, "Voided")
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.state == "voided"
    assert workbench.told("document.synced")[-1]["action"] == "voided"
    assert workbench.reads == 0


def test_a_void_reply_with_old_amounts_is_a_void(workbench: Workbench) -> None:
    """QuickBooks may answer with the amounts as they were."""
    exported(workbench)
    workbench.switch(void_reply_shows_old_amounts=True)
    workbench.say("invoice.voided", voided("inv-1"))
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.state == "voided"


def test_a_void_before_the_export_cancels_it(workbench: Workbench) -> None:
    """Voided while it waited: never exported, and both steps say why."""
    lines = invoice("inv-1")["lines"]
    lines[0]["service_id"] = "svc-unmapped"
    workbench.say("invoice.finalized", invoice("inv-1", lines=lines))
    assert workbench.codes() == ["missing_service_mapping"]
    workbench.say("invoice.voided", voided("inv-1"))
    assert [(one.state, one.reason_code) for one in workbench.operations("inv-1")] == [
        ("skipped", "superseded"),
        ("skipped", "never_exported"),
    ]
    assert workbench.objects() == []
    assert workbench.exceptions() == []


def test_a_void_follows_even_when_automatic_sync_is_off(workbench: Workbench) -> None:
    """The books must follow; new documents wait."""
    exported(workbench)
    workbench.set("auto_sync", False, "tenant")
    workbench.say("invoice.finalized", invoice("inv-2"))
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.last("invoice", "inv-2").state == "waiting"


def test_a_void_over_a_bookkeepers_payment_is_an_exception_that_lists_it(workbench: Workbench) -> None:
    """QuickBooks would leave the money unapplied without a word: nothing is voided."""
    invoice_id = exported(workbench)
    workbench.bookkeeper(
        "receive-payment", customer="2", amount=100, invoices={invoice_id: 100}, date="2026-11-05"
    )
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "money_on_invoice")
    assert "a payment of 100.00 on 2026-11-05" in workbench.exceptions()[0].happened
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 135.0


def test_a_void_over_our_payment_waits_for_its_reversal(workbench: Workbench) -> None:
    """Whichever comes first: the void fails by name, and goes by itself once the payment is reversed."""
    invoice_id = exported(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "money_on_invoice")
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-06", "reason": "keyed_in_error"})
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 0.0
    assert workbench.exceptions() == []


def test_a_reversal_in_motion_is_waited_for(workbench: Workbench) -> None:
    """Reversed and voided in one breath: no exception in between."""
    invoice_id = exported(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    reversal = {"id": "pay-1", "date": "2026-11-06", "reason": "keyed_in_error"}
    workbench.say("payment.reversed", reversal, settle=False)
    workbench.say("invoice.voided", voided("inv-1"), settle=False)
    workbench.run(workbench.last("invoice", "inv-1"))
    assert workbench.last("invoice", "inv-1").state == "waiting"
    workbench.settle()
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 0.0
    assert workbench.exceptions("resolved") == []


def with_credit(workbench: Workbench) -> tuple[str, str]:
    """An invoice with two applications of one credit memo on it; ids in QuickBooks."""
    invoice_id = exported(workbench)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    for number in ("1", "2"):
        workbench.say("credit.applied", applied(f"app-{number}", "cn-1", "inv-1", 3000))
    memo = workbench.link("credit_note", "cn-1")
    assert memo is not None
    return invoice_id, memo.external_id


def test_our_credit_is_taken_off_first(workbench: Workbench) -> None:
    """Each application is deleted, then the invoice is voided, and the memo is whole again."""
    invoice_id, memo_id = with_credit(workbench)
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.objects("Payment") == []
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 0.0
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 80.0
    states = [workbench.link("credit_application", f"app-{number}") for number in ("1", "2")]
    assert [link.state for link in states if link] == ["deleted", "deleted"]
    assert workbench.timeline("invoice", "inv-1").count("step_done") == 2
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 3000))
    assert workbench.outcome("credit_application", "app-1") == ("skipped", "not_applied")


@pytest.mark.parametrize("skip", [0, 1, 2, 3])
def test_lost_answers_at_every_step_of_a_void(workbench: Workbench, skip: int) -> None:
    """Two deletions and the void: whichever answer is lost, each is done once."""
    invoice_id, memo_id = with_credit(workbench)
    workbench.trouble("cut_after", method="POST", skip=skip, times=1)
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.objects("Payment") == []
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 0.0
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 80.0


def test_a_void_that_has_begun_is_not_superseded(workbench: Workbench) -> None:
    """A credit is off and the void is refused: a later void waits for it, and what was done is not forgotten."""
    with_credit(workbench)
    workbench.trouble("fault", entity="invoice", operation="void", code="6000", fault_type="ValidationFault")
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.last("invoice", "inv-1").state == "failed"
    assert workbench.objects("Payment") == []
    workbench.say("invoice.voided", voided("inv-1", reason="again"))
    states = [one.state for one in workbench.operations("inv-1")]
    assert states == ["succeeded", "failed", "waiting"]
    workbench.no_more_troubles()
    workbench.replay(workbench.operations("inv-1")[1])
    assert [one.state for one in workbench.operations("inv-1")] == ["succeeded", "succeeded", "skipped"]


def test_credit_of_a_prepayment_is_taken_off_its_payment(workbench: Workbench) -> None:
    """The money stays, unapplied; the invoice is voided."""
    workbench.say("invoice.finalized", invoice("pre-1", net=50000, type="prepayment"))
    workbench.say("payment.recorded", payment("pay-1", ("pre-1", 50000)))
    invoice_id = exported(workbench)
    for number in ("1", "2"):
        data = applied(f"app-{number}", "pre-1", "inv-1", 3000, source_kind="prepayment")
        workbench.say("credit.applied", data)
    workbench.say("invoice.voided", voided("inv-1"))
    (paid,) = workbench.objects("Payment")
    assert (paid["TotalAmt"], paid["UnappliedAmt"], shares(paid)) == (500.0, 500.0, {})
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 0.0
    states = [workbench.link("credit_application", f"app-{number}") for number in ("1", "2")]
    assert [link.state for link in states if link] == ["deleted", "deleted"]


def test_credit_by_quickbooks_is_not_ours_to_take_off(workbench: Workbench) -> None:
    """Applied automatically and unknown to billing: it is listed, and nothing is voided."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    exported(workbench)
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "money_on_invoice")


@pytest.mark.parametrize("action", ["void", "delete"])
def test_what_a_bookkeeper_voided_or_deleted_before_is_adopted(workbench: Workbench, action: str) -> None:
    """Nothing is left to do but to note it."""
    invoice_id = exported(workbench)
    workbench.bookkeeper(action, entity="Invoice", id=invoice_id)
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    link = workbench.link("invoice", "inv-1")
    assert link is not None
    assert link.state == {"void": "voided", "delete": "deleted"}[action]


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "hang_after"])
@pytest.mark.parametrize("forgets", [0, 1])
def test_a_lost_answer_of_a_void(workbench: Workbench, kind: str, forgets: int) -> None:
    """The void took effect or not: it is void once, with the request id remembered or not."""
    invoice_id = exported(workbench)
    workbench.switch(requestid_forgets_after_seconds=forgets)
    workbench.trouble(kind, entity="invoice", operation="void", times=1)
    workbench.say("invoice.voided", voided("inv-1"), settle=False)
    workbench.run(workbench.last("invoice", "inv-1"))
    workbench.advance(5)
    workbench.settle()
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.object("Invoice", invoice_id)["TotalAmt"] == 0.0


def test_a_void_in_an_earlier_month_warns(workbench: Workbench) -> None:
    """It is done, and whoever reported that month is told; in the same month nobody is."""
    exported(workbench)
    workbench.say("invoice.voided", voided("inv-1", date="2026-11-02"))
    (warning,) = workbench.exceptions()
    assert (warning.type, warning.code) == ("accounting_sync_warning", "void_in_earlier_month")
    workbench.say("invoice.finalized", invoice("inv-2", invoice_date="2026-11-01"))
    workbench.say("invoice.voided", voided("inv-2", date="2026-11-30"))
    assert len(workbench.exceptions()) == 1


def test_the_void_of_what_we_never_saw_is_groupable(workbench: Workbench) -> None:
    """An invoice from before us: it may be in QuickBooks, so a person links or voids it."""
    for number in ("1", "2"):
        workbench.say("invoice.voided", voided(f"old-{number}"))
        assert workbench.outcome("invoice", f"old-{number}") == ("failed", "unlinked_before_cutover")
    assert len({row.cause for row in workbench.exceptions()}) == 1
    assert (
        "billing never described it" in workbench.exceptions()[0].happened
    )  # there is no cutover to speak of


def test_a_lost_link_is_not_taken_for_never_exported(workbench: Workbench) -> None:
    """It was exported, so skipping the void would leave it open for ever."""
    exported(workbench)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("DELETE FROM link"))
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "link_lost")


def memo(workbench: Workbench) -> str:
    """A credit memo of 80.00 in QuickBooks; its id there."""
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    link = workbench.link("credit_note", "cn-1")
    assert link is not None
    return link.external_id


def test_an_unapplied_credit_note_is_deleted(workbench: Workbench) -> None:
    """QuickBooks cannot void a credit memo: it goes, while nothing of it is applied."""
    memo(workbench)
    workbench.say("credit_note.voided", voided("cn-1"))
    assert workbench.objects("CreditMemo") == []
    link = workbench.link("credit_note", "cn-1")
    assert link is not None
    assert link.state == "deleted"
    assert workbench.told("document.synced")[-1]["action"] == "deleted"
    assert workbench.reads == 0


def test_a_partly_applied_credit_note_is_never_deleted(workbench: Workbench) -> None:
    """By us or by a bookkeeper: an exception; taken back, the void goes by itself."""
    exported(workbench)
    memo_id = memo(workbench)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 3000))
    workbench.say("credit_note.voided", voided("cn-1"))
    assert workbench.outcome("credit_note", "cn-1") == ("failed", "credit_applied")
    assert "credit of it is applied by app-1" in workbench.exceptions()[0].happened
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 50.0
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 3000))
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)
    assert workbench.objects("CreditMemo") == []
    assert workbench.exceptions() == []


def test_a_credit_note_a_bookkeeper_applied_is_never_deleted(workbench: Workbench) -> None:
    """Nobody told us, but the SyncToken did: it is read again, and left alone."""
    invoice_id, memo_id = exported(workbench), memo(workbench)
    workbench.bookkeeper("apply-credit", memo=memo_id, invoice=invoice_id, amount=10)
    workbench.say("credit_note.voided", voided("cn-1"))
    assert workbench.outcome("credit_note", "cn-1") == ("failed", "credit_applied")
    assert "10.00 USD" in workbench.exceptions()[0].happened


@pytest.mark.parametrize("forgets", [0, 1])
def test_a_lost_answer_of_a_deletion(workbench: Workbench, forgets: int) -> None:
    """Gone is gone, whether QuickBooks remembers the request or not."""
    memo(workbench)
    workbench.switch(requestid_forgets_after_seconds=forgets)
    workbench.trouble("cut_after", entity="creditmemo", operation="delete", times=1)
    workbench.say("credit_note.voided", voided("cn-1"), settle=False)
    workbench.run(workbench.last("credit_note", "cn-1"))
    workbench.advance(5)
    workbench.settle()
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)


def paid(workbench: Workbench) -> str:
    """A payment of 135.00 on an invoice in QuickBooks; its id there."""
    exported(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    link = workbench.link("payment", "pay-1")
    assert link is not None
    return link.external_id


REVERSAL = {"id": "pay-1", "date": "2026-11-06", "reason": "keyed_in_error"}


@pytest.mark.parametrize("whole", [False, True])
def test_a_payment_keyed_in_error_is_voided(workbench: Workbench, whole: bool) -> None:
    """The invoice is open again; QuickBooks may want the payment whole."""
    payment_id = paid(workbench)
    workbench.switch(payment_void_needs_full_object=whole)
    workbench.say("payment.reversed", REVERSAL)
    assert workbench.object("Payment", payment_id)["TotalAmt"] == 0.0
    assert workbench.objects()[0]["Balance"] == 135.0
    link = workbench.link("payment", "pay-1")
    assert link is not None
    assert link.state == "voided"
    assert workbench.reads == 0


def test_a_payment_reversed_before_it_was_sent_is_never_sent(workbench: Workbench) -> None:
    """Recorded and reversed while its invoice was on the way: both are skipped."""
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("payment.reversed", REVERSAL)
    exported(workbench)
    steps = workbench.operations("pay-1", "payment")
    assert [(one.state, one.reason_code) for one in steps] == [
        ("skipped", "superseded"),
        ("skipped", "never_exported"),
    ]
    assert workbench.objects("Payment") == []


def test_a_deposited_payment_is_never_voided(workbench: Workbench) -> None:
    """It is on a bank deposit: an exception names it; taken off, a retry voids it."""
    payment_id = paid(workbench)
    deposit = workbench.bookkeeper("make-deposit", payments=[payment_id])
    workbench.say("payment.reversed", REVERSAL)
    assert workbench.outcome("payment", "pay-1") == ("failed", "payment_deposited")
    workbench.bookkeeper("undo-deposit", entity="Deposit", id=deposit["Id"])
    workbench.replay(workbench.last("payment", "pay-1"))
    assert workbench.object("Payment", payment_id)["TotalAmt"] == 0.0


def test_a_prepayment_in_use_is_never_voided(workbench: Workbench) -> None:
    """Credit from it settles an invoice: that is to be taken back first."""
    workbench.say("invoice.finalized", invoice("pre-1", net=50000, type="prepayment"))
    workbench.say("payment.recorded", payment("pay-1", ("pre-1", 50000)))
    exported(workbench)
    workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 3000, source_kind="prepayment"))
    workbench.say("payment.reversed", REVERSAL)
    assert workbench.outcome("payment", "pay-1") == ("failed", "prepayment_applied")


@pytest.mark.parametrize("reason", ["bounced", "chargeback"])
def test_money_that_went_back_stays_in_the_books_with_a_recipe(workbench: Workbench, reason: str) -> None:
    """It came and it went: both happened, each on its day; a person enters the second."""
    payment_id = paid(workbench)
    workbench.say("payment.reversed", REVERSAL | {"reason": reason})
    assert workbench.outcome("payment", "pay-1") == ("failed", "unsupported_effect")
    (exception,) = workbench.exceptions()
    assert "2026-11-06" in exception.fix
    assert payment_id in exception.happened
    assert workbench.object("Payment", payment_id)["TotalAmt"] == 135.0


def test_a_void_after_a_correction_of_what_was_settled_in_part(workbench: Workbench) -> None:
    """The correction's answer showed credit and money on the invoice; both are off again: it looks, and voids."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    exported(workbench)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    workbench.say("credit.applied", applied("ca-1", "cn-1", "inv-1", 3000))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 2000)))
    workbench.say("invoice.corrected", invoice("inv-1", net=10000))
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-09", "reason": "keyed_in_error"})
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("succeeded", None)
    assert workbench.objects()[0]["TotalAmt"] == 0
    assert workbench.objects("CreditMemo")[0]["RemainingCredit"] == 80.0
    assert workbench.codes() == []


def test_a_void_looks_whose_money_is_on_the_invoice(workbench: Workbench) -> None:
    """Of a bookkeeper's payment that a correction's answer showed: still refused, and named."""
    id_ = exported(workbench)
    workbench.bookkeeper("receive-payment", customer="2", amount=20, invoices={id_: 20}, date="2026-11-02")
    workbench.say("invoice.corrected", invoice("inv-1", net=10000))
    workbench.say("invoice.voided", voided("inv-1"))
    assert workbench.outcome("invoice", "inv-1") == ("failed", "money_on_invoice")
    assert "a payment of 20.00 on 2026-11-02" in workbench.exceptions()[-1].happened
    assert workbench.objects()[0]["TotalAmt"] == 100.0


def test_credit_that_was_used_when_last_seen_is_looked_at_again(workbench: Workbench) -> None:
    """QuickBooks applied the memo by itself as it was made; a bookkeeper took that back: it is deleted."""
    exported(workbench)
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    (tie,) = workbench.objects("Payment")
    workbench.bookkeeper("delete", entity="Payment", id=tie["Id"])
    workbench.say("credit_note.voided", voided("cn-1"))
    assert workbench.outcome("credit_note", "cn-1") == ("succeeded", None)
    assert workbench.objects("CreditMemo") == []


def test_keyed_in_error_makes_the_recipe_of_a_bounce_pointless(workbench: Workbench) -> None:
    """The money never came: nothing is to be entered for it, and the payment is voided."""
    exported(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    for reason in ("bounced", "keyed_in_error"):
        workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-09", "reason": reason})
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    assert workbench.objects("Payment")[0]["TotalAmt"] == 0
    assert workbench.exceptions() == []


def test_a_refund_is_an_exception_with_its_recipe(workbench: Workbench) -> None:
    """Never guessed: amount, date and payment stand in the recipe."""
    payment_id = paid(workbench)
    refund = {
        "refund_id": "ref-1",
        "payment_id": "pay-1",
        "amount": 5000,
        "currency": "USD",
        "date": "2026-11-07",
        "reason": "overpaid",
    }
    workbench.say("payment.refunded", refund)
    assert workbench.outcome("refund", "ref-1") == ("failed", "unsupported_effect")
    (exception,) = workbench.exceptions()
    assert payment_id in exception.happened
    assert "50.00 USD" in exception.happened
