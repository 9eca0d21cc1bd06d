"""What a fleet is compared with: a loop that makes one call after the other, and an exporter that runs by the clock."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from services.cli.bench_invoice import on_the_wire

CYCLE: Final = 900.0  # seconds; how often the product exports without this fleet
PHASES: Final = 900  # moments at which such a cycle may begin, evenly spread


def sequential(api: str, realm: str, token: str, seconds: float, name: str) -> float:
    """Seconds that one create takes in a plain loop over HTTP for so long: no ledger, no second worker, no database."""
    import requests

    made, began = 0, time.monotonic()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        session.headers["Accept"] = "application/json"
        while (spent := time.monotonic() - began) < seconds or not made:
            made += 1
            answer = session.post(
                f"{api}/v3/company/{realm}/invoice", json=on_the_wire(f"{name}-{made}"), timeout=30
            )
            answer.raise_for_status()
    return spent / made


def cycle_freshness(arrivals: Sequence[tuple[str, float]], create_seconds: float) -> list[float]:
    """Seconds from arrival to creation if a cycle exported them: computed, for every moment a cycle may begin.

    `arrivals` are companies and the moments at which a document was committed. At each tick a company's documents that
    are there go out one after the other, `create_seconds` each; companies do not wait for each other, which is kind
    to the cycle.
    """
    found = []
    ordered = sorted(arrivals, key=lambda one: one[1])
    for phase in range(PHASES):
        shift = phase * CYCLE / PHASES
        busy: dict[str, float] = {}
        for company, moment in ordered:
            tick = -(-(moment - shift) // CYCLE) * CYCLE + shift
            busy[company] = max(tick, busy.get(company, tick)) + create_seconds
            found.append(busy[company] - moment)
    return found
