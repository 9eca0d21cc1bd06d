"""Texts as QuickBooks takes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.outbound import marker
from services.outbound.texts import fitted


@given(st.text(), st.integers(min_value=3, max_value=30))
def test_a_text_fits_and_says_when_it_was_cut(text: str, longest: int) -> None:
    """However characters are counted, and never with half of one; what fits stays as it is but for what XML refuses."""
    made = fitted(text, longest)
    assert len(made.encode("utf-16-le")) <= 2 * longest
    assert made.endswith("...") or len(made) == len(text)


def test_characters_that_xml_refuses_are_spaces() -> None:
    """A stray control character of a pasted description is no reason to refuse an invoice."""
    assert fitted("a\x0bb\x1fc\ufffed\te\nf\r\U0001f600", 40) == "a b c d\te\nf\r\U0001f600"


def test_an_emoji_counts_as_two() -> None:
    """As in the languages that keep texts in UTF-16."""
    assert fitted("\U0001f600" * 2000, 4000) == "\U0001f600" * 2000
    assert fitted("\U0001f600" * 2001, 4000) == "\U0001f600" * 1998 + "..."


def test_a_note_that_is_cut_shows_it_and_keeps_its_marker() -> None:
    """The marker is how the document is known again."""
    made = marker.note("AS-TEST1234", "P" * 5000)
    assert len(made) == marker.LONGEST_NOTE
    assert made.endswith("P...\nalgasync AS-TEST1234")
