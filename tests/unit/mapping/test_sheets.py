"""Mappings as a CSV sheet: whatever is in it goes out and comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.mapping.mappings import Mapping
from services.onboarding import sheets

COMPANY = UUID(int=1)
NOW = datetime(2026, 11, 23, tzinfo=UTC)
# Cells lose the blanks around them, which no id has.
TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text == text.strip(" ") and text.isprintable() and not text.startswith("'")
)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2)), max_size=5))
def test_what_goes_out_comes_back(rows: list[tuple[str, str, dict[str, str]]]) -> None:
    """Quotes, commas, accents and what looks like a formula survive a spreadsheet."""
    stored = [
        Mapping(COMPANY, "item", key, "", "17", name, details, NOW, "maria") for key, name, details in rows
    ]
    back = sheets.read(sheets.write(stored))
    assert [(one.key, one.external_name, one.details) for one in back] == [
        (key, name, details) for key, name, details in rows
    ]
