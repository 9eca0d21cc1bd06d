"""Documents through the client in a sandbox company; each test names the rule and where it comes from.

Sources in brackets: docs/sources.md.
"""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from services.quickbooks import batch, calls
from services.quickbooks.call import Call
from services.quickbooks.entities import (
    CreditMemo,
    Customer,
    Invoice,
    LinkedTxn,
    Payment,
    PaymentLine,
    Ref,
    SalesItemLine,
    SalesItemLineDetail,
    SubTotalLine,
)
from services.quickbooks.errors import Refused
from services.quickbooks.reply import Reply

DAY = datetime.date(2026, 5, 5)


def line(amount: str, qty: str = "1", item: str = "2") -> SalesItemLine:
    """A line without tax."""
    return SalesItemLine(
        amount=Decimal(amount),
        description="Work",
        sales_item_line_detail=SalesItemLineDetail(
            item_ref=Ref(value=item),
            qty=Decimal(qty),
            unit_price=Decimal(amount) / Decimal(qty),
            tax_code_ref=Ref(value="NON"),
        ),
    )


def billed(*amounts: str, customer: str = "1", requestid: str = "inv-1", **fields: object) -> Call:
    """The call that makes an invoice of so many lines."""
    invoice = Invoice(
        customer_ref=Ref(value=customer), txn_date=DAY, line=[line(amount) for amount in amounts], **fields
    )
    return calls.create("Invoice", invoice, requestid=requestid)


def applied(total: str, *links: tuple[str, str, str], requestid: str = "pay-1") -> Call:
    """The call that makes a payment of so many lines (amount, kind, id)."""
    payment = Payment(
        customer_ref=Ref(value="1"),
        total_amt=Decimal(total),
        txn_date=DAY,
        line=[
            PaymentLine(amount=Decimal(amount), linked_txn=[LinkedTxn(txn_id=id_, txn_type=kind)])
            for amount, kind, id_ in links
        ],
    )
    return calls.create("Payment", payment, requestid=requestid)


def refused(books, call: Call) -> Refused:
    """Make a call that must be refused."""
    with pytest.raises(Refused) as caught:
        books.client.execute(call)
    assert caught.value.intuit_tid
    return caught.value


def test_a_created_invoice_comes_back_whole(books) -> None:
    """The reply of a create is the full object, so no read follows it [B-meter]; money is exact."""
    made = books.client.execute(billed("33.33", "0.10", doc_number="1042")).one(Invoice)
    assert (made.id != "", made.sync_token, made.doc_number) == (True, "0", "1042")
    assert (made.total_amt, made.balance) == (Decimal("33.43"), Decimal("33.43"))
    assert made.meta_data is not None
    assert made.meta_data.create_time is not None
    assert made.meta_data.create_time.utcoffset() is not None
    assert isinstance((made.line or [])[-1], SubTotalLine), "QuickBooks appends a subtotal"


def test_the_same_request_id_makes_one_document(books) -> None:
    """A repeated requestid answers the original reply and makes nothing [D-field, B-field]."""
    call = billed("10.00")
    first, again = books.client.execute(call), books.client.execute(Call.from_json(call.to_json()))
    assert first.one(Invoice).id == again.one(Invoice).id
    assert len(books.objects("Invoice")) == 1


def test_a_replay_after_a_delete_answers_a_dead_id(books) -> None:
    """The original reply comes back even when the document is gone [seen]: hence generations."""
    call = billed("10.00")
    made = books.client.execute(call).one(Invoice)
    books.client.execute(calls.delete("Invoice", id=made.id, sync_token=made.sync_token, requestid="del-1"))
    assert books.client.execute(call).one(Invoice).id == made.id
    assert refused(books, calls.read("Invoice", made.id)).fault.code == "610"


def test_a_sparse_update_leaves_the_rest_alone(books) -> None:
    """What a sparse update leaves out stays, lines too [D-rest]."""
    made = books.client.execute(billed("10.00", "5.00", private_note="kept", doc_number="1042")).one(Invoice)
    changed = books.client.execute(
        calls.update_sparse(
            "Invoice", {"DueDate": "2026-07-01"}, id=made.id, sync_token=made.sync_token, requestid="upd-1"
        )
    ).one(Invoice)
    assert changed.due_date == datetime.date(2026, 7, 1)
    assert (changed.private_note, changed.doc_number, changed.total_amt) == ("kept", "1042", Decimal("15.00"))
    assert changed.line == made.line
    assert changed.sync_token != made.sync_token


def test_a_line_added_sparsely_keeps_the_others(books) -> None:
    """Lines in a sparse update replace all lines [D-rest, seen], so all are sent, and all stay."""
    made = books.client.execute(billed("10.00", "5.00")).one(Invoice)
    longer = Invoice(line=[*(made.line or []), line("2.50")])
    changed = books.client.execute(
        calls.update_sparse(
            "Invoice", longer, id=made.id, sync_token=made.sync_token, requestid="upd-1", current=made
        )
    ).one(Invoice)
    kept = [one.id for one in made.line or [] if one.id]
    assert [one.id for one in changed.line or [] if one.id][: len(kept)] == kept
    assert changed.total_amt == Decimal("17.50")


def test_a_full_update_of_what_was_read_changes_one_field(books) -> None:
    """A full update empties what it leaves out [D-rest]: sent back as read, nothing is lost."""
    made = books.client.execute(billed("10.00", private_note="before", doc_number="1042")).one(Invoice)
    before = books.client.execute(calls.read("Invoice", made.id))
    invoice = before.one(Invoice)
    invoice.private_note = "after"
    books.client.execute(calls.update_full("Invoice", invoice, requestid="upd-1"))
    after = books.client.execute(calls.read("Invoice", made.id))
    moving = {"SyncToken", "MetaData", "PrivateNote"}
    assert {k: v for k, v in after.data["Invoice"].items() if k not in moving} == {
        k: v for k, v in before.data["Invoice"].items() if k not in moving
    }
    assert after.one(Invoice).private_note == "after"


def test_a_stale_sync_token_is_refused(books) -> None:
    """Someone changed the object meanwhile: 5010, to be read again and decided anew [D-err]."""
    made = books.client.execute(billed("10.00")).one(Invoice)
    books.bookkeeper("edit", entity="Invoice", id=made.id, changes={"PrivateNote": "by hand"})
    update = calls.update_sparse(
        "Invoice", {"DueDate": "2026-07-01"}, id=made.id, sync_token=made.sync_token, requestid="upd-1"
    )
    fault = refused(books, update).fault
    assert (fault.code, fault.kind) == ("5010", "transient")


def test_a_voided_invoice_stays_with_nothing_on_it(books) -> None:
    """Void leaves a live object of 0.00 with a note [D-inv]."""
    made = books.client.execute(billed("10.00")).one(Invoice)
    books.client.execute(calls.void("Invoice", id=made.id, sync_token=made.sync_token, requestid="void-1"))
    read = books.client.execute(calls.read("Invoice", made.id)).one(Invoice)
    assert (read.total_amt, read.balance) == (0, 0)
    assert (read.private_note or "").startswith("Voided")


def test_the_reply_to_a_void_may_show_the_old_amounts(books) -> None:
    """Only a later read shows a void for certain [seen]."""
    books.switch(void_reply_shows_old_amounts=True)
    made = books.client.execute(billed("10.00")).one(Invoice)
    void = calls.void("Invoice", id=made.id, sync_token=made.sync_token, requestid="void-1")
    assert books.client.execute(void).one(Invoice).total_amt == Decimal("10.00")
    assert books.client.execute(calls.read("Invoice", made.id)).one(Invoice).total_amt == 0


def test_a_deleted_invoice_is_gone(books) -> None:
    """Delete answers a stub; reading it is 610 [D-inv]."""
    made = books.client.execute(billed("10.00")).one(Invoice)
    gone = books.client.execute(
        calls.delete("Invoice", id=made.id, sync_token=made.sync_token, requestid="del-1")
    ).one(Invoice)
    assert (gone.id, gone.status) == (made.id, "Deleted")
    fault = refused(books, calls.read("Invoice", made.id)).fault
    assert (fault.code, fault.kind) == ("610", "needs_person")


def test_a_credit_is_applied_by_a_payment_of_nothing(books) -> None:
    """Payment of 0 with a line for the invoice and one for the memo [seen]."""
    invoice = books.client.execute(billed("100.00")).one(Invoice)
    memo = books.client.execute(
        calls.create(
            "CreditMemo",
            CreditMemo(customer_ref=Ref(value="1"), txn_date=DAY, line=[line("60.00")]),
            requestid="cm-1",
        )
    ).one(CreditMemo)
    assert memo.remaining_credit == Decimal("60.00")
    application = books.client.execute(
        applied("0", ("60.00", "Invoice", invoice.id), ("60.00", "CreditMemo", memo.id))
    ).one(Payment)
    assert (application.total_amt, application.unapplied_amt) == (0, 0)
    assert books.client.execute(calls.read("Invoice", invoice.id)).one(Invoice).balance == Decimal("40.00")
    after = books.client.execute(calls.read("CreditMemo", memo.id)).one(CreditMemo)
    assert after.remaining_credit == 0
    assert not after.linked_txn, "a memo does not say where it went [nango CM 73]"


def test_an_overpayment_stays_unapplied(books) -> None:
    """What no line takes is UnappliedAmt; the line's notes name the invoice [seen]."""
    invoice = books.client.execute(billed("100.00", doc_number="1042")).one(Invoice)
    paid = books.client.execute(applied("150.00", ("100.00", "Invoice", invoice.id))).one(Payment)
    read = books.client.execute(calls.read("Payment", paid.id)).one(Payment)
    assert read.unapplied_amt == Decimal("50.00")
    assert read.line is not None
    assert read.line[0].line_ex is not None
    assert read.line[0].line_ex.values["txnReferenceNumber"] == "1042"


def test_a_payment_is_spread_further_by_sparse_update(books) -> None:
    """Adding an invoice to a payment keeps the one it pays; customer and total are named [seen]."""
    one = books.client.execute(billed("100.00", requestid="i1", doc_number="1")).one(Invoice)
    two = books.client.execute(billed("50.00", requestid="i2", doc_number="2")).one(Invoice)
    paid = books.client.execute(applied("150.00", ("100.00", "Invoice", one.id))).one(Payment)
    more = Payment(
        customer_ref=Ref(value="1"),
        total_amt=Decimal("150.00"),
        line=[
            *(paid.line or []),
            PaymentLine(amount=Decimal("50.00"), linked_txn=[LinkedTxn(txn_id=two.id, txn_type="Invoice")]),
        ],
    )
    books.client.execute(
        calls.update_sparse(
            "Payment", more, id=paid.id, sync_token=paid.sync_token, requestid="upd-1", current=paid
        )
    )
    for id_ in (one.id, two.id):
        assert books.client.execute(calls.read("Invoice", id_)).one(Invoice).balance == 0


@pytest.mark.parametrize("whole", [False, True])
def test_a_payment_is_voided_whichever_way_quickbooks_wants_it(books, whole: bool) -> None:
    """Documented as sparse, refused live without the full object [D-pay, seen]: both accept ours."""
    books.switch(payment_void_needs_full_object=whole)
    invoice = books.client.execute(billed("100.00")).one(Invoice)
    paid = books.client.execute(applied("100.00", ("100.00", "Invoice", invoice.id))).one(Payment)
    books.client.execute(
        calls.void("Payment", id=paid.id, sync_token=paid.sync_token, requestid="void-1", current=paid)
    )
    assert books.client.execute(calls.read("Payment", paid.id)).one(Payment).total_amt == 0
    assert books.client.execute(calls.read("Invoice", invoice.id)).one(Invoice).balance == Decimal("100.00")


def test_a_deposited_payment_cannot_be_changed(books) -> None:
    """6540 needs a person: the deposit comes first [D-err]; the payment shows its deposit [seen]."""
    invoice = books.client.execute(billed("100.00")).one(Invoice)
    paid = books.client.execute(applied("100.00", ("100.00", "Invoice", invoice.id))).one(Payment)
    books.bookkeeper("make-deposit", payments=[paid.id])
    read = books.client.execute(calls.read("Payment", paid.id)).one(Payment)
    assert [link.txn_type for link in read.linked_txn or []] == ["Deposit"]
    fault = refused(
        books, calls.delete("Payment", id=paid.id, sync_token=read.sync_token, requestid="del-1")
    ).fault
    assert (fault.code, fault.kind) == ("6540", "needs_person")


def test_a_taken_name_is_refused_even_when_inactive(books) -> None:
    """DisplayName is unique over inactive names too: 6240 [D-cust]."""
    made = books.client.execute(
        calls.create("Customer", Customer(display_name="O'Brien & Söhne"), requestid="c-1")
    ).one(Customer)
    books.client.execute(
        calls.update_sparse(
            "Customer", {"Active": False}, id=made.id, sync_token=made.sync_token, requestid="c-2"
        )
    )
    again = calls.create("Customer", Customer(display_name="O'Brien & Söhne"), requestid="c-3")
    fault = refused(books, again).fault
    assert (fault.code, fault.kind) == ("6240", "needs_person")


def test_a_taken_number_is_refused_unless_asked_for(books) -> None:
    """6140 with custom numbers and the warning on; include=allowduplicatedocnum takes it [D-common, D-inv]."""
    books.client.execute(billed("10.00", doc_number="1042", requestid="i1"))
    second = Invoice(customer_ref=Ref(value="1"), txn_date=DAY, doc_number="1042", line=[line("5.00")])
    fault = refused(books, calls.create("Invoice", second, requestid="i2")).fault
    assert (fault.code, fault.kind) == ("6140", "needs_person")
    books.client.execute(calls.create("Invoice", second, requestid="i3", allow_duplicate_number=True))
    assert [one["DocNumber"] for one in books.objects("Invoice")] == ["1042", "1042"]


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({"DocNumber": "1234567890123456789012"}, {"2050"}),
        ({"CustomerRef": {"value": "9999"}}, {"2500"}),
        ({"Line": []}, {"2020", "2250"}),
    ],
)
def test_refused_fields_name_their_code(books, fields: dict, codes: set[str]) -> None:
    """Length 2050, reference 2500, no lines 2250 (one page says 2020) [D-err, D-common]; nothing is made."""
    wire = Invoice(customer_ref=Ref(value="1"), txn_date=DAY, line=[line("10.00")]).to_wire()
    fault = refused(books, calls.create("Invoice", {**wire, **fields}, requestid="i1")).fault
    assert fault.code in codes
    assert books.objects("Invoice") == []


def test_tax_mode_is_refused_in_the_us(books) -> None:
    """GlobalTaxCalculation must not be sent for a US company [D-inv]."""
    wrong = billed("10.00", global_tax_calculation="TaxExcluded")
    assert refused(books, wrong).status == 400
    assert books.objects("Invoice") == []


def test_wrong_arithmetic_is_our_bug(books) -> None:
    """Amount must be Qty times UnitPrice: 6070 [D-err]."""
    wrong = line("10.00")
    wrong.amount = Decimal("10.01")
    invoice = Invoice(customer_ref=Ref(value="1"), txn_date=DAY, line=[wrong])
    fault = refused(books, calls.create("Invoice", invoice, requestid="i1")).fault
    assert (fault.code, fault.kind) == ("6070", "bug")


def test_seven_decimals_of_a_unit_price_survive(books) -> None:
    """UnitPrice has up to 7 decimals, the amount 2 [D-inv]; the digits come back."""
    detail = SalesItemLineDetail(
        item_ref=Ref(value="2"),
        qty=Decimal(3),
        unit_price=Decimal("33.3333333"),
        tax_code_ref=Ref(value="NON"),
    )
    third = SalesItemLine(amount=Decimal("100.00"), sales_item_line_detail=detail)
    made = books.client.execute(
        calls.create(
            "Invoice", Invoice(customer_ref=Ref(value="1"), txn_date=DAY, line=[third]), requestid="i1"
        )
    ).one(Invoice)
    first = (made.line or [])[0]
    assert isinstance(first, SalesItemLine)
    assert str(first.sales_item_line_detail.unit_price) == "33.3333333"


def test_closed_books_need_a_person(books) -> None:
    """A date in a closed period is 6200 or 6210, same handling [D-err, D-common]."""
    books.bookkeeper("close-books", through="2026-06-30")
    for code in ("6200", "6210"):
        books.switch(closed_period_code=code)
        fault = refused(books, billed("10.00", requestid=f"i-{code}")).fault
        assert (fault.code, fault.kind) == (code, "needs_person")


def test_a_british_invoice_carries_its_tax(british) -> None:
    """Outside the US a code on every line and GlobalTaxCalculation [D-inv]; tax comes back exact."""
    made = british.client.execute(
        calls.create(
            "Invoice",
            {
                "CustomerRef": {"value": "1"},
                "TxnDate": "2026-05-05",
                "GlobalTaxCalculation": "TaxExcluded",
                "Line": [
                    {
                        "Amount": Decimal("99.99"),
                        "DetailType": "SalesItemLineDetail",
                        "SalesItemLineDetail": {
                            "ItemRef": {"value": "2"},
                            "Qty": Decimal(1),
                            "UnitPrice": Decimal("99.99"),
                            "TaxCodeRef": {"value": "2"},
                        },
                    }
                ],
            },
            requestid="i1",
        )
    ).one(Invoice)
    assert made.txn_tax_detail is not None
    assert (made.txn_tax_detail.total_tax, made.total_amt) == (Decimal("20.00"), Decimal("119.99"))


def test_a_currency_without_decimals_stays_without(multicurrency) -> None:
    """Yen have no cents (D36): the amount goes and comes as whole yen, with its rate [ours]."""
    customer = multicurrency.client.execute(
        calls.create(
            "Customer", Customer(display_name="Tōkyō Denki", currency_ref=Ref(value="JPY")), requestid="c-1"
        )
    ).one(Customer)
    made = multicurrency.client.execute(
        billed(
            "12000",
            customer=customer.id,
            currency_ref=Ref(value="JPY"),
            exchange_rate=Decimal("0.0067"),
        )
    ).one(Invoice)
    assert (made.total_amt, made.exchange_rate) == (12000, Decimal("0.0067"))
    assert made.currency_ref is not None
    assert made.currency_ref.value == "JPY"


def test_a_batch_settles_each_item_alone(books) -> None:
    """One refused item leaves the others made [D-rest]; the same batch again makes nothing [D-field]."""
    items = {
        "1": billed("10.00", requestid="a", doc_number="1"),
        "2": billed("10.00", requestid="b", doc_number="2", customer="9999"),
        "3": calls.create("Customer", Customer(display_name="New client"), requestid="c"),
    }
    call = calls.batch(items, requestid="batch-1")
    for _ in range(2):
        made, failed, customer = batch.outcomes(items, books.client.execute(call)).values()
        assert isinstance(made, Reply)
        assert made.one(Invoice).doc_number == "1"
        assert isinstance(failed, Refused)
        assert failed.fault.code == "2500"
        assert isinstance(customer, Reply)
        assert customer.one(Customer).display_name == "New client"
    assert len(books.objects("Invoice")) == 1


def test_an_invoice_is_fetched_as_pdf(books) -> None:
    """GET /invoice/{id}/pdf [D-inv]."""
    made = books.client.execute(billed("10.00")).one(Invoice)
    assert books.client.execute(calls.pdf_link("Invoice", made.id)).content.startswith(b"%PDF")
