"""The change feed: what it shows, its cap, its window, its clock.

Source: https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/change-data-capture
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.sandbox.server import Sandbox
from tests.contract.sandbox.books import Books, open_books

ENTITIES = "Invoice,Payment,CreditMemo,Customer"


def feed(books: Books, since: str, entities: str = ENTITIES) -> dict[str, list[dict[str, Any]]]:
    """Rows by entity."""
    responses = books.get("/cdc", entities=entities, changedSince=since)["CDCResponse"][0]["QueryResponse"]
    assert len(responses) == len(entities.split(","))
    names = entities.split(",")
    return {name: response.get(name, []) for name, response in zip(names, responses, strict=True)}


def moment(books: Books) -> str:
    """The `time` of a reply."""
    return str(books.get("/term/4")["time"])


def later(stamp: str, seconds: float) -> str:
    """A time some seconds after another."""
    return (datetime.fromisoformat(stamp) + timedelta(seconds=seconds)).isoformat()


def test_shows_the_current_state(us: Books) -> None:
    """Each changed object once, whole and as it is now; untouched entities are {}; payments echo on invoices.

    [D-cdc]
    """
    since = later(moment(us), -1)
    invoice = us.invoice("100.00")
    payment = us.pay("100.00", {invoice["Id"]: "100.00"})
    rows = feed(us, since)
    assert [(row["Id"], row["SyncToken"], row["Balance"]) for row in rows["Invoice"]] == [
        (invoice["Id"], "1", 0)
    ]
    assert [row["Id"] for row in rows["Payment"]] == [payment["Id"]]
    assert rows["CreditMemo"] == []


def test_deletions_are_short_rows(us: Books) -> None:
    """A deleted object shows as Id, status Deleted and time only - and without startPosition when alone [D-cdc]."""
    since = later(moment(us), -1)
    payment = us.pay("1.00")
    us.desk("delete", {"entity": "Payment", "id": payment["Id"]})
    response = us.get("/cdc", entities="Payment", changedSince=since)["CDCResponse"][0]["QueryResponse"][0]
    row = response["Payment"][0]
    assert row.keys() == {"domain", "status", "Id", "MetaData"}
    assert (row["status"], row["Id"]) == ("Deleted", payment["Id"])
    assert "startPosition" not in response
    assert feed(us, since, "Invoice")["Invoice"] == []


def test_cap_is_shared_and_silent(us: Books) -> None:
    """At most 1000 rows over all entities, no flag and no page: a full answer is an incomplete one [D-cdc, seen]."""
    since = later(moment(us), -1)
    us.switch(cdc_cap=3)
    invoices = [us.invoice()["Id"] for _ in range(2)]
    payments = [us.pay("1.00")["Id"] for _ in range(2)]
    rows = feed(us, since)
    assert ({row["Id"] for row in rows["Invoice"]}, [row["Id"] for row in rows["Payment"]]) == (
        set(invoices),
        payments[-1:],
    )
    us.switch(cdc_order="oldest")
    assert [row["Id"] for row in feed(us, since)["Payment"]] == payments[:1]


@pytest.mark.parametrize("entity", ["TaxCode", "TaxRate", "TaxAgency", "TimeActivity", "JournalCode"])
def test_some_entities_have_no_feed(us: Books, entity: str) -> None:
    """Tax codes, rates and agencies, time activities and journal codes are not in the feed [D-cdc]."""
    answer = us.raw("GET", "/cdc", params={"entities": entity, "changedSince": moment(us)})
    assert answer.json()["Fault"]["Error"][0]["code"] == "500"


def test_an_entity_named_twice_comes_once(us: Books) -> None:
    """The same entity named twice, in any case, has one answer and counts once for the cap [ours]."""
    since = moment(us)
    us.invoice()
    answer = us.get("/cdc", entities="Invoice, invoice", changedSince=since)
    assert len(answer["CDCResponse"][0]["QueryResponse"]) == 1


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"changedSince": "2026-01-01"}, "2020"),
        ({"entities": "Invoice"}, "2020"),
        ({"entities": "Invoice", "changedSince": "yesterday"}, "2060"),
        ({"entities": "Nonsense", "changedSince": "2026-01-01"}, "2010"),
        ({"entities": "Estimate", "changedSince": "2026-01-01"}, "sandbox-not-modelled"),
    ],
)
def test_bad_feed_request(us: Books, parameters: dict[str, str], code: str) -> None:
    """Missing or wrong parameters are refused by name [D-cdc]."""
    answer = us.raw("GET", "/cdc", params=parameters)
    assert answer.json()["Fault"]["Error"][0]["code"] == code


def test_window_of_thirty_days(us: Books) -> None:
    """Older than 30 days: a fault, or (switch) silently only the last 30 days - both are reported [D-cdc, switch]."""
    invoice = us.invoice()
    old = later(moment(us), -31 * 86_400)
    answer = us.raw("GET", "/cdc", params={"entities": "Invoice", "changedSince": old})
    assert answer.json()["Fault"]["Error"][0]["code"] == "2060"
    us.switch(cdc_beyond_window="truncate")
    assert [row["Id"] for row in feed(us, old, "Invoice")["Invoice"]] == [invoice["Id"]]


def test_truncation_loses_what_is_older(own_sandbox: Sandbox) -> None:
    """With truncation a change of 31 days ago is missing without a word [switch]."""
    books = open_books(own_sandbox, switches={"cdc_beyond_window": "truncate"})
    since = moment(books)
    books.invoice()
    books.control("POST", "/clock", {"seconds": 31 * 86_400})
    books.authorize()
    newer = books.invoice()
    assert [row["Id"] for row in feed(books, since, "Invoice")["Invoice"]] == [newer["Id"]]
    books.session.close()


def test_boundary_is_a_switch(us: Books) -> None:
    """A change stamped exactly at changedSince is shown (default) or not (switch) [switch]."""
    stamp = us.invoice()["MetaData"]["LastUpdatedTime"]
    assert len(feed(us, stamp, "Invoice")["Invoice"]) == 1
    us.switch(cdc_boundary_inclusive=False)
    assert feed(us, stamp, "Invoice")["Invoice"] == []


def test_lag_and_skew(us: Books) -> None:
    """By switch a change shows up late, or carries stamps that run behind the reply's clock: overlap is needed.

    [seen, switch]
    """
    since = moment(us)
    us.switch(cdc_lag_seconds=3600)
    us.invoice()
    assert feed(us, later(since, -60), "Invoice")["Invoice"] == []
    us.switch(cdc_lag_seconds=0, stamp_skew_seconds=-120)
    behind = us.invoice()
    shown = [row["Id"] for row in feed(us, later(since, -60), "Invoice")["Invoice"]]
    assert behind["Id"] not in shown
    shown = [row["Id"] for row in feed(us, later(since, -300), "Invoice")["Invoice"]]
    assert behind["Id"] in shown


def test_unencoded_plus_and_utc_are_understood(us: Books) -> None:
    """Offsets, Z, and a plus sign that arrived as a blank all name the same moment; naive times are Pacific [D-cdc]."""
    us.invoice()
    stamp = datetime.fromisoformat(moment(us)) - timedelta(minutes=1)
    forms = [
        stamp.isoformat(),
        stamp.astimezone().isoformat().replace("+", " "),
        stamp.replace(tzinfo=None).isoformat(),
        stamp.strftime("%Y-%m-%d"),
    ]
    for form in forms:
        assert len(feed(us, form, "Invoice")["Invoice"]) == 1


def test_merge_and_rename_in_the_feed(us: Books) -> None:
    """A merged customer shows as deleted, its documents as changed; a rename does not touch documents [seen]."""
    invoice = us.invoice(CustomerRef={"value": "2"})
    us.control("POST", f"/companies/{us.realm}/bookkeeper/edit", rename("1", "New name"))
    since = later(moment(us), 0.6)
    us.switch(stamp_skew_seconds=2)
    us.desk("merge-customers", {"loser": "2", "survivor": "1"})
    rows = feed(us, since)
    assert {(row["Id"], row.get("status")) for row in rows["Customer"]} == {("1", None), ("2", "Deleted")}
    assert [row["Id"] for row in rows["Invoice"]] == [invoice["Id"]]


def rename(key: str, name: str) -> dict[str, Any]:
    """The bookkeeper's edit of a name."""
    return {"entity": "Customer", "id": key, "changes": {"DisplayName": name}}
