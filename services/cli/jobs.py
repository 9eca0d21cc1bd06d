"""What the scheduler does by the clock: each room brings its jobs, here they get their times."""

from __future__ import annotations

from sqlalchemy import Connection

from services.cli.parts import Parts
from services.ledger import sweep
from workers.scheduler import Job

SWEEP = 2.0  # seconds; a dead worker's operation goes on at most this long after its lease


def jobs(parts: Parts) -> list[Job]:
    """All jobs of this installation."""
    return [Job("liveness_sweep", SWEEP, _sweep)]


def _sweep(connection: Connection) -> object:
    return sweep.sweep(connection)
