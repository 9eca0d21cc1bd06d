"""Names of customers: exact is never wrong, and what is worth a look is found."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.onboarding import names

_WRITTEN = Path(__file__).with_name("pairs.csv").read_text(encoding="utf-8")
PAIRS = [(row["a"], row["b"], row["label"] == "same") for row in csv.DictReader(_WRITTEN.splitlines())]
WORDS = st.text("abcdefghijklmnopqrstuvwxyzäéø0123456789 &.,'-", min_size=1, max_size=40)


def quality(said: list[bool]) -> tuple[float, float]:
    """Precision and recall of what was said of every pair."""
    right = sum(one and label for one, (_, _, label) in zip(said, PAIRS, strict=True))
    return right / max(sum(said), 1), right / sum(label for _, _, label in PAIRS)


def test_labelled_pairs_are_many_and_of_both_kinds() -> None:
    """The set that judges the matching has at least 300 pairs, and neither answer alone would do well on it."""
    same = sum(label for _, _, label in PAIRS)
    assert len(PAIRS) >= 300
    assert 0.35 <= same / len(PAIRS) <= 0.65
    assert len({(a, b) for a, b, _ in PAIRS}) == len(PAIRS)


def test_exact_is_never_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """No pair that a person calls different is ever called exact; a third of the true pairs need no person."""
    said = [names.same(names.fold(a), names.fold(b)) for a, b, _ in PAIRS]
    precision, recall = quality(said)
    with capsys.disabled():
        sys.stdout.write(f"\nexact: precision {precision:.3f}, recall {recall:.3f} of {len(PAIRS)} pairs\n")
    wrong = [(a, b) for exact, (a, b, label) in zip(said, PAIRS, strict=True) if exact and not label]
    assert wrong == []
    assert recall >= 0.4


def test_suggestions_find_nearly_all_and_seldom_mislead(capsys: pytest.CaptureFixture[str]) -> None:
    """What a person is asked to confirm holds nearly every true pair, and few that are none."""
    said = [names.likeness(names.fold(a), names.fold(b)).score >= names.SUGGESTED for a, b, _ in PAIRS]
    precision, recall = quality(said)
    with capsys.disabled():
        sys.stdout.write(
            f"\nsuggested: precision {precision:.3f}, recall {recall:.3f} of {len(PAIRS)} pairs\n"
        )
    assert recall >= 0.95
    assert precision >= 0.8


@pytest.mark.parametrize("name", ["LLC", "Co Ltd", "Inc.", "", "  ", "& Co", "...", "The Company"])
def test_a_name_that_folds_to_nothing_matches_nothing(name: str) -> None:
    """Names made of legal forms only are never the same as anything, not even as themselves."""
    folded = names.fold(name)
    assert not names.same(folded, names.fold("Limited"))
    assert not names.same(folded, folded) or folded.key
    assert names.likeness(names.fold("Ltd"), folded).score == 0


@given(WORDS, WORDS)
def test_likeness_is_a_share_and_says_why(a: str, b: str) -> None:
    """Any two names get a score from 0 to 1 with its evidence, and names called the same score 1."""
    one, other = names.fold(a), names.fold(b)
    found = names.likeness(one, other)
    assert 0 <= found.score <= 1
    assert found.evidence
    if names.same(one, other):
        assert found.score == 1
        assert names.same(other, one)


@given(WORDS)
def test_case_and_spaces_never_matter(name: str) -> None:
    """The same name in capitals or with more spaces is the same name."""
    assert names.fold(name.upper()).key == names.fold(f"  {name} ").key
