"""The days a statement is about: receivables are those at the end of its last day, movements those from its first."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date

from services.refusals import invalid

_WRITTEN = re.compile(r"(\d{4})(?:-(?:(0[1-9]|1[0-2])|Q([1-4])))?")


@dataclass(frozen=True, slots=True)
class Period:
    """From `begins` (None: from the beginning) through `ends`, both included; accounting dates, no times."""

    begins: date | None
    ends: date

    @classmethod
    def of(cls, written: str) -> Period:
        """A month (2026-10), a quarter (2026-Q4) or a year (2026). Raises `Refusal`."""
        found = _WRITTEN.fullmatch(written)
        if found is None or found[1] == "0000":
            raise invalid("period", f"{written!r} is no period: write 2026-10, 2026-Q4 or 2026")
        year = int(found[1])
        if found[2]:
            first = last = int(found[2])
        elif found[3]:
            last = 3 * int(found[3])
            first = last - 2
        else:
            first, last = 1, 12
        return cls(date(year, first, 1), date(year, last, calendar.monthrange(year, last)[1]))

    @classmethod
    def between(cls, begins: date | None, ends: date) -> Period:
        """From one day through another. Raises `Refusal` when they are the wrong way round."""
        if begins is not None and begins > ends:
            raise invalid("from", f"the period begins on {begins}, after its end on {ends}")
        return cls(begins, ends)

    def __str__(self) -> str:
        return f"{self.begins} to {self.ends}" if self.begins else f"everything through {self.ends}"
