"""What a statement costs, known before it is made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inbound.reconcile.cost import pages
from services.quickbooks import calls
from services.quickbooks.pages import Pages
from services.quickbooks.query import select
from services.quickbooks.reply import Reply


@given(rows=st.integers(0, 200), size=st.integers(2, 40))
def test_the_estimate_is_what_paging_asks(rows: int, size: int) -> None:
    """For any number of rows: exactly as many calls as the pages are going to make."""
    paging, asked = Pages(select("Invoice"), size), 0
    while call := paging.next():
        asked += 1
        start = (asked - 1) * (size - 1)
        page = [{"Id": str(one)} for one in range(start, min(start + size, rows))]
        paging.take(Reply(call, 200, "", {"QueryResponse": {"Invoice": page}}))
    assert pages(rows, size) == asked


@pytest.mark.parametrize(("rows", "reads"), [(0, 1), (999, 1), (1000, 2), (1998, 2), (1999, 3), (18000, 19)])
def test_a_thousand_rows_are_about_one_read(rows: int, reads: int) -> None:
    """Pages overlap by a row, and the last one shows by being short that it is the last."""
    assert pages(rows) == reads
    assert calls.count(select("Invoice")).reads == 1
