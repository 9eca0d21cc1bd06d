"""Credit applied to invoices and taken back: a Payment of zero for each application, never applied twice."""

from __future__ import annotations

import threading

import pytest

from tests.support.exporting import Workbench, applied, credit_note, invoice, payment, shares


def documents(workbench: Workbench, *, memo: int = -8000) -> tuple[str, str]:
    """An invoice of 135.00 and a credit memo, exported; their ids in QuickBooks."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("credit_note.finalized", credit_note("cn-1", net=memo))
    one, other = workbench.link("invoice", "inv-1"), workbench.link("credit_note", "cn-1")
    assert one is not None
    assert other is not None
    return one.external_id, other.external_id


def test_an_application_is_a_payment_of_zero(workbench: Workbench) -> None:
    """Invoice and memo are tied by one Payment that is no cash; nothing is read; replaying makes no second."""
    invoice_id, memo_id = documents(workbench)
    body = workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    (made,) = workbench.objects("Payment")
    assert (made["TotalAmt"], made["UnappliedAmt"], made["TxnDate"]) == (0, 0, "2026-11-04")
    assert shares(made) == {f"Invoice:{invoice_id}": 80.0, f"CreditMemo:{memo_id}": 80.0}
    assert workbench.object("Invoice", invoice_id)["Balance"] == 55.0
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 0.0
    link = workbench.link("credit_application", "app-1")
    assert link is not None
    assert (link.external_type, link.external_id) == ("Payment", made["Id"])
    assert workbench.intake.take_over(body) == "duplicate"
    workbench.settle()
    assert len(workbench.objects("Payment")) == 1
    assert workbench.reads == 0


def test_every_application_of_a_memo_is_its_own(workbench: Workbench) -> None:
    """The second and third use of the same credit reach QuickBooks like the first."""
    invoice_id, memo_id = documents(workbench)
    workbench.say("invoice.finalized", invoice("inv-2"))
    for number, (target, cents) in enumerate([("inv-1", 3000), ("inv-1", 3000), ("inv-2", 2000)]):
        workbench.say("credit.applied", applied(f"app-{number}", "cn-1", target, cents))
    assert len(workbench.objects("Payment")) == 3
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 0.0
    assert workbench.object("Invoice", invoice_id)["Balance"] == 75.0
    assert workbench.exceptions() == []


def test_it_waits_for_both_documents_without_spending_attempts(workbench: Workbench) -> None:
    """Applied before either is in QuickBooks: it goes when the second is there."""
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    waiting = workbench.last("credit_application", "app-1")
    assert (waiting.state, waiting.tries) == ("waiting", 0)
    documents(workbench)
    done = workbench.last("credit_application", "app-1")
    assert (done.state, done.attempt, done.tries) == ("succeeded", 1, 1)


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "hang_after"])
def test_a_lost_answer_applies_once(workbench: Workbench, kind: str) -> None:
    """Credit is never applied twice."""
    _, memo_id = documents(workbench)
    workbench.trouble(kind, entity="payment", times=1)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 3000))
    assert len(workbench.objects("Payment")) == 1
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 50.0


def test_credit_that_quickbooks_applied_by_itself_is_adopted(workbench: Workbench) -> None:
    """Same memo, invoice and amount: it is our application, and nothing is applied twice."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    _, memo_id = documents(workbench)
    (theirs,) = workbench.objects("Payment")
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    assert workbench.outcome("credit_application", "app-1") == ("succeeded", None)
    link = workbench.link("credit_application", "app-1")
    assert link is not None
    assert link.external_id == theirs["Id"]
    assert len(workbench.objects("Payment")) == 1
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 0.0
    assert workbench.reads == 2


def test_credit_that_quickbooks_applied_differently_is_an_exception(workbench: Workbench) -> None:
    """QuickBooks used all of it, billing 30.00: a person moves it there or takes it over here."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    documents(workbench)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 3000))
    assert workbench.outcome("credit_application", "app-1") == ("failed", "credit_applied_differently")
    (exception,) = workbench.exceptions()
    assert "80.00 by Payment" in exception.happened
    assert "30.00 USD" in exception.happened
    (theirs,) = workbench.objects("Payment")
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.bookkeeper("delete", entity="Payment", id=theirs["Id"])
    workbench.replay(workbench.last("credit_application", "app-1"))
    (ours,) = workbench.objects("Payment")
    assert set(shares(ours).values()) == {30.0}
    assert workbench.exceptions() == []


def test_one_automatic_application_is_not_adopted_twice(workbench: Workbench) -> None:
    """Two applications of the same amount, one Payment by QuickBooks: the second is a person's."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    documents(workbench)
    for number in ("1", "2"):
        workbench.say("credit.applied", applied(f"app-{number}", "cn-1", "inv-1", 8000))
    assert workbench.outcome("credit_application", "app-1") == ("succeeded", None)
    assert workbench.outcome("credit_application", "app-2")[0] == "failed"
    assert len(workbench.objects("Payment")) == 1


def test_credit_used_up_by_a_bookkeeper_is_an_exception(workbench: Workbench) -> None:
    """The memo went to another invoice: nothing is left to apply."""
    _, memo_id = documents(workbench)
    workbench.say("invoice.finalized", invoice("inv-2"))
    other = workbench.link("invoice", "inv-2")
    assert other is not None
    workbench.bookkeeper("apply-credit", memo=memo_id, invoice=other.external_id, amount=80)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    assert workbench.outcome("credit_application", "app-1") == ("failed", "credit_not_applicable")
    assert workbench.reads == 1, "the invoice has no payments to be read"


@pytest.mark.parametrize("source", ["direct_grant", "project_deposit"])
def test_sources_that_quickbooks_does_not_know_are_an_exception_at_once(
    workbench: Workbench, source: str
) -> None:
    """With the recipe; never linked, never waiting."""
    documents(workbench)
    workbench.say("credit.applied", applied("app-1", "grant-1", "inv-1", 5000, source_kind=source))
    assert workbench.outcome("credit_application", "app-1") == ("failed", "unsupported_effect")
    (exception,) = workbench.exceptions()
    assert "INV-1" in exception.happened
    assert "50.00 USD" in exception.happened
    assert workbench.objects("Payment") == []


@pytest.mark.parametrize("source", ["direct_grant", "project_deposit"])
def test_what_is_taken_back_of_them_asks_at_once_too(workbench: Workbench, source: str) -> None:
    """The recipe of the application leaves the list, that of its end takes its place; nothing waits in silence."""
    documents(workbench)
    data = applied("app-1", "grant-1", "inv-1", 5000, source_kind=source)
    workbench.say("credit.applied", data)
    workbench.say("credit.unapplied", data)
    assert workbench.outcome("credit_application", "app-1") == ("failed", "unsupported_effect")
    (exception,) = workbench.exceptions()
    assert "if one was entered" in exception.fix


def test_an_application_taken_back_is_deleted(workbench: Workbench) -> None:
    """Both documents are open again, as if it had never been; nothing is read."""
    invoice_id, memo_id = documents(workbench)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 8000))
    assert workbench.objects("Payment") == []
    assert workbench.object("Invoice", invoice_id)["Balance"] == 135.0
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 80.0
    link = workbench.link("credit_application", "app-1")
    assert link is not None
    assert link.state == "deleted"
    assert [told["action"] for told in workbench.told("document.synced")][-2:] == ["created", "deleted"]
    assert workbench.reads == 0


def test_taken_back_in_part_asks(workbench: Workbench) -> None:
    """The rest stays applied and known as such: a person lowers it, and the whole can still be taken back."""
    workbench.prefer("SalesFormsPrefs", AutoApplyCredit=False)
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("credit_note.finalized", credit_note("cn-1"))
    workbench.say("credit.applied", applied("ca-1", "cn-1", "inv-1", 8000))
    workbench.say("credit.unapplied", applied("ca-1", "cn-1", "inv-1", 3000))
    assert workbench.outcome("credit_application", "ca-1") == ("failed", "unsupported_effect")
    (asked,) = workbench.exceptions()
    assert "by 30.00 USD" in asked.fix
    (tie,) = workbench.objects("Payment")
    assert [line["Amount"] for line in tie["Line"]] == [80.0, 80.0]
    link = workbench.link("credit_application", "ca-1")
    assert (link is not None and link.state) == "synced"
    workbench.say("credit.unapplied", applied("ca-1", "cn-1", "inv-1", 8000))
    assert workbench.objects("Payment") == []
    assert workbench.exceptions() == []


def test_taken_back_before_it_was_applied_nothing_happens(workbench: Workbench) -> None:
    """Both steps are skipped, and say why."""
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 8000))
    documents(workbench)
    steps = workbench.operations("app-1", "credit_application")
    assert [(one.state, one.reason_code) for one in steps] == [
        ("skipped", "superseded"),
        ("skipped", "never_applied"),
    ]
    assert workbench.objects("Payment") == []


@pytest.mark.parametrize("kind", ["cut_after", "hang_after"])
def test_a_lost_answer_of_taking_back(workbench: Workbench, kind: str) -> None:
    """The Payment is gone already when the call is repeated: done once, link dead."""
    documents(workbench)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    workbench.switch(requestid_forgets_after=1)
    workbench.trouble(kind, entity="payment", operation="delete", times=1)
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 8000))
    assert workbench.outcome("credit_application", "app-1") == ("succeeded", None)
    assert workbench.objects("Payment") == []


def test_taken_back_by_hand_before_is_adopted(workbench: Workbench) -> None:
    """The bookkeeper deleted the Payment: there is nothing to do but to note it."""
    documents(workbench)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 8000))
    (made,) = workbench.objects("Payment")
    workbench.bookkeeper("delete", entity="Payment", id=made["Id"])
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 8000))
    assert workbench.outcome("credit_application", "app-1") == ("succeeded", None)
    link = workbench.link("credit_application", "app-1")
    assert link is not None
    assert link.state == "deleted"


def prepaid(workbench: Workbench) -> str:
    """A prepayment of 500.00, paid, and an invoice of 135.00; the Payment's id in QuickBooks."""
    workbench.say("invoice.finalized", invoice("pre-1", net=50000, type="prepayment"))
    workbench.say("payment.recorded", payment("pay-1", ("pre-1", 50000)))
    workbench.say("invoice.finalized", invoice("inv-1"))
    link = workbench.link("payment", "pay-1")
    assert link is not None
    return link.external_id


def test_credit_of_a_prepayment_puts_its_money_to_use(workbench: Workbench) -> None:
    """The same Payment gets the invoice: no new cash; a second application joins it; each can be taken back."""
    paid = prepaid(workbench)
    credit = {"source_kind": "prepayment"}
    workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 5000, **credit))
    workbench.say("credit.applied", applied("app-2", "pre-1", "inv-1", 2000, **credit))
    (made,) = workbench.objects("Payment")
    assert (made["Id"], made["TotalAmt"], made["UnappliedAmt"]) == (paid, 500.0, 430.0)
    assert list(shares(made).values()) == [70.0]
    workbench.say("credit.unapplied", applied("app-2", "pre-1", "inv-1", 2000, **credit))
    (made,) = workbench.objects("Payment")
    assert (made["TotalAmt"], made["UnappliedAmt"]) == (500.0, 450.0)
    workbench.say("credit.unapplied", applied("app-1", "pre-1", "inv-1", 5000, **credit))
    (made,) = workbench.objects("Payment")
    assert (made["UnappliedAmt"], made["Line"]) == (500.0, [])
    link = workbench.link("payment", "pay-1")
    assert link is not None
    assert link.sync_token == made["SyncToken"]
    assert workbench.reads == 0


def test_credit_of_a_prepayment_waits_for_its_money(workbench: Workbench) -> None:
    """Applied before anybody paid: it goes when the payment is in QuickBooks."""
    credit = {"source_kind": "prepayment"}
    workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 5000, **credit))
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("invoice.finalized", invoice("pre-1", net=50000, type="prepayment"))
    assert workbench.last("credit_application", "app-1").state == "waiting"
    workbench.say("payment.recorded", payment("pay-1", ("pre-1", 50000)))
    assert workbench.outcome("credit_application", "app-1") == ("succeeded", None)
    (made,) = workbench.objects("Payment")
    assert list(shares(made).values()) == [50.0]


@pytest.mark.parametrize("forgets", [0, 1])
def test_a_lost_answer_puts_the_money_to_use_once(workbench: Workbench, forgets: int) -> None:
    """Even when QuickBooks forgot the request id: the note of the Payment tells that it is done."""
    prepaid(workbench)
    workbench.switch(requestid_forgets_after_seconds=forgets)
    workbench.trouble("cut_after", entity="payment", operation="update", times=1)
    credit = {"source_kind": "prepayment"}
    workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 5000, **credit), settle=False)
    workbench.run(workbench.last("credit_application", "app-1"))
    workbench.advance(5)
    workbench.settle()
    assert workbench.outcome("credit_application", "app-1") == ("succeeded", None)
    (made,) = workbench.objects("Payment")
    assert (made["UnappliedAmt"], list(shares(made).values())) == (450.0, [50.0])


def test_two_applications_of_one_prepayment_at_once(workbench: Workbench) -> None:
    """Both were decided on the same SyncToken: the second reads the Payment again, and both are on it."""
    prepaid(workbench)
    credit = {"source_kind": "prepayment"}
    workbench.trouble("latency", entity="payment", operation="update", seconds=0.3)
    threads = []
    for number in ("1", "2"):
        data = applied(f"app-{number}", "pre-1", "inv-1", 3000, **credit)
        workbench.say("credit.applied", data, settle=False)
        operation = workbench.last("credit_application", f"app-{number}")
        threads.append(threading.Thread(target=workbench.run, args=(operation,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "looked_again" in [
        *workbench.timeline("credit_application", "app-1"),
        *workbench.timeline("credit_application", "app-2"),
    ]
    workbench.settle()
    (made,) = workbench.objects("Payment")
    assert list(shares(made).values()) == [60.0]
    assert workbench.exceptions() == []


def test_reallocating_a_payment_keeps_credit_applied_from_it(workbench: Workbench) -> None:
    """Billing moves the payment's own part; what was applied from its prepayment stays."""
    prepaid(workbench)
    workbench.say("invoice.finalized", invoice("inv-2"))
    workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 5000, source_kind="prepayment"))
    moved = [{"invoice_id": "pre-1", "amount": 40000}, {"invoice_id": "inv-2", "amount": 10000}]
    workbench.say("payment.reallocated", {"id": "pay-1", "allocations": moved})
    (made,) = workbench.objects("Payment")
    assert sorted(shares(made).values()) == [50.0, 100.0]
    assert made["UnappliedAmt"] == 350.0


def test_a_prepayment_with_too_little_left_is_an_exception(workbench: Workbench) -> None:
    """The bookkeeper used it for something else: a person decides."""
    prepaid(workbench)
    workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 60000, source_kind="prepayment"))
    assert workbench.outcome("credit_application", "app-1") == ("failed", "prepayment_used")
    assert "500.00 of Payment" in workbench.exceptions()[0].happened


def test_an_application_said_again_is_one_payment(workbench: Workbench) -> None:
    """One zero-total Payment an application id, however often billing says it and under whichever event."""
    _, memo_id = documents(workbench)
    for _ in range(3):
        workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 3000))
    assert len(workbench.objects("Payment")) == 1
    assert workbench.outcome("credit_application", "app-1") == ("skipped", "applied_already")
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 50.0
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 3000))
    assert workbench.objects("Payment") == []
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 2000))
    (tie,) = workbench.objects("Payment")
    assert set(shares(tie).values()) == {20.0}, "taken back, it may be applied anew"


def test_an_application_said_again_differently_asks(workbench: Workbench) -> None:
    """What is in QuickBooks stays, and can still be taken back as it was sent."""
    _, memo_id = documents(workbench)
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 3000))
    workbench.say("credit.applied", applied("app-1", "cn-1", "inv-1", 4000))
    (tie,) = workbench.objects("Payment")
    assert set(shares(tie).values()) == {30.0}
    (asked,) = workbench.exceptions()
    assert "applied again, and differently" in asked.title
    workbench.say("credit.unapplied", applied("app-1", "cn-1", "inv-1", 3000))
    assert (workbench.objects("Payment"), workbench.exceptions()) == ([], [])
    assert workbench.object("CreditMemo", memo_id)["RemainingCredit"] == 80.0


def test_credit_of_a_prepayment_said_again_moves_no_money(workbench: Workbench) -> None:
    """The Payment of the prepayment settles the invoice by the amount of the application, once."""
    workbench.say("invoice.finalized", invoice("pre-1", type="prepayment"))
    workbench.say("payment.recorded", payment("pay-1", ("pre-1", 13500)))
    workbench.say("invoice.finalized", invoice("inv-1"))
    for _ in range(2):
        workbench.say("credit.applied", applied("app-1", "pre-1", "inv-1", 5000, source_kind="prepayment"))
    (paid,) = workbench.objects("Payment")
    assert (set(shares(paid).values()), paid["UnappliedAmt"]) == ({50.0}, 85.0)
    assert workbench.exceptions() == []
