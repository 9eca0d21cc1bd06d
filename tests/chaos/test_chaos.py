"""`algasync chaos` in its short form: every role is killed, every trouble is made, and nothing is lost."""

from __future__ import annotations

import json

import pytest

from services.cli.chaos.acts import Act
from tests.support.command import RunCli


@pytest.mark.timeout(480)
def test_the_short_form_finds_nothing(run_cli: RunCli) -> None:
    """Nine kills and one of each trouble while eighty documents of every kind go their way: both books agree."""
    done = run_cli("chaos", "--kills", "9", "--documents", "80", "--seed", "8", "--json", timeout=460)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["kills"] == 9
    assert len(told["kills_by_role"]) == 8
    assert told["wipes"] == 1
    verdicts = ("lost", "doubled", "out_of_order", "stuck", "silent", "wrong")
    assert {name: told[name] for name in verdicts} == dict.fromkeys(verdicts, 0)
    assert (told["documents"] >= 80, told["seed"]) == (True, 8)
    assert (told["acts"], told["acts_not_felt"]) == (dict.fromkeys(Act, 1), {})
    for met in ("nacks_to_relay", "nacks_to_dispatcher", "refused_by_postgresql", "refused_by_broker"):
        assert told["evidence"][met] > 0, met
    assert told["acknowledged_by_api"] > 0
