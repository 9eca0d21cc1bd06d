"""What the scheduler does by the clock: each room brings its jobs, here they get their times."""

from __future__ import annotations

from services.cli.parts import Parts
from services.exceptions import upkeep
from services.ledger import retention, sweep
from workers.scheduler import Job

SWEEP = 2.0  # seconds; a dead worker's operation goes on at most this long after its lease
UPKEEP = 60.0  # seconds
RETENTION = 600.0  # seconds; a batch each time


def jobs(parts: Parts) -> list[Job]:
    """All jobs of this installation."""
    return [
        Job("liveness_sweep", SWEEP, sweep.sweep),
        Job("events_caught_up", SWEEP, parts.intake.catch_up),
        Job("exception_sweep", UPKEEP, upkeep.sweep),
        Job("letters_rebuilt", UPKEEP, upkeep.rebuild),
        Job("ledger_retention", RETENTION, retention.forget),
    ]
