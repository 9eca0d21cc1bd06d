"""Reading all rows of a query, while others delete rows, without missing one.

QuickBooks pages by position, so a row deleted on an earlier page moves all later rows up and one of them falls
between two pages. Pages are therefore sorted by Id and overlap by one row: a page that does not begin with a
row already seen shows that rows have moved, and is asked for again from further back.
https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries#pagination
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from services.quickbooks import calls, entities
from services.quickbooks.call import Call
from services.quickbooks.entities import Entity
from services.quickbooks.query import PAGE, Select
from services.quickbooks.reply import Reply


class Pages:
    """Says which page to ask for next, and takes its rows: each once, whatever moves meanwhile.

    Rows created while reading may or may not appear; the change feed has them. `resume` are the ids of rows that an
    earlier reading took: it goes on behind them, and the next page begins with the last of them.
    """

    def __init__(self, select: Select, size: int = PAGE, resume: Iterable[str] = ()) -> None:
        if size < 2:
            raise ValueError(f"size: pages overlap by a row, so they need at least 2, not {size}")
        self._select = select.order_by("Id")
        self._size = size
        self._seen = set(resume)
        self._start = max(1, len(self._seen))
        self._back = 1
        self._done = False

    def next(self) -> Call | None:
        """Return the call for the next page, None when all rows are read."""
        return None if self._done else calls.query(self._select.page(self._start, self._size))

    def take(self, reply: Reply) -> list[Entity]:
        """Take the reply to the call of `next`; return the rows not seen before."""
        return [entities.parse(reply.call.entity, row) for row in self.take_raw(reply)]

    def take_raw(self, reply: Reply) -> list[dict[str, Any]]:
        """As `take`, with the rows as QuickBooks sent them: for whoever keeps them, a fraction of the time."""
        rows = reply.data["QueryResponse"].get(reply.call.entity) or []
        if self._start > 1 and not (rows and str(rows[0]["Id"]) in self._seen):
            self._start = max(1, self._start - self._back)
            self._back *= 10
            return []
        fresh = [row for row in rows if str(row["Id"]) not in self._seen]
        self._seen.update(str(row["Id"]) for row in fresh)
        self._done = len(rows) < self._size
        self._start += len(rows) - 1
        self._back = 1
        return fresh


def all_raw(execute: Callable[[Call], Reply], select: Select, size: int = PAGE) -> Iterator[dict[str, Any]]:
    """Yield every row of a query as QuickBooks sent it, page by page; `execute` is `Client.execute`."""
    pages = Pages(select, size)
    while call := pages.next():
        yield from pages.take_raw(execute(call))
