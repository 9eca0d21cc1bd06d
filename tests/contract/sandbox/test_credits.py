"""Credit memos: what remains, their application as zero-total payments, and credits that apply themselves.

Source: https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/creditmemo; the application's
shape was recorded from live companies (Payment of 0 with one line per invoice and one per credit memo).
"""

from __future__ import annotations

from typing import Any

from tests.contract.sandbox.books import Books, invoice_body, link, payment_body


def application(memo: dict[str, Any], invoice: dict[str, Any], amount: str, used: str = "") -> dict[str, Any]:
    """The zero-total payment that ties a credit memo to an invoice."""
    lines = [link("Invoice", invoice["Id"], amount), link("CreditMemo", memo["Id"], used or amount)]
    return payment_body("0", Line=lines)


def test_zero_total_payment_applies_a_credit(us: Books) -> None:
    """Both sides fall, the invoice links a Payment, the credit memo itself carries no link [seen]."""
    invoice, memo = us.invoice("150.00"), us.memo("100.00")
    payment = us.post("/payment", application(memo, invoice, "100.00"))["Payment"]
    assert (payment["TotalAmt"], payment["UnappliedAmt"]) == (0, 0)
    used, settled = us.read("CreditMemo", memo["Id"]), us.read("Invoice", invoice["Id"])
    assert (used["RemainingCredit"], used["Balance"], used["SyncToken"], settled["Balance"]) == (
        0,
        0,
        "1",
        50,
    )
    assert "LinkedTxn" not in used
    assert settled["LinkedTxn"] == [{"TxnId": payment["Id"], "TxnType": "Payment"}]


def test_money_and_credit_mix(us: Books) -> None:
    """TotalAmt is what the invoices take beyond the credits; the rest is unapplied [seen]."""
    invoice, memo = us.invoice("100.00"), us.memo("30.00")
    lines = [link("Invoice", invoice["Id"], "100.00"), link("CreditMemo", memo["Id"], "30.00")]
    assert us.pay("75.00", Line=lines)["UnappliedAmt"] == 5


def test_more_credit_than_owed_is_refused(us: Books) -> None:
    """Credits beyond the invoices of the payment, or beyond what remains, are refused [seen]."""
    invoice, memo = us.invoice("100.00"), us.memo("30.00")
    us.refused("/payment", application(memo, invoice, "10.00", used="20.00"), "6000")
    us.refused("/payment", application(memo, invoice, "40.00"), "6000")
    us.post("/payment", application(memo, invoice, "30.00"))
    us.refused("/payment", application(memo, invoice, "30.00"), "620")


def test_zero_payments_can_be_turned_off(us: Books) -> None:
    """By switch a zero-total payment is refused: no Intuit page promises it for every region [switch]."""
    us.switch(zero_total_payments=False)
    us.refused("/payment", application(us.memo(), us.invoice(), "100.00"), "6000")


def test_deleting_the_application_gives_the_credit_back(us: Books) -> None:
    """Un-apply: the payment goes, invoice and credit memo are open again [seen]."""
    invoice, memo = us.invoice("100.00"), us.memo("100.00")
    payment = us.post("/payment", application(memo, invoice, "100.00"))["Payment"]
    us.post("/payment", {"Id": payment["Id"], "SyncToken": "0"}, operation="delete")
    assert us.read("CreditMemo", memo["Id"])["RemainingCredit"] == 100
    assert us.read("Invoice", invoice["Id"])["Balance"] == 100


def test_credit_memo_has_no_void(us: Books) -> None:
    """The API cannot void a credit memo (500); the bookkeeper can, and the invoice is open again [D-err, seen]."""
    invoice, memo = us.invoice("100.00"), us.memo("100.00")
    payment = us.post("/payment", application(memo, invoice, "100.00"))["Payment"]
    us.refused("/creditmemo", {"Id": memo["Id"], "SyncToken": "1"}, "500", operation="void")
    us.desk("void", {"entity": "CreditMemo", "id": memo["Id"]})
    assert us.read("CreditMemo", memo["Id"])["TotalAmt"] == 0
    assert us.read("Invoice", invoice["Id"])["Balance"] == 100
    assert us.read("Payment", payment["Id"])["Line"] == []


def test_applied_credit_memo_is_not_deleted(us: Books) -> None:
    """Delete is for unapplied credit memos (800 otherwise) [D-err]."""
    invoice, memo = us.invoice("100.00"), us.memo("100.00")
    payment = us.post("/payment", application(memo, invoice, "40.00"))["Payment"]
    us.refused("/creditmemo", {"Id": memo["Id"], "SyncToken": "1"}, "800", operation="delete")
    us.post("/payment", {"Id": payment["Id"], "SyncToken": "0"}, operation="delete")
    us.post("/creditmemo", {"Id": memo["Id"], "SyncToken": "2"}, operation="delete")


def test_credit_memo_keeps_at_least_what_is_used(us: Books) -> None:
    """A credit memo cannot shrink below what has been applied of it [seen]."""
    invoice, memo = us.invoice("100.00"), us.memo("100.00")
    us.post("/payment", application(memo, invoice, "60.00"))
    smaller = invoice_body("50.00", Id=memo["Id"], SyncToken="1")
    us.refused("/creditmemo", smaller, "6000")
    assert (
        us.post("/creditmemo", {**smaller, "Line": invoice_body("70.00")["Line"]})["CreditMemo"][
            "RemainingCredit"
        ]
        == 10
    )


def test_voiding_the_invoice_gives_the_credit_back(us: Books) -> None:
    """A credit that no longer settles anything returns to its credit memo [seen]."""
    invoice, memo = us.invoice("100.00"), us.memo("100.00")
    us.post("/payment", application(memo, invoice, "100.00"))
    us.post("/invoice", {"Id": invoice["Id"], "SyncToken": "1"}, operation="void")
    assert us.read("CreditMemo", memo["Id"])["RemainingCredit"] == 100


def test_credits_apply_themselves_by_preference(us: Books) -> None:
    """AutoApplyCredit: a new credit memo settles open invoices, oldest due first, by QuickBooks' own payments.

    [XSD, seen]
    """
    us.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    newer, older = us.invoice("50.00", DueDate="2026-05-01"), us.invoice("50.00", DueDate="2026-04-01")
    memo = us.memo("70.00")
    assert (memo["RemainingCredit"], memo["SyncToken"]) == (0, "0")
    assert us.read("Invoice", older["Id"])["Balance"] == 0
    assert us.read("Invoice", newer["Id"])["Balance"] == 30
    payments = us.query("SELECT * FROM Payment")["Payment"]
    assert {row["PrivateNote"] for row in payments} == {"Created by QB Online to link credits to charges."}
    assert {row["TotalAmt"] for row in payments} == {0}
    us.refused("/payment", application(memo, newer, "30.00"), "620")


def test_new_invoice_takes_waiting_credit_by_preference(us: Books) -> None:
    """AutoApplyCredit works the other way too: a new invoice uses open credit [XSD, seen]."""
    memo = us.memo("70.00")
    us.prefer("SalesFormsPrefs", AutoApplyCredit=True)
    invoice = us.invoice("50.00")
    assert (invoice["Balance"], len(invoice["LinkedTxn"])) == (0, 1)
    assert us.read("CreditMemo", memo["Id"])["RemainingCredit"] == 20


def test_refund_receipt(us: Books) -> None:
    """A refund receipt names the account the money leaves and does not touch receivables [XSD]."""
    us.refused("/refundreceipt", invoice_body("20.00"), "2020")
    refund = us.post("/refundreceipt", invoice_body("20.00", DepositToAccountRef={"value": "5"}))[
        "RefundReceipt"
    ]
    assert (refund["TotalAmt"], refund["Balance"]) == (20, 0)
    assert us.control("GET", f"/companies/{us.realm}/receivables")["total"] == 0
    us.post("/refundreceipt", {"Id": refund["Id"], "SyncToken": "0"}, operation="delete")
