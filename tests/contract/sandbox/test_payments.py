"""Payments: allocation, over-application, unapplied money, deposits, void, delete, parents, journal entries.

Source: https://developer.intuit.com/app/developer/qbo/docs/api/accounting/all-entities/payment
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.sandbox.books import Books, invoice_body, link, payment_body


def test_payment_settles_invoices(us: Books) -> None:
    """One payment over two invoices: balances fall, invoices link it and move on by one SyncToken [seen]."""
    one, two = us.invoice("100.00"), us.invoice("50.00")
    payment = us.pay("120.00", {one["Id"]: "100.00", two["Id"]: "20.00"})
    assert (payment["UnappliedAmt"], payment["DepositToAccountRef"]) == (0, {"value": "4"})
    settled, partly = us.read("Invoice", one["Id"]), us.read("Invoice", two["Id"])
    assert (settled["Balance"], settled["SyncToken"], partly["Balance"]) == (0, "1", 30)
    assert settled["LinkedTxn"] == [{"TxnId": payment["Id"], "TxnType": "Payment"}]


def test_lines_carry_open_balance_and_number(us: Books) -> None:
    """Reads add LineEx: transaction id, open balance before the payment, the invoice's number (seen live) [seen]."""
    invoice = us.invoice("100.00", DocNumber="P-1")
    payment = us.pay("40.00", {invoice["Id"]: "40.00"})
    values = {row["value"]["Name"]: row["value"]["Value"] for row in payment["Line"][0]["LineEx"]["any"]}
    assert values == {"txnId": invoice["Id"], "txnOpenBalance": "100.00", "txnReferenceNumber": "P-1"}


def test_money_without_lines_is_unapplied(us: Books) -> None:
    """A payment without Line, and the surplus of an overpayment, stay as UnappliedAmt (seen live) [seen]."""
    assert us.pay("75.00")["UnappliedAmt"] == 75
    invoice = us.invoice("100.00")
    assert us.pay("130.00", {invoice["Id"]: "100.00"})["UnappliedAmt"] == 30


def test_over_application_is_refused_or_dropped(us: Books) -> None:
    """More than the open balance on one line: refused; by switch the link is dropped silently (both reported).

    [D-err, switch]
    """
    invoice = us.invoice("100.00")
    us.refused("/payment", payment_body("150.00", {invoice["Id"]: "150.00"}), "6000")
    us.pay("100.00", {invoice["Id"]: "100.00"})
    us.refused("/payment", payment_body("10.00", {invoice["Id"]: "10.00"}), "620")
    us.switch(over_application="drop")
    dropped = us.pay("10.00", {invoice["Id"]: "10.00"})
    assert (dropped["Line"], dropped["UnappliedAmt"]) == ([], 10)


def test_lines_cannot_use_more_than_the_money(us: Books) -> None:
    """Lines that add up to more than TotalAmt are refused [D-pay]."""
    invoice = us.invoice("100.00")
    us.refused("/payment", payment_body("60.00", {invoice["Id"]: "80.00"}), "6000")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"CustomerRef": None}, "2020"),
        ({"TotalAmt": None}, "2020"),
        ({"TotalAmt": -1}, "2290"),
        ({"TotalAmt": 0}, "6000"),
        ({"PaymentRefNum": "x" * 22}, "2050"),
        ({"PaymentMethodRef": {"value": "99"}}, "2500"),
        ({"DepositToAccountRef": {"value": "99"}}, "2500"),
        ({"DepositToAccountRef": {"value": "1"}}, "6000"),
        ({"Line": [{"Amount": 5}]}, "2020"),
        ({"Line": [link("Invoice", "999", "5")]}, "2500"),
        ({"Line": [link("Estimate", "1", "5")]}, "620"),
        ({"Line": [link("Check", "1", "5")]}, "sandbox-not-modelled"),
    ],
)
def test_bad_payment_is_refused(us: Books, change: dict[str, object], code: str) -> None:
    """Missing, unknown and wrong parts each answer their code; nothing is created [D-err]."""
    us.refused("/payment", payment_body("5.00", **change), code)


def test_payment_for_another_customer_is_refused(us: Books) -> None:
    """The payment's customer must be the invoice's (620) [D-err, D-pay]."""
    invoice = us.invoice(CustomerRef={"value": "2"})
    us.refused("/payment", payment_body("5.00", {invoice["Id"]: "5.00"}), "620")


def test_parent_pays_for_sub_customer(us: Books) -> None:
    """A parent's payment settles a sub-customer's invoice when it is billed with the parent (by switch: always).

    [D-pay, switch]
    """
    child = {"DisplayName": "Branch", "Job": True, "ParentRef": {"value": "1"}, "BillWithParent": True}
    branch = us.post("/customer", child)["Customer"]
    invoice = us.invoice(CustomerRef={"value": branch["Id"]})
    us.pay("60.00", {invoice["Id"]: "60.00"})
    alone = us.post("/customer", {**child, "DisplayName": "Alone", "BillWithParent": False})["Customer"]
    invoice = us.invoice(CustomerRef={"value": alone["Id"]})
    us.refused("/payment", payment_body("60.00", {invoice["Id"]: "60.00"}), "620")
    us.switch(parent_payment_needs_bill_with_parent=False)
    us.pay("60.00", {invoice["Id"]: "60.00"})


def test_update_moves_the_allocation(us: Books) -> None:
    """Applying unapplied money later updates the same payment; taking a line away opens the invoice again [D-pay]."""
    one, two = us.invoice("100.00"), us.invoice("100.00")
    payment = us.pay("100.00", {one["Id"]: "100.00"})
    body = payment_body("100.00", {two["Id"]: "70.00"}, Id=payment["Id"], SyncToken="0", sparse=True)
    changed = us.post("/payment", body)["Payment"]
    assert (changed["UnappliedAmt"], changed["SyncToken"]) == (30, "1")
    assert (us.read("Invoice", one["Id"])["Balance"], us.read("Invoice", one["Id"])["LinkedTxn"]) == (100, [])
    assert us.read("Invoice", two["Id"])["Balance"] == 30


def test_sparse_payment_still_names_customer_and_total(us: Books) -> None:
    """A sparse edit without CustomerRef or TotalAmt is refused (seen live) [seen]."""
    payment = us.pay("10.00")
    us.refused(
        "/payment", {"Id": payment["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "x"}, "2020"
    )


def test_void_opens_the_invoices_again(us: Books) -> None:
    """operation=update&include=void: amounts at zero, lines gone, memo marked, invoices open [D-pay, seen]."""
    invoice = us.invoice("100.00")
    payment = us.pay("100.00", {invoice["Id"]: "100.00"})
    body = {"Id": payment["Id"], "SyncToken": "0", "sparse": True}
    voided = us.post("/payment", body, operation="update", include="void")["Payment"]
    assert (voided["TotalAmt"], voided["UnappliedAmt"], voided["Line"]) == (0, 0, [])
    assert voided["PrivateNote"] == "Voided"
    us.refused("/payment", {**body, "SyncToken": "1"}, "500", operation="void")
    assert us.read("Invoice", invoice["Id"])["Balance"] == 100


def test_void_may_need_the_full_object(us: Books) -> None:
    """By switch a void without customer and total is refused (docs and live behaviour differ) [D-pay, seen]."""
    us.switch(payment_void_needs_full_object=True)
    payment = us.pay("10.00")
    body = {"Id": payment["Id"], "SyncToken": "0", "sparse": True}
    us.refused("/payment", body, "2020", operation="update", include="void")
    whole = payment_body("10.00", Id=payment["Id"], SyncToken="0", sparse=True)
    us.post("/payment", whole, operation="update", include="void")


def test_deleted_payment_opens_the_invoices_again(us: Books) -> None:
    """Delete answers the short form and gives every allocation back [D-pay]."""
    invoice = us.invoice("100.00")
    payment = us.pay("100.00", {invoice["Id"]: "100.00"})
    us.post("/payment", {"Id": payment["Id"], "SyncToken": "0"}, operation="delete")
    assert us.read("Invoice", invoice["Id"])["Balance"] == 100


def test_deposited_payment_cannot_be_changed(us: Books) -> None:
    """A payment on a bank deposit links it and answers 6540 to edit, void and delete, until the deposit goes.

    [D-err, seen]
    """
    payment = us.pay("10.00")
    deposit = us.desk("make-deposit", {"payments": [payment["Id"]]})
    now = us.read("Payment", payment["Id"])
    assert now["LinkedTxn"] == [{"TxnId": deposit["Id"], "TxnType": "Deposit"}]
    edit = payment_body("10.00", Id=payment["Id"], SyncToken=now["SyncToken"], sparse=True, PrivateNote="x")
    us.refused("/payment", edit, "6540")
    us.refused("/payment", {"Id": payment["Id"], "SyncToken": now["SyncToken"]}, "6540", operation="delete")
    us.refused("/payment", edit, "6540", operation="update", include="void")
    us.switch(deposited_payment="refuse_money")
    us.post("/payment", edit)
    us.refused("/payment", {**edit, "SyncToken": "2", "TotalAmt": 11}, "6540")
    us.desk("undo-deposit", {"entity": "Deposit", "id": deposit["Id"]})
    us.post("/payment", {"Id": payment["Id"], "SyncToken": "3"}, operation="delete")


def test_payments_apply_themselves_by_preference(us: Books) -> None:
    """With 'automatically apply payments' a payment without lines settles the oldest invoices first [XSD]."""
    us.prefer("SalesFormsPrefs", AutoApplyPayments=True)
    newer, older = us.invoice("50.00", DueDate="2026-05-01"), us.invoice("50.00", DueDate="2026-04-01")
    us.pay("70.00")
    assert us.read("Invoice", older["Id"])["Balance"] == 0
    assert us.read("Invoice", newer["Id"])["Balance"] == 30


def test_expense_on_receivables_takes_a_payment_back(us: Books) -> None:
    """Money that went back is an expense on receivables for the customer; a payment settles it [D-pay]."""
    detail = {"AccountRef": {"value": "7"}}
    line = {
        "Amount": 80,
        "DetailType": "AccountBasedExpenseLineDetail",
        "AccountBasedExpenseLineDetail": detail,
    }
    body = {
        "PaymentType": "Cash",
        "AccountRef": {"value": "5"},
        "EntityRef": {"value": "1", "type": "Customer"},
        "Line": [line],
    }
    expense = us.post("/purchase", body)["Purchase"]
    assert expense["TotalAmt"] == 80
    payment = us.pay("100.00", Line=[link("Expense", expense["Id"], "80.00")])
    assert payment["UnappliedAmt"] == 20
    us.refused("/payment", payment_body("5.00", Line=[link("Expense", expense["Id"], "5.00")]), "620")
    balances = us.control("GET", f"/companies/{us.realm}/receivables")
    assert balances == {"customers": {"1": -20}, "total": -20}
    assert us.read("Purchase", expense["Id"]) == expense
    us.refused("/purchase", {**body, "AccountRef": {"value": "1"}}, "6000")


def test_journal_entry_on_receivables_can_be_paid(us: Books) -> None:
    """A journal entry that debits a customer is paid like an invoice, up to its amount [D-pay]."""
    ref = {"Type": "Customer", "EntityRef": {"value": "1"}}
    debit = {"PostingType": "Debit", "AccountRef": {"value": "7"}, "Entity": ref}
    credit = {"PostingType": "Credit", "AccountRef": {"value": "1"}}
    lines = [
        {"Amount": 80, "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}
        for detail in (debit, credit)
    ]
    entry = us.post("/journalentry", {"Line": lines})["JournalEntry"]
    payment = us.pay("100.00", Line=[link("JournalEntry", entry["Id"], "80.00")])
    assert payment["UnappliedAmt"] == 20
    us.refused("/payment", payment_body("5.00", Line=[link("JournalEntry", entry["Id"], "5.00")]), "620")
    balances = us.control("GET", f"/companies/{us.realm}/receivables")
    assert balances == {"customers": {"1": -20}, "total": -20}


def journal_lines(*rows: tuple[str, int, str, str]) -> list[dict[str, object]]:
    """Lines of a journal entry: posting type, amount, account, and the customer that they name (empty: none)."""
    lines: list[dict[str, object]] = []
    for posting, amount, account, customer in rows:
        detail: dict[str, object] = {"PostingType": posting, "AccountRef": {"value": account}}
        if customer:
            detail["Entity"] = {"Type": "Customer", "EntityRef": {"value": customer}}
        kind = "JournalEntryLineDetail"
        lines.append({"Amount": amount, "DetailType": kind, kind: detail})
    return lines


def test_only_receivables_are_owed(us: Books) -> None:
    """A customer named on the income line of a journal entry owes what its receivables line says, no more [XSD]."""
    lines = journal_lines(("Debit", 80, "7", "1"), ("Credit", 80, "1", "1"))
    entry = us.post("/journalentry", {"Line": lines})["JournalEntry"]
    owed = us.control("GET", f"/companies/{us.realm}/receivables")
    assert owed == {"customers": {"1": 80}, "total": 80}
    assert us.read("Customer", "1")["Balance"] == 80
    us.pay("80.00", Line=[link("JournalEntry", entry["Id"], "80.00")])
    assert us.control("GET", f"/companies/{us.realm}/receivables")["total"] == 0
    receivable = us.read("Account", "7")
    us.refused("/account", {**receivable, "AccountType": "Bank"}, "sandbox-not-modelled")


def test_each_customer_of_a_journal_entry_pays_its_own_share(us: Books) -> None:
    """What one customer pays of a journal entry leaves the other customer's share of it open [D-pay]."""
    lines = journal_lines(("Debit", 50, "7", "1"), ("Debit", 30, "7", "2"), ("Credit", 80, "1", ""))
    entry = us.post("/journalentry", {"Line": lines})["JournalEntry"]
    us.pay("50.00", Line=[link("JournalEntry", entry["Id"], "50.00")])
    second = {"CustomerRef": {"value": "2"}, "Line": [link("JournalEntry", entry["Id"], "30.00")]}
    assert us.pay("30.00", **second)["UnappliedAmt"] == 0
    us.refused("/payment", payment_body("5.00", **second), "620")
    assert us.control("GET", f"/companies/{us.realm}/receivables")["total"] == 0


def test_void_of_a_journal_entry_does_nothing(us: Books) -> None:
    """It is answered with 200 and an empty result, and the entry stays as it was [seen]."""
    credit = {"PostingType": "Credit", "AccountRef": {"value": "1"}}
    lines = [
        {"Amount": 80, "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}
        for detail in ({"PostingType": "Debit", "AccountRef": {"value": "5"}}, credit)
    ]
    entry = us.post("/journalentry", {"Line": lines})["JournalEntry"]
    answer = us.post("/journalentry", {"Id": entry["Id"], "SyncToken": "0"}, operation="void")
    assert answer["BatchItemResponse"] == []
    assert us.read("JournalEntry", entry["Id"]) == entry


def test_unbalanced_or_nameless_journal_entry_is_refused(us: Books) -> None:
    """Debits equal credits, and Accounts Receivable needs a customer [D-err, XSD]."""
    debit = {"PostingType": "Debit", "AccountRef": {"value": "7"}}
    credit = {"PostingType": "Credit", "AccountRef": {"value": "1"}}

    def entry(first: object, second: object) -> dict[str, object]:
        details = ((first, debit), (second, credit))
        kind = "JournalEntryLineDetail"
        return {"Line": [{"Amount": amount, "DetailType": kind, kind: detail} for amount, detail in details]}

    us.refused("/journalentry", entry(10, 10), "6000")
    debit["AccountRef"] = {"value": "5"}
    us.refused("/journalentry", entry(10, 9), "6000")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    total=st.decimals("0.01", "500", places=2),
    shares=st.lists(st.decimals("0.01", "200", places=2), max_size=3),
)
def test_no_cent_is_made_or_lost(us: Books, total: Decimal, shares: list[Decimal]) -> None:
    """Whatever is paid on whatever: TotalAmt = allocated + UnappliedAmt, or the payment is refused [ours]."""
    invoices = [us.post("/invoice", invoice_body("100.00"))["Invoice"] for _ in shares]
    allocation = {invoice["Id"]: str(share) for invoice, share in zip(invoices, shares, strict=True)}
    answer = us.send("/payment", payment_body(str(total), allocation))
    possible = sum(shares) <= total and all(share <= 100 for share in shares)
    assert (answer.status_code == 200) == possible
    if possible:
        payment = us.read("Payment", answer.json()["Payment"]["Id"])
        assert payment["UnappliedAmt"] == total - sum(shares)
    for invoice, share in zip(invoices, shares, strict=True):
        assert us.read("Invoice", invoice["Id"])["Balance"] == (100 - share if possible else 100)
