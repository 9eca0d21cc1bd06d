"""Correcting a dead event: what was wrong is mended, what it is stays, and the body as it died is kept."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from services.database.engine import ALL_TENANTS
from services.exceptions import amendments
from services.exceptions.amendments import Amendment
from services.ledger.intake import Intake
from services.outbound.effects import Effects
from services.refusals import Refusal
from tests.support.desk import World, altered


def amend(world: World, letter_id: UUID, body: bytes) -> Amendment:
    """Correct as dana."""
    with world.fleet.transaction(ALL_TENANTS) as connection:
        return amendments.amend(connection, letter_id, body, "dana", "the currency was missing")


def spoiled(body: bytes, **changes: Any) -> bytes:
    """An event whose data is wrong in one field."""
    event = json.loads(body)
    event["data"] |= changes
    return json.dumps(event).encode()


def test_a_corrected_event_is_taken_over(world: World) -> None:
    """The difference is shown, the event goes on under its own id, and both bodies are kept with who and why."""
    right = world.emit("inv-3")
    wrong = spoiled(right, currency="DOLLARS")
    letter_id = world.file(wrong).letter_id
    done = amend(world, letter_id, right)
    assert [line for line in done.difference if line.startswith(("-  ", "+  "))] == [
        '-    "currency": "DOLLARS",',
        '+    "currency": "USD",',
    ]
    assert done.step.action == "emit_again"
    event_id = world.letter().event_id
    assert event_id is not None
    assert Intake(world.fleet, Effects(), world.desk).take_over(world.published(event_id)) == "applied"
    ((actor, reason, before, after),) = world.rows(
        "SELECT actor, reason, before, after FROM letter_amendment"
    )
    assert (actor, reason) == ("dana", "the currency was missing")
    assert (bytes(before), bytes(after)) == (wrong, right)


def test_what_nobody_could_read_gets_its_place(world: World) -> None:
    """A body that was no JSON said nothing about itself; corrected, it has an event, a tenant and a type."""
    right = world.emit("inv-4")
    letter_id = world.file(right[:-10]).letter_id
    assert world.letter().event_id is None
    assert amend(world, letter_id, right).step.action == "emit_again"
    letter = world.letter()
    assert (str(letter.event_id), letter.tenant_id, letter.state) == (
        json.loads(right)["id"],
        world.tenant,
        "replayed",
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11"}, "body.id"),
        ({"subject": "inv-other"}, "body.subject"),
        ({"sequence": 7}, "body.sequence"),
        ({"tenantid": "t-other"}, "body.tenantid"),
    ],
)
def test_what_it_is_stays(world: World, changes: dict[str, Any], field: str) -> None:
    """Another id, document, place or tenant is another event: refused, and nothing changes."""
    right = world.emit("inv-5")
    letter_id = world.file(spoiled(right, currency="DOLLARS")).letter_id
    event = json.loads(altered(right, **changes))
    if "subject" in changes:
        event["data"]["id"] = changes["subject"]
    with pytest.raises(Refusal, match="stays so") as caught:
        amend(world, letter_id, json.dumps(event).encode())
    assert caught.value.field == field
    assert world.letter().state == "open"
    assert world.rows("SELECT FROM letter_amendment") == []


def test_what_would_fail_again_is_refused(world: World) -> None:
    """The field and the fault are named, and the letter is as it was."""
    right = world.emit("inv-6")
    letter_id = world.file(spoiled(right, currency="DOLLARS")).letter_id
    with pytest.raises(Refusal, match=r"it would fail again, invalid_data: .*currency"):
        amend(world, letter_id, spoiled(right, currency="EUROS"))
    with pytest.raises(Refusal, match="it would fail again, bad_json"):
        amend(world, letter_id, b"{")
    assert world.letter().state == "open"


def test_nothing_changed_is_a_replay(world: World) -> None:
    """An unchanged body, however it is laid out, is no correction."""
    right = world.emit("inv-7")
    letter_id = world.file(right, reason="expired").letter_id
    with pytest.raises(Refusal, match="replay it"):
        amend(world, letter_id, json.dumps(json.loads(right), indent=4).encode())


def test_a_command_of_ours_has_no_body_to_correct(world: World) -> None:
    """An operation's letter is mended where its document is."""
    letter_id = world.die(world.failed("inv-8")).letter_id
    with pytest.raises(Refusal, match="command of ours") as caught:
        amend(world, letter_id, b"{}")
    assert caught.value.code == "not_an_event"


def test_only_an_open_letter_is_corrected(world: World) -> None:
    """What is on its way again, or given up, is left alone."""
    right = world.emit("inv-9")
    letter_id = world.file(spoiled(right, currency="DOLLARS")).letter_id
    amend(world, letter_id, right)
    with pytest.raises(Refusal, match="only an open one"):
        amend(world, letter_id, spoiled(right, number="X"))
