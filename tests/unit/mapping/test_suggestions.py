"""Suggestions: what an item, term or tax code may be by its name, with a score and the reason, and never more."""

from __future__ import annotations

import pytest

from services.onboarding import suggestions
from services.onboarding.choices import Choice
from services.onboarding.suggestions import Ours

ITEMS = [
    Choice("3", "Managed Services:Workstation", "Managed Services:Workstation"),
    Choice("5", "Cloud Backup", "Cloud Backup [CB-1]"),
    Choice("7", "Hardware", "Hardware"),
]
TERMS = [
    Choice("1", "Due on receipt", "Due on receipt"),
    Choice("3", "Net 15", "Net 15"),
    Choice("4", "Net 30", "Net 30"),
]


@pytest.mark.parametrize(
    ("ours", "choices", "expected", "reason"),
    [
        (Ours("s", "cloud-backup"), ITEMS, "5", "the same name"),
        (Ours("s", "Whatever", "cb-1"), ITEMS, "5", "the same SKU, cb-1"),
        (Ours("s", "Cloud Bakcup", "CB-1"), ITEMS, "5", "the same SKU, CB-1"),
        (Ours("s", "Backup, cloud"), ITEMS, "5", "the same words in another order"),
        (Ours("s", "Workstations"), ITEMS, "3", "workstations is like workstation"),
        (Ours("s", "Consulting"), ITEMS, None, ""),
        (Ours("net_30", "net_30"), TERMS, "4", "the same name"),
        (Ours("n", "30 days"), TERMS, "4", "both are due after 30 days"),
        (Ours("n", "due upon receipt"), TERMS, "1", "both are due after 0 days"),
        (Ours("n", "Net 45"), TERMS, None, ""),
        (Ours("n", ""), TERMS, None, ""),
    ],
)
def test_the_likely_one_comes_first(
    ours: Ours, choices: list[Choice], expected: str | None, reason: str
) -> None:
    """The most alike first, with its reason; nothing alike, nothing suggested."""
    found = suggestions.of([ours], choices)[ours.key]
    assert (found[0].id if found else None) == expected
    assert (found[0].evidence if found else "") == reason
    assert all(0.6 <= one.score <= 1 for one in found)
