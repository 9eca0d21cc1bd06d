"""`algasync dead-letters` as an operator types it."""

from __future__ import annotations

from pathlib import Path

from services.ledger.operations import State
from tests.support.desk import Installed, World


def test_from_the_list_over_the_dry_run_to_the_replay(desk: Installed, world: World) -> None:
    """list, replay --dry-run, replay: the plan changes nothing, the replay does what the plan said, once."""
    failed = world.failed("inv-1")
    world.die(failed)
    world.file(b"not json")

    listed = desk.json("dead-letters", "list")
    assert [letter["code"] for letter in listed["letters"]] == ["missing_item_mapping", "bad_json"]
    assert listed["counts"]["open"] == 2
    chosen = ("--tenant", world.tenant, "--reason", "missing_item_mapping")

    planned = desk.json("dead-letters", "replay", *chosen, "--dry-run")
    assert (planned["dry_run"], planned["chosen"], planned["replayed"]) == (True, 1, 0)
    assert planned["steps"][0]["explanation"] == "export_invoice of invoice inv-1 starts attempt 2"
    assert world.read(failed).state == State.FAILED

    done = desk.json("dead-letters", "replay", *chosen, "--because", "item mapped")
    assert done["replayed"] == 1
    assert (world.read(failed).state, world.read(failed).attempt) == (State.QUEUED, 2)
    assert (world.letters()[0].closed_by, world.letters()[0].close_reason) == ("dana", "item mapped")

    again = desk.json("dead-letters", "replay", "--id", str(listed["letters"][0]["letter_id"]), exit_code=1)
    assert (again["replayed"], again["steps"][0]["action"]) == (0, "nothing")
    assert world.read(failed).attempt == 2


def test_discarding_needs_a_reason(desk: Installed, world: World) -> None:
    """Giving work up is never an accident: without a reason nothing happens, and the option is named."""
    failed = world.failed("inv-1")
    letter = world.die(failed).letter_id
    refused = desk.json("dead-letters", "discard", "--id", str(letter), exit_code=2)
    assert refused["error"]["field"] == "--because"
    assert world.read(failed).state == State.FAILED
    done = desk.json("dead-letters", "discard", "--id", str(letter), "--because", "entered by hand")
    assert done["discarded"] == 1
    assert world.read(failed).state == State.DISCARDED


def test_letters_are_listed_and_replayed_without_a_broker(desk: Installed, world: World) -> None:
    """With RabbitMQ down everything in SQL works, and the list says what it cannot see."""
    failed = world.failed("inv-1")
    world.die(failed)
    down = {"BROKER_URL": "amqp://nobody:nothing@127.0.0.1:9/"}
    listed = desk.json("dead-letters", "list", **down)
    assert len(listed["letters"]) == 1
    assert "The broker does not answer" in listed["not_seen"]
    assert desk.json("dead-letters", "replay", **down)["replayed"] == 1
    assert world.read(failed).attempt == 2


def test_without_a_database_it_says_so_and_exits_3(desk: Installed) -> None:
    """No server: a sentence, exit code 3, nothing of the password."""
    url = "postgresql://someone:fake-password@127.0.0.1:9/algasync"
    told = desk.json("dead-letters", "list", exit_code=3, DATABASE_URL=url)
    assert told["error"]["code"] == "database_unreachable"
    assert "fake-password" not in str(told)


def test_an_event_is_corrected_and_sent_again(desk: Installed, world: World, tmp_path: Path) -> None:
    """The dry run shows the difference and changes nothing; with a reason it is done."""
    right = world.emit("inv-3")
    wrong = right.replace(b'"USD"', b'"DOLLARS"')
    letter_id = str(world.file(wrong).letter_id)
    fixed = tmp_path / "fixed.json"
    fixed.write_bytes(right)
    dry = desk("dead-letters", "amend", letter_id, "--body", str(fixed), "--dry-run")
    assert '+    "currency": "USD"' in dry
    assert "would do: emits invoice.finalized.v1" in dry
    assert world.letter().state == "open"
    desk("dead-letters", "amend", letter_id, "--body", str(fixed), exit_code=2)
    told = desk.json("dead-letters", "amend", letter_id, "--body", str(fixed), "--because", "typing mistake")
    assert told["step"]["action"] == "emit_again"
    assert world.letter().state == "replayed"
