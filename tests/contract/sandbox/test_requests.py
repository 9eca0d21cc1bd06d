"""The form of requests and replies, requestid, batches.

Source: https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from services.sandbox.server import Sandbox
from tests.contract.sandbox.books import Books, invoice_body, open_books

JSON_TYPE = {"Content-Type": "application/json"}


def code_of(answer: requests.Response) -> str:
    """The code of a business fault."""
    return str(answer.json()["Fault"]["Error"][0]["code"])


def test_replies_carry_tid_and_pacific_time(us: Books) -> None:
    """intuit_tid on every answer (refusals too); the envelope's time has milliseconds and Pacific's offset [seen]."""
    good, bad = us.raw("GET", "/term/4"), us.raw("GET", "/term/999")
    assert good.headers["intuit_tid"] != bad.headers["intuit_tid"]
    for answer in (good, bad):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}-0[78]:00", answer.json()["time"])
    stamp = good.json()["Term"]["MetaData"]["LastUpdatedTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-0[78]:00", stamp)


def test_numbers_are_plain(us: Books) -> None:
    """Amounts are JSON numbers with cents, never strings or exponents [seen]."""
    invoice = us.invoice("1234567.80")
    text = us.raw("GET", f"/invoice/{invoice['Id']}").text
    assert '"TotalAmt":1234567.80,' in text


def test_replies_are_json_only_when_asked(us: Books) -> None:
    """Intuit answers XML unless Accept says JSON; the sandbox models JSON only and says so [D-rest]."""
    assert code_of(us.raw("GET", "/term/4", headers={"Accept": "*/*"})) == "sandbox-not-modelled"
    answer = us.raw("POST", "/invoice", data="{}", headers={"Content-Type": "text/xml"})
    assert code_of(answer) == "sandbox-not-modelled"


def test_unreadable_bodies_are_refused(us: Books) -> None:
    """A body that is not JSON, or not an object, answers 2010 [D-err]."""
    assert code_of(us.raw("POST", "/invoice", data="{", headers=JSON_TYPE)) == "2010"
    assert code_of(us.raw("POST", "/invoice", data="[]", headers=JSON_TYPE)) == "2010"
    assert code_of(us.raw("POST", "/invoice", data="[" * 100_000, headers=JSON_TYPE)) == "2010"
    us.refused("/invoice", invoice_body(Line={"Amount": 1}), "2010")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/estimate/1", 400, "sandbox-not-modelled"),
        ("/reports/AgedReceivables", 400, "sandbox-not-modelled"),
        ("/upload", 400, "sandbox-not-modelled"),
        ("/nonsense/1", 404, "500"),
        ("/invoice/abc", 400, "2030"),
        ("/invoice", 400, "500"),
        ("/invoice/999", 400, "610"),
        ("/term/4?minorversion=99", 400, "sandbox-not-modelled"),
        ("/term/4?minorversion=%C2%B2", 400, "sandbox-not-modelled"),
        ("/term/4?fields=all", 400, "sandbox-not-modelled"),
        ("/term/4/pdf", 400, "sandbox-not-modelled"),
    ],
)
def test_unknown_requests_are_refused(us: Books, path: str, status: int, code: str) -> None:
    """Unknown paths are Intuit's refusal; known but unmodelled ones are the sandbox's, by name [D-rest]."""
    answer = us.raw("GET", path)
    assert (answer.status_code, code_of(answer)) == (status, code)


def test_other_apis_of_intuit_are_not_modelled(us: Books) -> None:
    """GraphQL, payments and the like: refused with the path they name, and counted on the control port [ours]."""
    us.control("DELETE", "/counters")
    for method, path in (("POST", "/graphql"), ("GET", "/quickbooks/v4/customers/1/bank-accounts")):
        answer = requests.request(method, us.sandbox.addresses.api + path, timeout=10)
        assert (answer.status_code, code_of(answer)) == (404, "sandbox-not-modelled")
        assert us.control("GET", "/unmodelled")[""][f"{method} {path}"] == 1


def test_old_minor_versions_count_as_75(us: Books) -> None:
    """Versions below 75 are accepted and mean 75 (since 2025-08-01) [D-minor]."""
    assert us.get("/term/4", minorversion=4)["Term"] == us.get("/term/4", minorversion=75)["Term"]


def test_no_other_verbs(us: Books) -> None:
    """There is no PUT, PATCH or DELETE [D-rest]."""
    assert us.raw("DELETE", "/invoice/1").status_code == 405


def test_same_requestid_same_reply(us: Books) -> None:
    """A repeated requestid answers the first reply, byte for byte, and makes nothing new - whatever the body.

    [D-field]
    """
    body = invoice_body(DocNumber="R-1")
    first = us.send("/invoice", body, requestid="r1")
    again = us.send("/invoice", body, requestid="r1")
    other = us.send("/invoice", invoice_body("5.00"), requestid="r1")
    assert first.text == again.text == other.text
    assert us.query("SELECT COUNT(*) FROM Invoice")["totalCount"] == 1
    us.switch(requestid_other_body="600")
    assert code_of(us.send("/invoice", invoice_body("5.00"), requestid="r1")) == "600"


def test_ids_are_the_companys_own(us: Books, open_company: Callable[..., Books]) -> None:
    """The same id in another company makes an object there: ids are unique within a company [D-field]."""
    other = open_company()
    made = [
        books.post("/invoice", invoice_body(DocNumber=number), requestid="r-7")["Invoice"]["DocNumber"]
        for books, number in ((us, "A-1"), (other, "B-1"), (us, "A-2"))
    ]
    assert made == ["A-1", "B-1", "A-1"]


def test_replay_after_delete_names_a_dead_id(us: Books) -> None:
    """The stored reply is replayed even after the object was deleted: its Id is dead (seen live) [seen]."""
    invoice = us.post("/invoice", invoice_body(), requestid="r2")["Invoice"]
    us.desk("delete", {"entity": "Invoice", "id": invoice["Id"]})
    assert us.post("/invoice", invoice_body(), requestid="r2")["Invoice"]["Id"] == invoice["Id"]
    assert us.query("SELECT COUNT(*) FROM Invoice")["totalCount"] == 0


def test_refusals_are_remembered_by_switch(us: Books) -> None:
    """Default: a refused id may be used again. Switch: the refusal is replayed (undocumented) [switch]."""
    wrong = invoice_body(CustomerRef={"value": "999"})
    assert code_of(us.send("/invoice", wrong, requestid="r3")) == "2500"
    us.post("/invoice", invoice_body(), requestid="r3")
    us.switch(requestid_remembers_refusals=True)
    assert code_of(us.send("/invoice", wrong, requestid="r4")) == "2500"
    assert code_of(us.send("/invoice", invoice_body(), requestid="r4")) == "2500"


def test_ids_are_forgotten_by_switch(us: Books) -> None:
    """By switch only the last N ids are known: an older one makes a second object (retention is undocumented).

    [switch]
    """
    us.switch(requestid_forgets_after=2)
    for requestid in ("a", "b", "c", "a"):
        us.post("/invoice", invoice_body(), requestid=requestid)
    assert us.query("SELECT COUNT(*) FROM Invoice")["totalCount"] == 4


def test_ids_are_forgotten_after_a_while(own_sandbox: Sandbox) -> None:
    """By switch an id is known for some seconds only: after an outage its replay makes a second object [switch]."""
    books = open_books(own_sandbox, switches={"requestid_forgets_after_seconds": 600})
    books.post("/invoice", invoice_body(), requestid="a")
    books.control("POST", "/clock", {"seconds": 599})
    books.post("/invoice", invoice_body(), requestid="a")
    books.control("POST", "/clock", {"seconds": 2})
    books.post("/invoice", invoice_body(), requestid="a")
    assert books.query("SELECT COUNT(*) FROM Invoice")["totalCount"] == 2
    books.session.close()


def test_requestid_has_fifty_characters(us: Books) -> None:
    """A longer id answers 2130 [D-field, D-err]."""
    us.post("/invoice", invoice_body(), requestid="x" * 50)
    us.refused("/invoice", invoice_body(), "2130", requestid="x" * 51)


def batch(us: Books, *items: dict[str, Any], **parameters: Any) -> list[dict[str, Any]]:
    """The answers to a batch."""
    answers: list[dict[str, Any]] = us.post("/batch", {"BatchItemRequest": list(items)}, **parameters)[
        "BatchItemResponse"
    ]
    return answers


def test_batch_items_stand_alone(us: Books) -> None:
    """Items run in order; a refused one carries its Fault and does not stop the others [D-field]."""
    good = {"bId": "1", "operation": "create", "Invoice": invoice_body()}
    bad = {"bId": "2", "operation": "create", "Invoice": invoice_body(CustomerRef={"value": "999"})}
    question = {"bId": "3", "Query": "SELECT COUNT(*) FROM Invoice"}
    answers = batch(us, good, bad, question)
    assert answers[0]["Invoice"]["TotalAmt"] == 100
    assert answers[1]["Fault"]["Error"][0]["code"] == "2500"
    assert answers[2] == {"bId": "3", "QueryResponse": {"totalCount": 1}}
    identity = {"Id": answers[0]["Invoice"]["Id"], "SyncToken": "0"}
    void = batch(us, {"bId": "1", "operation": "update", "optionsData": "void", "Invoice": identity})
    assert void[0]["Invoice"]["TotalAmt"] == 0


def test_batch_has_a_size(us: Books) -> None:
    """More than 30 items answer 1040 (configurable: Intuit's pages disagree) [D-field, D-lim]."""
    item = {"bId": "1", "Query": "SELECT COUNT(*) FROM Invoice"}
    us.refused("/batch", {"BatchItemRequest": [item] * 31}, "1040")
    us.switch(batch_size=10)
    us.refused("/batch", {"BatchItemRequest": [item] * 11}, "1040")


def test_batch_replays_as_a_whole(us: Books) -> None:
    """A batch with a requestid is replayed; its id has at most 36 characters and each bId at most 10 [D-field]."""
    item = {"bId": "1", "operation": "create", "Invoice": invoice_body()}
    assert batch(us, item, requestid="b1") == batch(us, item, requestid="b1")
    us.refused("/batch", {"BatchItemRequest": [item]}, "2130", requestid="x" * 37)
    us.refused("/batch", {"BatchItemRequest": [{**item, "bId": "x" * 11}]}, "2050", requestid="b2")


def test_latin1_only_by_switch(us: Books) -> None:
    """By switch a US company refuses characters outside ISO-8859-1 with 500 (documented; peers send UTF-8) [D-err]."""
    us.invoice(PrivateNote="Zürich 東京 🙂")
    us.switch(us_latin1_only=True)
    us.invoice(PrivateNote="Zürich")
    answer = us.send("/invoice", invoice_body(PrivateNote="東京"))
    assert (answer.status_code, code_of(answer)) == (500, "500")


def test_unknown_fields_of_lists_in_batches_are_named(us: Books) -> None:
    """A batch item of an unmodelled entity says so [ours]."""
    answers = batch(us, {"bId": "1", "operation": "create", "Estimate": {}})
    assert answers[0]["Fault"]["Error"][0]["code"] == "sandbox-not-modelled"


@pytest.mark.parametrize(("method", "path"), [("GET", "send"), ("POST", "pdf"), ("POST", "")])
def test_each_operation_has_its_verb(us: Books, method: str, path: str) -> None:
    """A document is sent by POST and read by GET; the other verb is refused and does nothing [D-rest, D-inv]."""
    invoice = us.invoice()
    answer = us.raw(
        method,
        f"/invoice/{invoice['Id']}/{path}".rstrip("/"),
        headers={"Accept": "application/json, application/pdf", **JSON_TYPE},
        params={"sendTo": "someone@example.com"},
        data="{}",
    )
    assert answer.status_code >= 400, answer.text
    assert us.read("Invoice", invoice["Id"])["SyncToken"] == "0"


def test_the_change_feed_is_read_by_get(us: Books) -> None:
    """`GET /cdc` is the only form of the change feed [D-cdc]."""
    asked = {"entities": "Invoice", "changedSince": "2026-03-01"}
    assert us.raw("POST", "/cdc", params=asked, data="{}", headers=JSON_TYPE).status_code == 405


def test_an_update_names_what_it_updates(us: Books) -> None:
    """An update without an Id never makes a new object: 2020; a create with an Id is not modelled [D-rest, D-err]."""
    us.refused("/invoice", invoice_body(), "2020", operation="update")
    known = {**invoice_body(), "Id": us.invoice()["Id"], "SyncToken": "0"}
    us.refused("/invoice", known, "sandbox-not-modelled", operation="create")
    items = [
        {"bId": "1", "operation": "update", "Invoice": invoice_body()},
        {"bId": "2", "operation": "create", "Invoice": known},
    ]
    codes = [answer["Fault"]["Error"][0]["code"] for answer in batch(us, *items)]
    assert codes == ["2020", "sandbox-not-modelled"]
    assert us.query("SELECT COUNT(*) FROM Invoice")["totalCount"] == 1


def test_a_void_that_is_none_changes_nothing(us: Books) -> None:
    """`include=void` belongs to `operation=update`; without it nothing is written [D-pay]."""
    us.refused(
        "/payment", {"CustomerRef": {"value": "1"}, "TotalAmt": 5}, "sandbox-not-modelled", include="void"
    )


def test_options_of_batch_items_are_known_or_refused(us: Books) -> None:
    """`allowduplicatedocnum` works in batches in both spellings; unknown options are refused by name [D-inv]."""
    twice = invoice_body(DocNumber="D-1")
    us.post("/invoice", twice)
    options = ("allowduplicatedocnum", "include=allowduplicatedocnum", "include=firsttxndate")
    items = [
        {"bId": str(row), "operation": "create", "Invoice": twice, "optionsData": option}
        for row, option in enumerate(options)
    ]
    answers = batch(us, *items)
    assert ["Invoice" in answer for answer in answers] == [True, True, False]
    assert answers[2]["Fault"]["Error"][0]["code"] == "sandbox-not-modelled"


def test_what_a_batch_asks_in_vain_is_counted(us: Books) -> None:
    """An item that is not modelled (an unknown entity, two at once, nothing) is refused and counted [ours]."""
    items = [
        {"bId": "1", "operation": "create", "Bill": {}},
        {"bId": "2", "operation": "create", "Customer": {"DisplayName": "A"}, "Invoice": invoice_body()},
        {"bId": "3", "operation": "create"},
    ]
    answers = batch(us, *items)
    assert {answer["Fault"]["Error"][0]["code"] for answer in answers} == {"sandbox-not-modelled"}
    assert sum(us.control("GET", "/unmodelled")[us.realm].values()) == 3


def test_illegal_bytes_are_an_unsupported_operation(us: Books) -> None:
    """Bytes that are not of the company's encoding answer 500 Unsupported Operation, also in a query [D-rest]."""
    name = "Caf\u00e9".encode("latin-1")
    written = us.raw("POST", "/customer", data=b'{"DisplayName":"' + name + b'"}', headers=JSON_TYPE)
    asked = b"SELECT * FROM Customer WHERE DisplayName = '" + name + b"'"
    read = us.raw("POST", "/query", data=asked, headers={"Content-Type": "application/text"})
    for answer in (written, read):
        assert (answer.status_code, code_of(answer)) == (500, "500")


def test_another_encoding_is_not_read_as_utf8(us: Books) -> None:
    """A body that says it is not plain UTF-8 is refused by name, not misread [D-rest]."""
    packed = {**JSON_TYPE, "Content-Encoding": "gzip"}
    answer = us.raw("POST", "/customer", data=gzip.compress(b"{}"), headers=packed)
    assert code_of(answer) == "sandbox-not-modelled"
    kind = "application/json; charset=ISO-8859-1"
    answer = us.raw("POST", "/customer", data='{"DisplayName":"A"}', headers={"Content-Type": kind})
    assert code_of(answer) == "sandbox-not-modelled"
    utf8 = {"Content-Type": "application/json;charset=UTF-8", "Accept": "Application/JSON"}
    assert us.raw("POST", "/customer", data='{"DisplayName":"A"}', headers=utf8).ok
