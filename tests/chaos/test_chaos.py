"""`algasync chaos` in its short form: every role is killed, the broker loses its disk, and nothing else is lost."""

from __future__ import annotations

import json

import pytest

from tests.support.command import RunCli


@pytest.mark.timeout(240)
def test_the_short_form_finds_nothing(run_cli: RunCli) -> None:
    """Eight kills over all roles while sixty documents of every kind go their way: both books agree."""
    done = run_cli("chaos", "--kills", "8", "--documents", "60", "--seed", "8", "--json", timeout=230)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == 8
    assert len(told["kills_by_role"]) == 7
    assert told["wipes"] == 1
    verdicts = ("lost", "doubled", "out_of_order", "stuck", "silent", "wrong")
    assert {name: told[name] for name in verdicts} == dict.fromkeys(verdicts, 0)
    assert (told["documents"] >= 60, told["seed"]) == (True, 8)
