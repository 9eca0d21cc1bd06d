"""Calls: the exact bytes, storable, and nothing that would lose data at QuickBooks."""

from __future__ import annotations

import dataclasses
import datetime
import json
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks import body, calls
from services.quickbooks.call import Call
from services.quickbooks.entities import (
    Customer,
    Invoice,
    LinkedTxn,
    Payment,
    PaymentLine,
    Ref,
    SalesItemLine,
    SalesItemLineDetail,
)
from services.quickbooks.errors import InvalidCall, QuickBooksError
from services.quickbooks.query import select

NOON = datetime.datetime(2026, 5, 5, 12, 0, 0, 809_000, tzinfo=datetime.UTC)

READ_INVOICE = body.load(
    """{"Id":"71","SyncToken":"3","domain":"QBO","sparse":false,"status":"Synchronized","DocNumber":"1042",
    "TxnDate":"2026-05-05","CustomerRef":{"value":"7","name":"O'Brien"},"TotalAmt":110.00,"Balance":10.00,
    "HomeBalance":10.00,"FreeFormAddress":true,"NewIn2027":{"Rate":1.10,"Deep":[{"x":null}]},
    "MetaData":{"CreateTime":"2026-05-05T03:11:46-07:00","LastUpdatedTime":"2026-05-05T03:11:46-07:00"},
    "LinkedTxn":[{"TxnId":"128","TxnType":"Payment"},{"TxnId":"9","TxnType":"Estimate"}],
    "Line":[{"Id":"1","LineNum":1,"Amount":100.00,"DetailType":"SalesItemLineDetail","Extra":"kept",
      "SalesItemLineDetail":{"ItemRef":{"value":"1"},"Qty":3,"UnitPrice":33.3333333}},
     {"Id":"2","LineNum":2,"Description":"text","DetailType":"DescriptionOnly","DescriptionLineDetail":{}},
     {"Amount":100.00,"DetailType":"SubTotalLineDetail","SubTotalLineDetail":{}}],
    "TxnTaxDetail":{"TotalTax":10.00,"TaxLine":[{"Amount":10.00,"DetailType":"TaxLineDetail",
      "TaxLineDetail":{"TaxRateRef":{"value":"3"},"TaxPercent":10,"NetAmountTaxable":100.00}}]}}"""
)

READ_PAYMENT = body.load(
    """{"Id":"128","SyncToken":"1","CustomerRef":{"value":"7"},"TotalAmt":150.00,"UnappliedAmt":50.00,
    "MetaData":{},"LinkedTxn":[{"TxnId":"130","TxnType":"Deposit"}],
    "Line":[{"Amount":100.00,"LinkedTxn":[{"TxnId":"71","TxnType":"Invoice"}],
      "LineEx":{"any":[{"name":"{http://schema.intuit.com/finance/v3}NameValue","value":{"Name":"txnId",
      "Value":"71"}}]}}]}"""
)


def sent(call: Call) -> dict:
    """Read a call's body as QuickBooks would."""
    return json.loads(call.body, parse_float=Decimal)


def line(amount: str, id_: str | None = None) -> SalesItemLine:
    """Make a line of one item."""
    detail = SalesItemLineDetail(item_ref=Ref(value="1"), qty=Decimal(1), unit_price=Decimal(amount))
    return SalesItemLine(id=id_, amount=Decimal(amount), sales_item_line_detail=detail)


def test_a_create_is_one_post_with_its_request_id() -> None:
    """POST /invoice, minorversion always, the request id in the address, exact digits in the body."""
    call = calls.create(
        "Invoice", Invoice(customer_ref=Ref(value="7"), line=[line("10.50")]), requestid="r-1"
    )
    assert (call.method, call.path, call.operation, call.entity) == ("POST", "invoice", "create", "Invoice")
    assert call.params == (("requestid", "r-1"), ("minorversion", "75"))
    assert call.body == (
        '{"CustomerRef":{"value":"7"},"Line":[{"Amount":10.50,"DetailType":"SalesItemLineDetail",'
        '"SalesItemLineDetail":{"ItemRef":{"value":"1"},"Qty":1,"UnitPrice":10.50}}]}'
    )
    assert not call.metered, "writes are free"


def test_a_duplicate_number_is_taken_only_when_asked() -> None:
    """Overriding 6140 is a parameter of the address, never a default."""
    plain = calls.create("Invoice", {"DocNumber": "1"}, requestid="r")
    allowed = calls.create("Invoice", {"DocNumber": "1"}, requestid="r", allow_duplicate_number=True)
    assert "include" not in dict(plain.params)
    assert dict(allowed.params)["include"] == "allowduplicatedocnum"


@given(
    fields=st.dictionaries(st.sampled_from(["DocNumber", "PrivateNote", "DisplayName"]), st.text()),
    requestid=st.from_regex(r"[!-~]{1,50}", fullmatch=True),
)
def test_a_stored_call_is_the_same_call(fields: dict[str, str], requestid: str) -> None:
    """Written down as JSON and read again, a call has the same bytes: what replays are made of."""
    call = calls.create("Customer", fields, requestid=requestid)
    again = Call.from_json(json.loads(json.dumps(call.to_json())))
    assert again == call
    assert again.target == call.target


def test_a_call_cannot_be_changed() -> None:
    """What is written down stays what it was."""
    call = calls.read("Invoice", "71")
    with pytest.raises(dataclasses.FrozenInstanceError):
        call.body = "other"  # type: ignore[misc]  # that is the point


def test_reads_are_addressed_and_metered() -> None:
    """Read, PDF, query, count and change feed are GETs, and each costs a metered read."""
    since = NOON.astimezone(datetime.timezone(-datetime.timedelta(hours=7)))
    asked = [
        calls.read("Invoice", "71"),
        calls.read("Preferences"),
        calls.read("CompanyInfo", "9341"),
        calls.pdf_link("Invoice", "71"),
        calls.query(select("Invoice")),
        calls.count(select("Invoice")),
        calls.changes(["Invoice", "Payment"], since),
    ]
    assert [call.path for call in asked] == [
        "invoice/71",
        "preferences",
        "companyinfo/9341",
        "invoice/71/pdf",
        "query",
        "query",
        "cdc",
    ]
    assert all(call.method == "GET" and call.reads == 1 and call.metered for call in asked)
    assert all(dict(call.params)["minorversion"] == "75" for call in asked)


def test_the_change_feed_is_asked_in_utc_from_the_full_second() -> None:
    """A time with another offset is the same instant; changes within the second are asked for again."""
    call = calls.changes(["Invoice"], NOON.astimezone(datetime.timezone(datetime.timedelta(hours=2))))
    assert dict(call.params)["changedSince"] == "2026-05-05T12:00:00Z"


def test_an_id_is_opaque_in_an_address() -> None:
    """Whatever characters an id has, it stays one piece of the path."""
    assert calls.read("Invoice", "7/1?x=&#").path == "invoice/7%2F1%3Fx%3D%26%23"


def test_a_query_text_survives_the_address() -> None:
    """Quotes, ampersands, plus signs and accents in a name arrive as they are."""
    name = "O'Brien & Söhne + 100% #1"
    call = calls.query(select("Customer").where("DisplayName", "=", name))
    address = dict(parse_qsl(call.target.partition("?")[2]))
    assert address["query"] == dict(call.params)["query"]
    assert "+" not in call.target


def test_a_long_query_goes_in_the_body() -> None:
    """Addresses have limits: a hundred long values are posted as text instead."""
    many = select("Customer").where(
        "DisplayName", "IN", [f"Client number {i} of the list" for i in range(100)]
    )
    call = calls.query(many)
    assert (call.method, call.path, call.body) == ("POST", "query", many.text)
    assert call.metered, "a posted query is a read all the same"
    assert "query" not in dict(call.params)


def test_a_full_update_sends_back_all_it_does_not_know() -> None:
    """Unknown fields go back untouched; what QuickBooks only shows does not; nothing else is lost."""
    invoice = Invoice.model_validate(READ_INVOICE)
    invoice.private_note = "changed"
    wire = sent(calls.update_full("Invoice", invoice, requestid="r"))
    assert wire == {
        "Id": "71",
        "SyncToken": "3",
        "DocNumber": "1042",
        "TxnDate": "2026-05-05",
        "PrivateNote": "changed",
        "CustomerRef": {"value": "7", "name": "O'Brien"},
        "FreeFormAddress": True,
        "NewIn2027": {"Rate": Decimal("1.10"), "Deep": [{"x": None}]},
        "LinkedTxn": [{"TxnId": "9", "TxnType": "Estimate"}],
        "Line": READ_INVOICE["Line"][:2],
        "TxnTaxDetail": READ_INVOICE["TxnTaxDetail"],
    }
    assert '"Amount":100.00' in calls.update_full("Invoice", invoice, requestid="r").body


def test_a_payments_full_update_leaves_out_what_quickbooks_noted() -> None:
    """LineEx and UnappliedAmt are QuickBooks' own; TotalAmt is the payment's and stays."""
    wire = sent(calls.update_full("Payment", READ_PAYMENT, requestid="r"))
    assert wire["Line"] == [
        {"Amount": Decimal("100.00"), "LinkedTxn": [{"TxnId": "71", "TxnType": "Invoice"}]}
    ]
    assert wire["TotalAmt"] == 150
    assert "UnappliedAmt" not in wire
    assert wire["LinkedTxn"] == [{"TxnId": "130", "TxnType": "Deposit"}]


def test_a_sparse_update_sends_only_what_changes() -> None:
    """Identity, the sparse mark and the changed field; everything else stays as it is there."""
    call = calls.update_sparse("Invoice", {"DueDate": "2026-06-01"}, id="71", sync_token="3", requestid="r")
    assert sent(call) == {"Id": "71", "SyncToken": "3", "sparse": True, "DueDate": "2026-06-01"}


def test_a_sparse_update_from_a_typed_object_sends_only_what_is_set() -> None:
    """A typed object with one field set changes one field; fields not set are not emptied."""
    call = calls.update_sparse("Customer", Customer(active=False), id="7", sync_token="0", requestid="r")
    assert sent(call) == {"Id": "7", "SyncToken": "0", "sparse": True, "Active": False}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"DueDate": None}, r"Invoice\.DueDate"),
        ({"PrivateNote": ""}, r"Invoice\.PrivateNote"),
        ({"BillAddr": {"Line1": "x", "City": None}}, r"Invoice\.BillAddr\.City"),
        ({"CustomField": [{"Name": None}]}, r"Invoice\.CustomField\[0\]\.Name"),
    ],
)
def test_a_sparse_update_cannot_empty_a_field(changes: dict, place: str) -> None:
    """A null or an empty text in a sparse update would wipe data there: refused, with the place named."""
    with pytest.raises(InvalidCall, match=place):
        calls.update_sparse("Invoice", changes, id="71", sync_token="3", requestid="r")


def test_lines_without_the_present_object_are_refused() -> None:
    """Lines replace all lines, so nobody may send some without knowing what is there."""
    with pytest.raises(InvalidCall, match="replace all lines"):
        calls.update_sparse("Invoice", {"Line": []}, id="71", sync_token="3", requestid="r")


def test_a_line_cannot_be_dropped_by_forgetting_it() -> None:
    """A line that is there and not in the update is named; QuickBooks' own subtotal is none."""
    only_first = {"Line": READ_INVOICE["Line"][:1]}
    with pytest.raises(InvalidCall, match=r"Invoice\.Line: 2 would be lost"):
        calls.update_sparse(
            "Invoice", only_first, id="71", sync_token="3", requestid="r", current=READ_INVOICE
        )
    complete = {"Line": [*READ_INVOICE["Line"], line("5.00").to_wire()]}
    call = calls.update_sparse(
        "Invoice", complete, id="71", sync_token="3", requestid="r", current=READ_INVOICE
    )
    assert [one.get("Id") for one in sent(call)["Line"]] == ["1", "2", None]


def test_a_line_is_dropped_when_named() -> None:
    """Dropping a line is possible, on purpose."""
    call = calls.update_sparse(
        "Invoice",
        {"Line": READ_INVOICE["Line"][:1]},
        id="71",
        sync_token="3",
        requestid="r",
        current=Invoice.model_validate(READ_INVOICE),
        dropped_lines=["2"],
    )
    assert [one["Id"] for one in sent(call)["Line"]] == ["1"]


def test_a_payments_lines_are_told_apart_by_what_they_pay() -> None:
    """A payment's lines have no ids: adding an invoice must keep the one that is paid already."""
    new = PaymentLine(amount=Decimal("50.00"), linked_txn=[LinkedTxn(txn_id="96", txn_type="Invoice")])
    fixed = {"CustomerRef": {"value": "7"}, "TotalAmt": Decimal("150.00")}
    with pytest.raises(InvalidCall, match="Invoice:71 would be lost"):
        calls.update_sparse(
            "Payment",
            {**fixed, "Line": [new.to_wire()]},
            id="128",
            sync_token="1",
            requestid="r",
            current=READ_PAYMENT,
        )
    call = calls.update_sparse(
        "Payment",
        {**fixed, "Line": [*READ_PAYMENT["Line"], new.to_wire()]},
        id="128",
        sync_token="1",
        requestid="r",
        current=Payment.model_validate(READ_PAYMENT),
    )
    assert [one["LinkedTxn"][0]["TxnId"] for one in sent(call)["Line"]] == ["71", "96"]
    assert "LineEx" not in call.body


def test_a_sparse_payment_names_customer_and_total() -> None:
    """QuickBooks refuses a sparse Payment without them, although they do not change."""
    with pytest.raises(InvalidCall, match=r"Payment\.CustomerRef"):
        calls.update_sparse("Payment", {"PrivateNote": "x"}, id="1", sync_token="0", requestid="r")


def test_an_invoice_is_voided_by_identity_alone() -> None:
    """POST /invoice?operation=void with Id and SyncToken."""
    call = calls.void("Invoice", id="71", sync_token="3", requestid="r")
    assert dict(call.params)["operation"] == "void"
    assert sent(call) == {"Id": "71", "SyncToken": "3"}


def test_a_payment_is_voided_whole() -> None:
    """Documented as sparse, refused live without the rest: the whole object goes, marked sparse."""
    call = calls.void("Payment", id="128", sync_token="1", requestid="r", current=READ_PAYMENT)
    assert dict(call.params)["operation"] == "update"
    assert dict(call.params)["include"] == "void"
    wire = sent(call)
    assert (wire["Id"], wire["SyncToken"], wire["sparse"], wire["TotalAmt"]) == ("128", "1", True, 150)
    with pytest.raises(InvalidCall, match="current"):
        calls.void("Payment", id="128", sync_token="1", requestid="r")


def test_a_delete_is_a_post_by_identity() -> None:
    """POST /creditmemo?operation=delete with Id and SyncToken."""
    call = calls.delete("CreditMemo", id="73", sync_token="1", requestid="r")
    assert (call.method, call.path, dict(call.params)["operation"]) == ("POST", "creditmemo", "delete")
    assert sent(call) == {"Id": "73", "SyncToken": "1"}


def test_a_batch_carries_its_items_word_for_word() -> None:
    """Numbers keep their digits inside a batch, items keep their names, one request id covers them all."""
    items = {
        "1": calls.create("Invoice", {"Line": [{"Amount": Decimal("10.50")}]}, requestid="a"),
        "2": calls.update_sparse("Customer", {"Active": False}, id="7", sync_token="0", requestid="b"),
        "7": calls.delete("Payment", id="9", sync_token="2", requestid="c"),
        "8": calls.query(select("Customer").where("DisplayName", "=", "O'Brien")),
    }
    call = calls.batch(items, requestid="batch-1")
    assert '"Amount":10.50' in call.body
    assert dict(call.params)["requestid"] == "batch-1"
    assert call.reads == 4
    one, two, three, four = sent(call)["BatchItemRequest"]
    assert (one["bId"], one["operation"], "Invoice" in one) == ("1", "create", True)
    assert (two["bId"], two["operation"], two["Customer"]["sparse"]) == ("2", "update", True)
    assert (three["bId"], three["operation"], three["Payment"]["Id"]) == ("7", "delete", "9")
    assert four["Query"].startswith(r"SELECT * FROM Customer WHERE DisplayName = 'O\'Brien'")


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: calls.create("Invoice", {"Id": "1"}, requestid="r"), "Id is set"),
        (lambda: calls.create("Invoice", {"Amount": 1.1}, requestid="r"), "Amount"),
        (lambda: calls.create("Invoice", {}, requestid=""), "requestid"),
        (lambda: calls.create("Invoice", {}, requestid="x" * 51), "requestid"),
        (lambda: calls.create("Invoice", {}, requestid="a b"), "requestid"),
        (lambda: calls.create("invoice?x=", {}, requestid="r"), "entity"),
        (lambda: calls.update_full("Invoice", {"Id": "1"}, requestid="r"), "SyncToken"),
        (lambda: calls.void("CreditMemo", id="1", sync_token="0", requestid="r"), "CreditMemo"),
        (lambda: calls.delete("Customer", id="1", sync_token="0", requestid="r"), "inactive"),
        (lambda: calls.read("Invoice"), "no id"),
        (lambda: calls.pdf_link("Invoice", ""), "no id"),
        (lambda: calls.changes(["TaxCode"], NOON), "TaxCode"),
        (lambda: calls.changes([], NOON), "at least one"),
        (lambda: calls.changes(["Invoice"], NOON.replace(tzinfo=None)), "offset"),
        (lambda: calls.batch({}, requestid="r"), "batch"),
        (lambda: calls.batch({str(n): calls.query(select("Item")) for n in range(26)}, requestid="r"), "25"),
        (lambda: calls.batch({"1": calls.query(select("Item"))}, requestid="x" * 37), "36"),
        (lambda: calls.batch({"x" * 11: calls.query(select("Item"))}, requestid="r"), "bId"),
        (
            lambda: calls.batch(
                {"1": calls.create("Invoice", {}, requestid="r", allow_duplicate_number=True)}, requestid="r"
            ),
            "create Invoice",
        ),
        (
            lambda: calls.batch(
                {"1": calls.void("Invoice", id="1", sync_token="0", requestid="r")}, requestid="r"
            ),
            "void Invoice",
        ),
    ],
)
def test_a_call_that_must_not_be_made_cannot_be_built(build, names: str) -> None:
    """What QuickBooks refuses or would silently misread is refused before it is written down, by name."""
    with pytest.raises(InvalidCall, match=names) as caught:
        build()
    assert isinstance(caught.value, QuickBooksError)
