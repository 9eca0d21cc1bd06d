"""Which process dies when: by quota, in an order that is the same for the same seed."""

from __future__ import annotations

import random
from itertools import cycle
from typing import Final, NamedTuple

from services.cli.chaos.boundaries import Boundary

QUOTA: Final = {
    "workers": 80,
    "database": 20,
    "relay": 20,
    "dispatcher": 20,
    "api": 15,
    "broker": 15,
    "collector": 15,
    "scheduler": 15,
}
"""Of 200 kills."""


class Blow(NamedTuple):
    """One SIGKILL: anywhere, or of a worker that stands at a boundary; a broker may lose its disk with it."""

    role: str
    boundary: Boundary | None = None
    wipe: bool = False


def blows(kills: int, chance: random.Random) -> list[Blow]:
    """So many blows by quota. Workers die at each boundary in turn, and anywhere; the broker's disk is lost once."""
    share = shares(kills)
    places = cycle([*Boundary, None])
    dealt = [Blow("workers", next(places)) for _ in range(share.pop("workers"))]
    dealt += [Blow(role) for role, number in share.items() for _ in range(number)]
    chance.shuffle(dealt)
    brokers = [index for index, blow in enumerate(dealt) if blow.role == "broker"]
    if brokers:
        dealt[brokers[len(brokers) // 2]] = Blow("broker", wipe=True)
    return dealt


def shares(kills: int) -> dict[str, int]:
    """How many kills each role gets: the quota scaled, the largest remainders rounded up, one each where it goes."""
    exact = {role: kills * part / sum(QUOTA.values()) for role, part in QUOTA.items()}
    share = {role: int(number) for role, number in exact.items()}
    if kills >= len(QUOTA):
        share = {role: max(1, number) for role, number in share.items()}
    by_remainder = sorted(QUOTA, key=lambda role: exact[role] - share[role], reverse=True)
    for role in cycle(by_remainder):
        missing = kills - sum(share.values())
        if missing == 0:
            return share
        if missing < 0 and share[role] <= 1:
            continue
        share[role] += 1 if missing > 0 else -1
    raise AssertionError("a cycle does not end")
