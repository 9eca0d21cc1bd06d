"""CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from services import spreadsheets

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(st.lists(st.tuples(TEXTS, st.integers(), TEXTS), max_size=5))
def test_what_is_written_is_read_back(rows: list[tuple[str, int, str]]) -> None:
    """Quotes, commas and line ends survive; nothing is lost but for the guard in front of formulas."""
    read = list(csv.reader(io.StringIO(spreadsheets.write(("a", "b", "c"), rows), newline="")))
    assert read[0] == ["a", "b", "c"]
    assert [[cell.removeprefix("'") for cell in row] for row in read[1:]] == [
        [str(cell).removeprefix("'") for cell in row] for row in rows
    ]


@given(TEXTS, st.sampled_from("=+-@\t\r\n"), st.sampled_from(["", " ", "   "]))
def test_no_text_is_a_formula(text: str, first: str, blanks: str) -> None:
    """Whatever a client or a bookkeeper wrote, no cell of it is run by a spreadsheet."""
    assert spreadsheets.safe(blanks + first + text).startswith("'")


def test_numbers_stay_numbers() -> None:
    """A negative amount is no formula, and large ones are not written with exponents."""
    assert spreadsheets.safe(-5) == "-5"
    assert spreadsheets.safe(Decimal("-1E+3")) == "-1000"
    assert spreadsheets.safe(None) == ""
