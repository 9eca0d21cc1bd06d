"""What a run did, and what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from services.cli.chaos.checker import Finding


@dataclass(slots=True)
class Outcome:
    """Counts of a run, while it goes on and afterwards.

    `boundaries` are kills of workers that stood there, `not_reached` tries in which none came there in time, `fell`
    processes that ended although nobody killed them. `acts` are troubles that the fleet has felt, `not_felt` those that
    nothing of it met in time, `evidence` is by what they were felt: nacks, refused connections, sessions that waited.
    """

    documents: int
    events: int
    kills: Counter[str] = field(default_factory=Counter)
    boundaries: Counter[str] = field(default_factory=Counter)
    not_reached: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    fell: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    not_felt: Counter[str] = field(default_factory=Counter)
    evidence: Counter[str] = field(default_factory=Counter)
    wipes: int = 0
    cuts: int = 0
    acknowledged: int = 0  # events that the API has acknowledged
    repeated: int = 0  # requests to the API that had to be sent again
    retried: int = 0  # exceptions that operators tried again
    received: int = 0  # payments that bookkeepers received in QuickBooks
    done: int = 0  # operations, as the last look saw them
    findings: list[Finding] = field(default_factory=list)


Watch = Callable[[str, Outcome], None]
"""Told what happens next ("" when nothing new does), and how far the run is."""
