"""Paging over rows that others delete meanwhile."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks.call import Call
from services.quickbooks.pages import Pages, all_raw
from services.quickbooks.query import select
from services.quickbooks.reply import Reply


class Table:
    """Rows sorted by Id, of which the given ones are deleted after the given page."""

    def __init__(self, rows: int, deletions: dict[int, set[int]] | None = None) -> None:
        self.ids = list(range(rows))
        self.deletions = deletions or {}
        self.pages = 0

    def execute(self, call: Call) -> Reply:
        """Answer one page, then delete what is due."""
        text = dict(call.params)["query"]
        assert "ORDERBY Id ASC" in text
        found = re.search(r"STARTPOSITION (\d+) MAXRESULTS (\d+)", text)
        assert found is not None
        start, size = int(found[1]), int(found[2])
        rows = [{"Id": str(i)} for i in self.ids[start - 1 : start - 1 + size]]
        self.pages += 1
        gone = self.deletions.get(self.pages, set())
        self.ids = [i for i in self.ids if i not in gone]
        return Reply(call, 200, "", {"QueryResponse": {"Invoice": rows} if rows else {}})


@pytest.mark.parametrize(("rows", "pages"), [(0, 1), (9, 1), (10, 2), (18, 2), (19, 3), (180, 20)])
def test_every_row_comes_once_for_few_pages(rows: int, pages: int) -> None:
    """Overlapping by one row costs next to nothing."""
    table = Table(rows)
    assert [row["Id"] for row in all_raw(table.execute, select("Invoice"), size=10)] == [
        str(i) for i in range(rows)
    ]
    assert table.pages == pages


@given(
    rows=st.integers(0, 120),
    size=st.integers(2, 30),
    deletions=st.dictionaries(st.integers(1, 12), st.sets(st.integers(0, 119), max_size=25), max_size=5),
)
def test_no_row_is_missed_whatever_is_deleted(rows: int, size: int, deletions: dict[int, set[int]]) -> None:
    """Every row that was there from first to last is read, once, even while pages shift."""
    table = Table(rows, deletions)
    read = [row["Id"] for row in all_raw(table.execute, select("Invoice"), size=size)]
    assert len(read) == len(set(read))
    assert {str(i) for i in table.ids} <= set(read)


def test_many_deletions_cost_few_pages() -> None:
    """Reads are metered: going back over five hundred deleted rows takes steps that grow, not one a row."""
    table = Table(2000, {1: set(range(500))})
    read = [row["Id"] for row in all_raw(table.execute, select("Invoice"), size=1000)]
    assert len(read) == 2000
    assert table.pages <= 3 + 4


def test_a_page_of_one_row_is_refused() -> None:
    """Pages that overlap by a row need two."""
    with pytest.raises(ValueError, match="size"):
        Pages(select("Invoice"), size=1)
