"""The query language: grammar, filterable fields, paging, counting, order, escaping.

Source: https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.sandbox.books import Books


def ids(response: dict[str, list[dict[str, str]]], entity: str = "Invoice") -> list[str]:
    """The ids of a page."""
    return [row["Id"] for row in response.get(entity, [])]


def test_filters_compare_by_kind(us: Books) -> None:
    """Numbers, dates, times, references and strings compare as what they are; conditions join with AND [D-query]."""
    small = us.invoice("10.00", DocNumber="Q-1", TxnDate="2026-01-31")["Id"]
    large = us.invoice("200.00", DocNumber="Q-2", CustomerRef={"value": "2"})["Id"]
    for where, found in {
        "DocNumber = 'Q-1'": [small],
        "DocNumber IN ('Q-1', 'Q-2')": [large, small],
        "DocNumber LIKE 'Q-%'": [large, small],
        "DocNumber LIKE '%2'": [large],
        "TotalAmt > '99'": [large],
        "Balance < 100": [small],
        "TxnDate <= '2026-01-31'": [small],
        "TxnDate > '2026-01-31' AND CustomerRef = '2'": [large],
        "CustomerRef IN ('1')": [small],
        f"Id IN ('{small}', '{large}', '777')": [large, small],
        "MetaData.LastUpdatedTime > '2020-01-01T00:00:00Z'": [large, small],
        "MetaData.CreateTime < '2020-01-01T00:00:00-08:00'": [],
    }.items():
        assert ids(us.query(f"SELECT * FROM Invoice WHERE {where}")) == found, where


def test_empty_answer_is_an_empty_object(us: Books) -> None:
    """No match: QueryResponse is {}; a count of none is 0 [D-query]."""
    assert us.query("SELECT * FROM Invoice") == {}
    assert us.query("SELECT COUNT(*) FROM Invoice") == {"totalCount": 0}


def test_paging_and_order(us: Books) -> None:
    """1-based STARTPOSITION, MAXRESULTS up to 1000, a default page of 100, ORDERBY or ORDER BY, COUNT of all.

    [D-query]
    """
    for row in range(105):
        us.post("/class", {"Name": f"Class {row:03d}"})
    assert us.query("select count(*) from Class")["totalCount"] == 107
    assert len(us.query("SELECT * FROM Class")["Class"]) == 100
    page = us.query("SELECT * FROM Class ORDERBY Id ASC STARTPOSITION 101 MAXRESULTS 1000")
    assert (page["startPosition"], page["maxResults"], page["Class"][0]["Id"]) == (101, 7, "101")
    names = [row["Name"] for row in us.query("SELECT * FROM Class ORDER BY Name DESC MAXRESULTS 2")["Class"]]
    assert names == ["Project", "Managed"]
    ordered = us.query("SELECT Id FROM Class ORDERBY Id DESC MAXRESULTS 2")["Class"]
    assert [row["Id"] for row in ordered] == ["107", "106"]


def test_default_order_of_documents_is_a_switch(us: Books) -> None:
    """Without ORDERBY the order is undocumented: newest first by default, oldest first by switch [switch]."""
    one, two = us.invoice()["Id"], us.invoice()["Id"]
    assert ids(us.query("SELECT * FROM Invoice")) == [two, one]
    us.switch(query_default_order="oldest")
    assert ids(us.query("SELECT * FROM Invoice")) == [one, two]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM Invoice WHERE PrivateNote = 'x'", "4001"),
        ("SELECT * FROM Invoice WHERE DepartmentRef = '1'", "4001"),
        ("SELECT * FROM Invoice WHERE Nonsense = 'x'", "4001"),
        ("SELECT Nonsense FROM Invoice", "4001"),
        ("SELECT * FROM Invoice WHERE Id > '5'", "4001"),
        ("SELECT * FROM Invoice WHERE CustomerRef LIKE '1%'", "4001"),
        ("SELECT * FROM Invoice WHERE TotalAmt = 'much'", "4001"),
        ("SELECT * FROM Invoice ORDERBY PrivateNote", "4001"),
        ("SELECT * FROM Invoice STARTPOSITION 0", "4001"),
        ("SELECT * FROM Invoice MAXRESULTS 1001", "4001"),
        ("SELECT * FROM Invoice MAXRESULTS 1.5", "4000"),
        ("SELECT * FROM Invoice STARTPOSITION 1.0", "4000"),
        ("SELECT * FROM Invoice WHERE TxnDate >= '2026-3-2'", "4001"),
        ("SELECT * FROM Invoice WHERE TxnDate = 'today'", "4001"),
        ("SELECT * FROM Invoice WHERE TxnDate = ''", "4001"),
        ("SELECT * FROM Customer WHERE Active = 'maybe'", "4001"),
        ("SELECT * FROM Invoice WHERE DocNumber = 'a' OR DocNumber = 'b'", "4000"),
        ("SELECT * FROM Invoice WHERE NOT DocNumber = 'a'", "4001"),
        ("SELECT * FROM Invoice WHERE DocNumber != 'a'", "4000"),
        ("SELECT * FROM Invoice WHERE DocNumber = a", "4000"),
        ("SELECT * FROM Invoice WHERE DocNumber = 'it's'", "4000"),
        ("SELECT * FROM Invoice WHERE DocNumber IS NULL", "4000"),
        ("SELECT * FROM Invoice GROUP BY CustomerRef", "4000"),
        ("SELECT * FROM Invoice, Payment", "4000"),
        ("DELETE FROM Invoice", "4000"),
        ("SELECT * FROM Nothing", "4000"),
        ("", "4000"),
        ("SELECT * FROM Estimate", "sandbox-not-modelled"),
    ],
)
def test_bad_statement_is_refused(us: Books, statement: str, code: str) -> None:
    """Grammar answers 4000, fields and values that cannot be queried 4001, known but unmodelled entities so.

    [D-query, seen]
    """
    assert us.query_refused(statement) == code


def test_dates_with_a_time_are_days(us: Books) -> None:
    """A day is compared as a day, also when it is written with a time and an offset [D-query]."""
    us.invoice(TxnDate="2026-03-02")
    for statement in ("TxnDate >= '2026-03-02T00:00:00-08:00'", "TxnDate IN ('2026-03-02T09:00:00Z')"):
        assert us.query(f"SELECT COUNT(*) FROM Invoice WHERE {statement}")["totalCount"] == 1


def test_statement_in_the_body(us: Books) -> None:
    """POST /query takes the statement as application/text; JSON is not the type for it [D-query]."""
    headers = {"Content-Type": "application/text"}
    answer = us.raw("POST", "/query", data="SELECT * FROM Term WHERE Name = 'Net 30'", headers=headers)
    assert answer.json()["QueryResponse"]["Term"][0]["DueDays"] == 30
    wrong = us.raw("POST", "/query", data="SELECT * FROM Term", headers={"Content-Type": "application/json"})
    assert wrong.json()["Fault"]["Error"][0]["code"] == "sandbox-not-modelled"


def test_case_of_strings_is_a_switch(us: Books) -> None:
    """Comparing strings ignores case by default; by switch it does not (undocumented) [switch]."""
    assert us.query("SELECT * FROM Customer WHERE DisplayName = 'COOL cars'") != {}
    us.switch(query_ignores_case=False)
    assert us.query("SELECT * FROM Customer WHERE DisplayName = 'COOL cars'") == {}
    invoice = us.invoice(DocNumber="x-1")
    assert ids(us.query("SELECT * FROM Invoice WHERE DocNumber = 'x-1'")) == [invoice["Id"]]


def test_lag_hides_what_is_new(us: Books) -> None:
    """By switch a query sees changes only after a while: there is no promise of read-your-writes [switch]."""
    us.switch(query_lag_seconds=3600)
    us.invoice()
    assert us.query("SELECT * FROM Invoice") == {}


def test_singles_can_be_queried(us: Books) -> None:
    """CompanyInfo and Preferences answer to queries as well as to reads; Country is three letters [D-query]."""
    assert us.query("SELECT * FROM CompanyInfo")["CompanyInfo"][0]["Country"] == "USA"
    assert us.get(f"/companyinfo/{us.realm}")["CompanyInfo"]["CompanyName"].startswith("Sandbox Company")
    assert (
        us.query("SELECT * FROM Preferences")["Preferences"][0]["SalesFormsPrefs"]["CustomTxnNumbers"] is True
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(
        st.characters(codec="utf-8", exclude_characters=":\t\n\r", exclude_categories=["Cc", "Cs"]),
        min_size=1,
    )
)
def test_every_name_is_found_again(us: Books, name: str) -> None:
    """A name with quotes, backslashes or any script is found by a statement that escapes it [D-query]."""
    answer = us.send("/customer", {"DisplayName": name})
    if answer.status_code == 400:
        assert answer.json()["Fault"]["Error"][0]["code"] in ("2020", "6240", "2050")
        return
    stored = answer.json()["Customer"]["DisplayName"]
    quoted = stored.replace("\\", "\\\\").replace("'", "\\'")
    found = us.query(f"SELECT * FROM Customer WHERE DisplayName = '{quoted}'")
    assert answer.json()["Customer"]["Id"] in ids(found, "Customer")
