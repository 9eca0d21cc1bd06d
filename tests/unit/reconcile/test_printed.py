"""The statement on paper and in a spreadsheet: nothing that people named is run, and everything adds up."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.inbound.reconcile import printed, sheet, statement
from services.inbound.reconcile.items import Item, Leg, Side
from services.inbound.reconcile.period import Period
from services.inbound.reconcile.statement import Statement


def made(
    name: str, url: str = "https://app.qbo.intuit.com/app/invoice?txnId=1", number: str = "1042"
) -> Statement:
    """A statement of one unexplained item of a client with that name."""
    day = date(2026, 10, 31)
    item = Item(
        key="invoice/inv-1",
        kind="invoice",
        currency="USD",
        billing=Side("inv-1", number, day, 10000, legs=(Leg(10000),)),
        quickbooks=Side("1", number, day, 9000, legs=(Leg(9000),)),
        target=("Invoice", "1"),
        name=name,
        url=url,
    )
    item.settle("unexplained", f"total differs for {name}", next_step="look")
    return statement.make(
        [item],
        Period(date(2026, 10, 1), day),
        company_id=UUID(int=1),
        realm_id="934",
        company_name=name,
        home="USD",
        read_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


class Tags(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    """Every tag of a page, with its attributes."""
    parser = Tags()
    parser.feed(page)
    return parser.tags


@given(name=st.text(min_size=1, max_size=60))
def test_no_name_becomes_markup(name: str) -> None:
    """Whatever a client is called, the page has the tags that it has for anybody."""
    usual = [tag for tag, _ in tags(printed.page(made("Cool Cars").to_json()))]
    assert [tag for tag, _ in tags(printed.page(made(name).to_json()))] == usual


def test_a_page_loads_nothing_and_links_only_to_quickbooks() -> None:
    """No script, no style or font from elsewhere; an address that is not https is no link. It prints."""
    page = printed.page(made("<script>alert(1)</script>").to_json())
    found = tags(page)
    assert {tag for tag, _ in found}.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert "@media print" in page
    assert not re.search(r"@import|url\(", page)
    assert [attrs["href"] for tag, attrs in found if tag == "a"] == [
        "https://app.qbo.intuit.com/app/invoice?txnId=1"
    ]
    assert "<a" not in printed.page(made("x", url="javascript:alert(1)").to_json())


def test_a_page_says_what_is_wrong_first() -> None:
    """The verdict, both totals, and the item with what to do."""
    page = printed.page(made("Cool Cars").to_json())
    for words in (
        "1 difference is unexplained",
        "100.00",
        "90.00",
        "-10.00",
        "total differs for Cool Cars",
        "look",
    ):
        assert words in page


def test_a_spreadsheet_adds_up_and_runs_nothing() -> None:
    """Amounts are numbers that sum to both totals; a name that begins like a formula is text."""
    told = made("=HYPERLINK(1)", number="+1")
    (row,) = csv.DictReader(io.StringIO(sheet.write(told)))
    assert Decimal(row["billing_amount"]) * 100 == told.totals.ours
    assert Decimal(row["quickbooks_amount"]) * 100 == told.totals.quickbooks
    assert (row["name"], row["billing_number"]) == ("'=HYPERLINK(1)", "'+1")
    assert (row["class"], row["difference"]) == ("unexplained", "-10.00")
