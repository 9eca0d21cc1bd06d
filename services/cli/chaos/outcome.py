"""What a run did, and what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from services.cli.chaos.checker import Finding


@dataclass(slots=True)
class Outcome:
    """Counts of a run, while it goes on and afterwards.

    `boundaries` are kills of workers that stood there, `not_reached` those for which none came there in time, `fell`
    processes that ended although nobody killed them.
    """

    documents: int
    events: int
    kills: Counter[str] = field(default_factory=Counter)
    boundaries: Counter[str] = field(default_factory=Counter)
    not_reached: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    fell: Counter[str] = field(default_factory=Counter)
    wipes: int = 0
    cuts: int = 0
    received: int = 0  # payments that bookkeepers received in QuickBooks
    done: int = 0  # operations, as the last look saw them
    findings: list[Finding] = field(default_factory=list)


Watch = Callable[[str, Outcome], None]
"""Told what happens next ("" when nothing new does), and how far the run is."""
