"""CSV that a spreadsheet opens without harm: RFC 4180, and no cell that a spreadsheet would run as a formula.

https://www.rfc-editor.org/rfc/rfc4180 and https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | int | Decimal | datetime | None


def safe(value: Cell) -> str:
    """One cell. Text that begins like a formula gets an apostrophe in front; numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def write(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A whole table with its heading; lines end with CR LF as RFC 4180 wants."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows([safe(cell) for cell in row] for row in rows)
    return written.getvalue()
