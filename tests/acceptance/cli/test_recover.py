"""`algasync recover` as a script calls it."""

from __future__ import annotations

from tests.support.desk import Installed, World


def test_its_json_stands_alone(desk: Installed, world: World) -> None:
    """Whatever is logged on the way goes to standard error: the output is one JSON object."""
    world.failed("inv-1")
    assert desk.json("recover")["letters_rebuilt"] == 1
    assert desk.json("recover")["letters_rebuilt"] == 0
