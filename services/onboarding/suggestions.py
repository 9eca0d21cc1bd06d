"""Which item, term or tax code of QuickBooks one of ours may be, by its name: a score and evidence, never a link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from services.onboarding import names
from services.onboarding.choices import Choice

MOST = 5
"""Suggestions for one."""


@dataclass(frozen=True, slots=True)
class Ours:
    """Something of ours that is to be mapped: its id and its name in the PSA."""

    key: str
    name: str
    sku: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A choice that may be meant: how alike, from 0 to 1, and why."""

    id: str
    label: str
    score: float
    evidence: str


def of(ours: Iterable[Ours], choices: Sequence[Choice]) -> dict[str, list[Suggestion]]:
    """Suggestions by key, the most alike first; a key without any has an empty list."""
    keys = {choice.id: _fold(_leaf(choice.name)) for choice in choices}
    return {one.key: _of(one, choices, keys) for one in ours}


def _of(one: Ours, choices: Sequence[Choice], keys: dict[str, str]) -> list[Suggestion]:
    wanted = _fold(one.name)
    if not wanted:
        return []
    likely = {
        id_ for _, _, id_ in process.extract(wanted, keys, scorer=fuzz.WRatio, limit=20, score_cutoff=55)
    }
    days = _days(one.name)
    found = []
    for choice in choices:
        if choice.id in likely or _same_sku(one, choice) or (days is not None and days == _days(choice.name)):
            score, evidence = _likeness(one, wanted, days, choice, keys[choice.id])
            if score >= names.SUGGESTED:
                found.append(Suggestion(choice.id, choice.label, round(score, 3), evidence))
    return sorted(found, key=lambda one: (-one.score, one.label))[:MOST]


def _likeness(one: Ours, wanted: str, days: int | None, choice: Choice, key: str) -> tuple[float, str]:
    if _same_sku(one, choice):
        return 1.0, f"the same SKU, {one.sku}"
    if wanted == key:
        return 1.0, "the same name"
    if days is not None and days == _days(choice.name):
        return 0.95, f"both are due after {days} days"
    found = names.likeness(names.fold(wanted), names.fold(key))
    return found.score, found.evidence


def _same_sku(one: Ours, choice: Choice) -> bool:
    return bool(one.sku) and f"[{one.sku}]".casefold() in choice.label.casefold()


def _leaf(name: str) -> str:
    """The last part of "Hardware:Laptops"."""
    return name.rpartition(":")[2]


def _fold(name: str) -> str:
    """Ids are names too in a PSA: "net_30" reads as "net 30"."""
    return names.fold(re.sub(r"[_\-]+", " ", name)).key


def _days(name: str) -> int | None:
    """How many days a payment term gives: "Net 30", "net_30", "due_on_receipt"."""
    folded = _fold(name)
    if re.fullmatch(r"(due )?(on|upon) receipt", folded):
        return 0
    found = re.fullmatch(r"(?:net|n) ?(\d{1,3})(?: days?)?|(\d{1,3}) days?(?: net)?", folded)
    return int(found[1] or found[2]) if found else None
