"""Who dies and what else goes wrong in a run of `algasync chaos`: by the design's quotas, and the same for a seed."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.cli.chaos import acts, killer
from services.cli.chaos.acts import Act
from services.cli.chaos.boundaries import Boundary
from services.cli.chaos.killer import Blow


def dealt(kills: int, seed: int = 7) -> tuple[list[Blow], list[list[Act]]]:
    """A run's blows and acts."""
    chance = random.Random(seed)
    blows = killer.blows(kills, chance)
    return blows, acts.deal(blows, chance)


def test_quotas_of_the_long_run() -> None:
    """200 kills are what the design asks for, and each act happens five times."""
    blows, troubles = dealt(200)
    roles = Counter(blow.role for blow in blows)
    assert roles.total() == 200
    assert roles["broker"] >= 15
    assert roles["database"] >= 20
    assert roles["workers"] >= 80
    assert set(roles) == {*killer.QUOTA, "api"}
    boundaries = Counter(blow.boundary for blow in blows if blow.boundary)
    assert {boundaries[one] >= 10 for one in Boundary} == {True}
    assert sum(blow.wipe for blow in blows) == 1
    assert Counter(act for some in troubles for act in some) == dict.fromkeys(Act, 5)


@pytest.mark.parametrize("kills", [1, 8, 9, 40])
def test_every_act_happens_in_a_short_run(kills: int) -> None:
    """Once each, however few the kills are; and the kills stay as many as they were."""
    blows, troubles = dealt(kills)
    assert len(blows) == len(troubles) == kills
    assert Counter(act for some in troubles for act in some) == dict.fromkeys(Act, 1)


def test_a_run_can_be_repeated() -> None:
    """The same seed, the same day."""
    assert dealt(40) == dealt(40)
    assert dealt(40) != dealt(40, seed=8)


def test_no_blow_falls_into_what_it_could_not_come_out_of() -> None:
    """A worker at a boundary and a recovery need servers that answer, and so does a broker that is to come up."""
    for act in Act:
        assert not acts.falls_into(Blow("workers", Boundary.BEFORE_CALL), act)
        assert not acts.falls_into(Blow("broker", wipe=True), act)
        assert acts.falls_into(Blow("relay"), act)
    assert not acts.falls_into(Blow("broker"), Act.BROKER_FULL)


@pytest.mark.parametrize("ahead", [86_400, -420])
def test_a_wrong_clock(tmp_path: Path, ahead: int) -> None:
    """A process under it takes another time of day for the present one, however it asks, and sees no other classes."""
    clock = importlib.util.find_spec("services.cli.chaos.clock")
    assert clock is not None
    assert clock.origin is not None
    (tmp_path / "sitecustomize.py").write_bytes(Path(clock.origin).read_bytes())
    asked = (
        "import datetime, time; u = datetime.timezone.utc; now = datetime.datetime.now(u);"
        " print(now.isoformat(), datetime.datetime.fromtimestamp(time.time(), u).isoformat(),"
        " datetime.datetime.fromtimestamp(time.time_ns() / 1e9, u).isoformat(), type(now) is datetime.datetime)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": str(tmp_path), "CLOCK_AHEAD_SECONDS": str(ahead)},
        capture_output=True,
        text=True,
        check=True,
    )
    *moments, same = done.stdout.split()
    assert same == "True"
    for moment in moments:
        off = datetime.fromisoformat(moment) - datetime.now(UTC) - timedelta(seconds=ahead)
        assert abs(off) < timedelta(minutes=1)
