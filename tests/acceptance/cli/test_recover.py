"""`algasync recover` as a script calls it."""

from __future__ import annotations

from tests.support.desk import Installed, World


def test_its_json_stands_alone(desk: Installed, world: World) -> None:
    """Whatever is logged on the way goes to standard error: the output is one JSON object."""
    world.failed("inv-1")
    assert desk.json("recover")["letters_rebuilt"] == 1
    assert desk.json("recover")["letters_rebuilt"] == 0


def test_after_a_restore_it_says_what_to_do_next(desk: Installed, world: World) -> None:
    """The moment of the backup pauses the fleet; it says what comes next and how many companies look first."""
    said = desk("recover", "--after-restore", "2026-11-22T03:00Z", "--look-days", "3")
    assert "looks before it creates until" in said
    assert "algasync resume --fleet" in said
    assert "restored to 2026-11-22" in desk("pause")
    assert desk.json("recover", "--after-restore", "1d")["companies_restored"] == 1


def test_a_moment_that_cannot_be_is_refused(desk: Installed, world: World) -> None:
    """A typing mistake names the value, and the fleet is not paused."""
    assert "still to come" in desk("recover", "--after-restore", "2999-01-01", exit_code=2)
    assert "restored" not in desk("pause")
