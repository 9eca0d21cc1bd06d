"""A payment from event to QuickBooks: one Payment over all its invoices, once, and never before they are there."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from services.ledger import sweep
from services.mapping import settings
from tests.support.exporting import REALM, TENANT, Workbench, invoice, payment, shares
from tests.support.ledger import company


def billed(workbench: Workbench, *ids: str) -> list[str]:
    """Export invoices of 135.00; returns their ids in QuickBooks."""
    for id_ in ids:
        workbench.say("invoice.finalized", invoice(id_))
    return [link.external_id for id_ in ids if (link := workbench.link("invoice", id_))]


def test_one_payment_over_several_invoices(workbench: Workbench) -> None:
    """Customer, date, amounts, reference and note arrive; the rest is unapplied; nothing is read."""
    first, second = billed(workbench, "inv-1", "inv-2")
    workbench.map("payment_method", "check", "2")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), ("inv-2", 5000), amount=20000))
    (made,) = workbench.objects("Payment")
    assert (made["CustomerRef"]["value"], made["TxnDate"], made["TotalAmt"]) == ("2", "2026-11-03", 200.0)
    assert shares(made) == {f"Invoice:{first}": 135.0, f"Invoice:{second}": 50.0}
    assert (made["UnappliedAmt"], made["PaymentRefNum"]) == (15.0, "4711")
    assert made["PaymentMethodRef"]["value"] == "2"
    assert made["DepositToAccountRef"]["value"] == "4", "Undeposited Funds unless set otherwise"
    assert [one["Balance"] for one in workbench.objects()] == [0.0, 85.0]
    link = workbench.link("payment", "pay-1")
    assert link is not None
    assert (link.external_type, link.external_id) == ("Payment", made["Id"])
    assert workbench.reads == 0
    assert workbench.exceptions() == []
    told = workbench.told("document.synced")[-1]
    assert (told["document"]["kind"], told["total"], told["action"]) == ("payment", 20000, "created")


def test_a_long_reference_is_cut_visibly_and_kept_whole(workbench: Workbench) -> None:
    """Provider, payout and fee stand in the note, for whoever reconciles the bank."""
    billed(workbench, "inv-1")
    data = payment(
        "pay-1",
        ("inv-1", 13500),
        reference="pi_3PqRsTuVwXyZ0123456789",
        provider="stripe",
        gateway_txn_id="ch_1",
        payout_id="po_9",
        fee=420,
    )
    workbench.say("payment.recorded", data)
    (made,) = workbench.objects("Payment")
    assert made["PaymentRefNum"] == "pi_3PqRsTuVwXyZ012..."
    note = made["PrivateNote"].split("\n")
    assert note[:4] == [
        "Reference: pi_3PqRsTuVwXyZ0123456789",
        "stripe: ch_1",
        "Payout: po_9",
        "Fee kept by stripe: 4.20 USD",
    ]


@pytest.mark.parametrize(
    ("accounts", "expected"),
    [
        ({}, "5"),
        ({"card": {"id": "6", "name": "Savings"}}, "6"),
        ({"card": {"id": "6"}, "card:stripe": {"id": "9", "name": "Stripe Clearing"}}, "9"),
        ({"check": {"id": "6"}}, "5"),
    ],
)
def test_the_deposit_account_is_set_per_method_and_provider(
    workbench: Workbench, accounts: dict[str, Any], expected: str
) -> None:
    """The narrower setting wins; a method without one goes to the company's account."""
    billed(workbench, "inv-1")
    workbench.set("deposit_account", {"id": "5", "name": "Checking"})
    workbench.set("deposit_accounts", accounts)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), method="card", provider="stripe"))
    (made,) = workbench.objects("Payment")
    assert made["DepositToAccountRef"]["value"] == expected


def test_a_deposit_account_in_another_currency_is_refused_by_name(workbench: Workbench) -> None:
    """Before the call: QuickBooks would book the difference as exchange gain."""
    billed(workbench, "inv-1")
    account = {"id": "12", "name": "Checking EUR", "currency": "EUR"}
    scope = settings.of_company(workbench.company_id)
    workbench.set("deposit_account", settings.checked(scope, "deposit_account", account))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("failed", "deposit_account_currency")
    assert "Checking EUR" in workbench.exceptions()[0].happened
    assert workbench.objects("Payment") == []


def test_a_payment_waits_for_its_invoices_and_goes_by_itself(workbench: Workbench) -> None:
    """Paid from the e-mailed link before the export: no attempt is spent, and it goes the moment they are there."""
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), ("inv-2", 13500)))
    waiting = workbench.last("payment", "pay-1")
    assert (waiting.state, waiting.tries) == ("waiting", 0)
    assert waiting.reason is not None
    assert "invoice inv-1" in waiting.reason
    billed(workbench, "inv-1")
    assert workbench.last("payment", "pay-1").state == "waiting"
    with workbench.fleet.transaction("*") as connection:
        assert sweep.violations(connection) == {}
    billed(workbench, "inv-2")
    done = workbench.last("payment", "pay-1")
    assert (done.state, done.attempt, done.tries) == ("succeeded", 1, 1)
    assert len(workbench.objects("Payment")) == 1


def test_a_payment_waits_for_a_failed_invoice_until_it_is_mended(workbench: Workbench) -> None:
    """The invoice needs a mapping: the payment behind it fails with nothing, and follows it."""
    lines = invoice("inv-1")["lines"]
    lines[0]["service_id"] = "svc-unmapped"
    workbench.say("invoice.finalized", invoice("inv-1", lines=lines))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.last("payment", "pay-1").state == "waiting"
    workbench.map("item", "svc-unmapped", "3")
    workbench.replay(workbench.last("invoice", "inv-1"))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)


def test_an_invoice_left_out_for_good_is_not_waited_for(workbench: Workbench) -> None:
    """The invoice is from before the cutover and linked to nothing: one cause groups all such payments."""
    workbench.set("cutover_date", "2026-11-01")
    for number in ("1", "2"):
        workbench.say("payment.recorded", payment(f"pay-{number}", (f"inv-{number}", 13500)))
        workbench.say("invoice.finalized", invoice(f"inv-{number}"))
        assert workbench.outcome("invoice", f"inv-{number}") == ("skipped", "before_cutover")
        assert workbench.outcome("payment", f"pay-{number}") == ("failed", "unlinked_before_cutover")
    assert {row.cause for row in workbench.exceptions()} == {
        f"unlinked_before_cutover:{workbench.company_id}"
    }


@pytest.mark.parametrize("kind", ["cut_before", "cut_after", "cut_within", "hang_after"])
def test_a_lost_answer_makes_one_payment(workbench: Workbench, kind: str) -> None:
    """Money is never doubled."""
    billed(workbench, "inv-1")
    workbench.trouble(kind, entity="payment", times=1)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    (made,) = workbench.objects("Payment")
    link = workbench.link("payment", "pay-1")
    assert link is not None
    assert link.external_id == made["Id"]


def test_a_lost_answer_is_looked_for_by_customer_date_and_marker(workbench: Workbench) -> None:
    """QuickBooks may have forgotten the request id: the payment is found among the customer's, and adopted."""
    billed(workbench, "inv-1")
    workbench.bookkeeper("receive-payment", customer="2", amount=135, date="2026-11-03", reference="4711")
    workbench.trouble("cut_after", entity="payment", times=1)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)), settle=False)
    workbench.run(workbench.last("payment", "pay-1"))
    workbench.switch(requestid_forgets_after=1)
    workbench.make_due()
    workbench.run(workbench.last("payment", "pay-1"))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    (ours,) = [one for one in workbench.objects("Payment") if "algasync" in one.get("PrivateNote", "")]
    link = workbench.link("payment", "pay-1")
    assert link is not None
    assert link.external_id == ours["Id"], "not the bookkeeper's of the same reference and amount"


def test_a_duplicate_event_makes_one_payment(workbench: Workbench) -> None:
    """The same message twice is one payment."""
    billed(workbench, "inv-1")
    body = workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.intake.take_over(body) == "duplicate"
    workbench.settle()
    assert len(workbench.objects("Payment")) == 1


def test_a_refusal_is_an_exception_with_quickbooks_words(workbench: Workbench) -> None:
    """The invoice was paid at the bank counter meanwhile: nothing is applied twice, a person decides."""
    (first,) = billed(workbench, "inv-1")
    workbench.bookkeeper("receive-payment", customer="2", amount=135, invoices={first: 135})
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("failed", "invoice_settled")
    (exception,) = workbench.exceptions()
    assert "already been paid" in exception.happened
    assert len(workbench.objects("Payment")) == 1


def test_money_that_quickbooks_left_unapplied_is_reported(workbench: Workbench) -> None:
    """QuickBooks drops a link without a word: the payment stands, and a person is told how much is loose."""
    (first,) = billed(workbench, "inv-1")
    workbench.bookkeeper("receive-payment", customer="2", amount=100, invoices={first: 100})
    workbench.switch(over_application="drop")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)
    (exception,) = workbench.exceptions()
    assert (exception.type, exception.code) == (
        "accounting_sync_unmapped_payment",
        "pushed_payment_unapplied",
    )
    assert "135.00 USD of it are unapplied" in exception.happened


def test_reallocation_moves_the_same_money(workbench: Workbench) -> None:
    """The same Payment, other invoices: no new cash."""
    first, second = billed(workbench, "inv-1", "inv-2")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    moved = {"id": "pay-1", "allocations": [{"invoice_id": "inv-2", "amount": 10000}]}
    workbench.say("payment.reallocated", moved)
    (made,) = workbench.objects("Payment")
    assert shares(made) == {f"Invoice:{second}": 100.0}
    assert (made["TotalAmt"], made["UnappliedAmt"]) == (135.0, 35.0)
    assert workbench.object("Invoice", first)["Balance"] == 135.0
    assert workbench.reads == 0
    workbench.say("payment.reallocated", {"id": "pay-1", "allocations": []})
    (made,) = workbench.objects("Payment")
    assert (made["Line"], made["UnappliedAmt"]) == ([], 135.0)


def test_reallocation_before_the_payment_was_sent_takes_its_place(workbench: Workbench) -> None:
    """What waited is superseded: the payment goes out as it is now."""
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say(
        "payment.reallocated", {"id": "pay-1", "allocations": [{"invoice_id": "inv-2", "amount": 500}]}
    )
    (second,) = billed(workbench, "inv-2")
    (made,) = workbench.objects("Payment")
    assert shares(made) == {f"Invoice:{second}": 5.0}
    assert [one.state for one in workbench.operations("pay-1", "payment")] == ["skipped", "succeeded"]


def test_money_moved_on_both_sides_is_a_decision(workbench: Workbench) -> None:
    """The bookkeeper moved it, too: nothing is overwritten before somebody says so with a reason."""
    first, second = billed(workbench, "inv-1", "inv-2")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    (made,) = workbench.objects("Payment")
    line = {"Amount": 35, "LinkedTxn": [{"TxnId": second, "TxnType": "Invoice"}]}
    edit = {"Line": [line], "CustomerRef": made["CustomerRef"], "TotalAmt": 135}
    workbench.bookkeeper("edit", entity="Payment", id=made["Id"], changes=edit)
    workbench.say(
        "payment.reallocated", {"id": "pay-1", "allocations": [{"invoice_id": "inv-1", "amount": 100}]}
    )
    assert workbench.outcome("payment", "pay-1") == ("failed", "moved_in_quickbooks")
    assert shares(workbench.objects("Payment")[0]) == {f"Invoice:{second}": 35.0}
    workbench.decide(workbench.last("payment", "pay-1"), "overwrite")
    assert shares(workbench.objects("Payment")[0]) == {f"Invoice:{first}": 1.0}


def test_a_bookkeepers_note_does_not_stop_a_reallocation(workbench: Workbench) -> None:
    """The token is stale, the money is where we put it: read once, and move it under the fresh token."""
    _, second = billed(workbench, "inv-1", "inv-2")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    (made,) = workbench.objects("Payment")
    edit = {
        "PrivateNote": made["PrivateNote"] + "\nseen",
        "CustomerRef": made["CustomerRef"],
        "TotalAmt": 135,
    }
    workbench.bookkeeper("edit", entity="Payment", id=made["Id"], changes=edit)
    workbench.say(
        "payment.reallocated", {"id": "pay-1", "allocations": [{"invoice_id": "inv-2", "amount": 100}]}
    )
    (made,) = workbench.objects("Payment")
    assert shares(made) == {f"Invoice:{second}": 1.0}
    assert made["PrivateNote"].endswith("seen")
    assert workbench.reads == 1


def profile(profile_id: str) -> dict[str, Any]:
    """A billing profile of cl-1 with a customer of its own."""
    return {"id": profile_id, "name": profile_id, "bills_separately": True, "parent": "cl-1"}


def test_one_payment_over_sub_customers_is_their_parents(workbench: Workbench) -> None:
    """Two sites of a client are sub-customers: the payment belongs to the customer above them."""
    for site in ("north", "south"):
        body = {"DisplayName": site, "Job": True, "ParentRef": {"value": "2"}, "BillWithParent": True}
        made = workbench.bookkeeper("create", entity="Customer", body=body)
        workbench.map("billing_profile", site, made["Id"])
        workbench.say("invoice.finalized", invoice(f"inv-{site}", billing_profile=profile(site)))
    workbench.say("payment.recorded", payment("pay-1", ("inv-north", 13500), ("inv-south", 13500)))
    (paid,) = workbench.objects("Payment")
    assert paid["CustomerRef"]["value"] == "2"
    workbench.say("invoice.finalized", invoice("inv-3", billing_profile=profile("north")))
    workbench.say("payment.recorded", payment("pay-2", ("inv-3", 13500)))
    assert workbench.objects("Payment")[1]["CustomerRef"]["value"] != "2", (
        "of one customer alone, it is that one's"
    )


def test_customers_without_a_common_parent_are_an_exception(workbench: Workbench) -> None:
    """A deposit is never split silently."""
    workbench.map("customer", "cl-2", "1")
    billed(workbench, "inv-1")
    other = {"id": "cl-2", "name": "Amy", "tax_exempt": True}
    workbench.say("invoice.finalized", invoice("inv-2", client=other))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), ("inv-2", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("failed", "several_customers")
    assert workbench.objects("Payment") == []


def test_the_payment_of_a_prepayment_is_unapplied(workbench: Workbench) -> None:
    """The prepayment invoice is not exported; its money is there, on nothing, without waiting."""
    workbench.say("payment.recorded", payment("pay-1", ("pre-1", 50000)))
    assert workbench.last("payment", "pay-1").state == "waiting", "nobody knows yet what pre-1 is"
    workbench.say("invoice.finalized", invoice("pre-1", net=50000, type="prepayment"))
    assert workbench.outcome("invoice", "pre-1") == ("skipped", "prepayment")
    (made,) = workbench.objects("Payment")
    assert (made["TotalAmt"], made["UnappliedAmt"], made["Line"]) == (500.0, 500.0, [])
    assert workbench.exceptions() == []


def test_a_payment_in_a_foreign_currency_carries_its_own_rate(workbench: Workbench) -> None:
    """Home units for one foreign unit, on the payment's date; a single-currency company refuses it by name."""
    workbench.say("payment.recorded", payment("pay-0", amount=1000, currency="EUR"))
    assert workbench.outcome("payment", "pay-0") == ("failed", "single_currency_company")
    workbench.prefer("CurrencyPrefs", MultiCurrencyEnabled=True)
    workbench.replay(workbench.last("payment", "pay-0"))
    assert workbench.outcome("payment", "pay-0") == ("failed", "missing_customer_mapping")
    body = {"DisplayName": "Cool Cars EUR", "CurrencyRef": {"value": "EUR"}}
    customer = workbench.bookkeeper("create", entity="Customer", body=body)
    workbench.map("customer", "cl-1", customer["Id"], variant="EUR")
    workbench.say("invoice.finalized", invoice("inv-1", currency="EUR", exchange_rate="1.10"))
    data = payment("pay-1", ("inv-1", 13500), currency="EUR", exchange_rate="1.0825")
    workbench.say("payment.recorded", data)
    (made,) = workbench.objects("Payment")
    assert (made["CurrencyRef"]["value"], made["ExchangeRate"]) == ("EUR", 1.0825)
    assert workbench.objects()[0]["Balance"] == 0.0
    workbench.replay(workbench.last("payment", "pay-0"))
    assert workbench.outcome("payment", "pay-0") == ("succeeded", None)


def test_a_payment_in_another_currency_than_its_invoice_is_named(workbench: Workbench) -> None:
    """Nothing is converted on the way."""
    workbench.prefer("CurrencyPrefs", MultiCurrencyEnabled=True)
    billed(workbench, "inv-1")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), currency="EUR"))
    assert workbench.outcome("payment", "pay-1")[1] == "currency_mismatch"


def test_a_payment_follows_its_invoice_to_another_company(workbench: Workbench) -> None:
    """The payment's event came first and was meant for the default company: it moves to where the invoice is."""
    with workbench.fleet.transaction(TENANT) as connection:
        other = company(connection, TENANT, default=False, realm="9341450000000099")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.last("payment", "pay-1").company_id == workbench.company_id
    workbench.say("invoice.finalized", invoice("inv-1", target_company="9341450000000099"), settle=False)
    assert workbench.last("invoice", "inv-1").company_id == other
    with workbench.fleet.transaction(TENANT) as connection:  # as if the other company had it
        connection.execute(
            text(
                """INSERT INTO link (tenant_id, company_id, kind, document_id, external_type, external_id, sync_token,
                                     snapshot)
                   VALUES (:t, :c, 'invoice', 'inv-1', 'Invoice', '900', '0',
                           '{"CustomerRef": {"value": "2"}}')"""
            ),
            {"t": TENANT, "c": other},
        )
        connection.execute(text("UPDATE operation SET state = 'queued' WHERE state = 'waiting'"))
        connection.execute(text("DELETE FROM wait"))
    workbench.run(workbench.last("payment", "pay-1"))
    assert workbench.last("payment", "pay-1").company_id == other
    assert "moved" in workbench.timeline("payment", "pay-1")
    assert workbench.objects("Payment") == []


def test_creates_are_counted_once(workbench: Workbench) -> None:
    """What the sandbox counted agrees with what is there."""
    billed(workbench, "inv-1")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.counters()["companies"][REALM]["creates"] == {"Invoice": 1, "Payment": 1}


def entered_by_hand(workbench: Workbench, *, state: str = "told", day: str = "2026-11-06") -> None:
    """A payment of 135.00 that we know from QuickBooks only."""
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(
            text(
                """INSERT INTO psa_payment (company_id, external_id, tenant_id, payment_id, state, version, customer_id,
                                            date, currency, amount, money, facts)
                   VALUES (:c, '777', :t, 'qbp-777', :state, 1, '2', :day, 'USD', 13500, '{}',
                           '{"reference": "CHK 9"}')"""
            ),
            {"c": workbench.company_id, "t": TENANT, "state": state, "day": day},
        )


def test_a_likely_duplicate_is_held_and_asked_about(workbench: Workbench) -> None:
    """Same customer and amount within five days: nothing is sent before somebody says that it is another one."""
    billed(workbench, "inv-1")
    entered_by_hand(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("failed", "likely_duplicate")
    assert "Payment 777 of 2026-11-06, reference CHK 9" in workbench.exceptions()[0].happened
    assert workbench.objects("Payment") == []
    workbench.decide(workbench.last("payment", "pay-1"), "different")
    assert len(workbench.objects("Payment")) == 1
    assert workbench.exceptions() == []


def test_the_same_payment_reversed_in_billing_settles_the_question(workbench: Workbench) -> None:
    """It was recorded twice: billing takes its own back, nothing was ever sent, and nobody is asked any more."""
    billed(workbench, "inv-1")
    entered_by_hand(workbench)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-07", "reason": "keyed_in_error"})
    assert [one.state for one in workbench.operations("pay-1", "payment")] == ["skipped", "skipped"]
    assert workbench.exceptions() == []


@pytest.mark.parametrize(("state", "said"), [("told", "reverse this payment"), ("held", "choice same:pay-1")])
def test_what_links_the_two_depends_on_what_billing_was_told(
    workbench: Workbench, state: str, said: str
) -> None:
    """Billing has the one it was told of; one that is held back is linked by saying that it is this payment."""
    billed(workbench, "inv-1")
    entered_by_hand(workbench, state=state)
    with workbench.fleet.transaction(TENANT) as connection:
        connection.execute(text("UPDATE psa_payment SET code = 'likely_duplicate' WHERE state = 'held'"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert said in workbench.exceptions()[0].fix


@pytest.mark.parametrize("change", [{"state": "withdrawn"}, {"day": "2026-11-09"}])
def test_what_cannot_be_the_same_is_not_asked_about(workbench: Workbench, change: dict[str, str]) -> None:
    """Voided since, or six days apart."""
    billed(workbench, "inv-1")
    entered_by_hand(workbench, **change)
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.outcome("payment", "pay-1") == ("succeeded", None)


def test_an_echo_of_what_we_told_is_not_sent_back(workbench: Workbench) -> None:
    """Billing records what QuickBooks told it, and says so: that is not new money; nor is it ours to void."""
    billed(workbench, "inv-1")
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500), provider="quickbooks"))
    assert workbench.outcome("payment", "pay-1") == ("skipped", "from_quickbooks")
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-07", "reason": "keyed_in_error"})
    assert workbench.outcome("payment", "pay-1") == ("failed", "payment_of_quickbooks")
    assert workbench.objects("Payment") == []


def test_a_payment_recorded_again_with_another_amount_asks(workbench: Workbench) -> None:
    """What is in QuickBooks stays as it is, and nobody is told that it agrees; the same again is no news."""
    workbench.say("invoice.finalized", invoice("inv-1"))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 13500)))
    assert workbench.exceptions() == []
    workbench.say("payment.recorded", payment("pay-1", ("inv-1", 10000)))
    (made,) = workbench.objects("Payment")
    assert (made["TotalAmt"], shares(made)) == (135.0, {f"Invoice:{workbench.objects()[0]['Id']}": 135.0})
    (asked,) = workbench.exceptions()
    assert "recorded again, and differently" in asked.title
    assert "100.00 USD" in asked.fix
    workbench.say("payment.reversed", {"id": "pay-1", "date": "2026-11-20", "reason": "keyed_in_error"})
    assert workbench.objects("Payment")[0]["TotalAmt"] == 0
    assert workbench.exceptions() == []
