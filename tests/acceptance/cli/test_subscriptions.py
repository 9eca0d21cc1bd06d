"""`algasync subscriptions` and `notices`, as an operator calls them."""

from __future__ import annotations

from typing import Any

from services.database.engine import ALL_TENANTS
from services.exceptions import notices
from services.psa import lanes
from services.psa.sending import Sent
from tests.support.desk import Installed, World
from tests.support.fleet import FERNET_KEY
from tests.support.telling import tell

URL = "https://psa.example/hooks"
KEYS = {"ALGASYNC_SECRET_KEYS": FERNET_KEY}


def make(desk: Installed, world: World) -> dict[str, Any]:
    """Subscribe an address."""
    made: dict[str, Any] = desk.json(
        *("subscriptions", "create", "--tenant", world.tenant, "--name", "psa", "--url", URL),
        **KEYS,
    )
    return made


def test_a_webhook_from_its_making_to_its_end(desk: Installed, world: World) -> None:
    """Secret shown once; list, change, pause, resume, rotate, delete; each says what it did."""
    made = make(desk, world)
    where = [made["subscription"]["subscription_id"], "--tenant", world.tenant]
    assert made["secret"].startswith("whsec_")
    (listed,) = desk.json("subscriptions", "list", "--tenant", world.tenant)["subscriptions"]
    assert (listed["name"], listed["state"], "secret" in listed) == ("psa", "active", False)
    changed = desk.json("subscriptions", "change", *where, "--type", "payment.received.v1")["subscription"]
    assert changed["event_types"] == ["payment.received.v1"]
    paused = desk.json("subscriptions", "pause", *where, "--reason", "upgrade")["subscription"]
    assert (paused["state"], paused["state_reason"]) == ("paused", "upgrade")
    assert desk.json("subscriptions", "resume", *where)["subscription"]["state"] == "active"
    assert desk.json("subscriptions", "rotate", *where, **KEYS)["secret"] != made["secret"]
    desk.json("subscriptions", "delete", *where)
    assert desk.json("subscriptions", "list", "--tenant", world.tenant) == {"subscriptions": []}


def test_the_log_and_a_replay(desk: Installed, world: World) -> None:
    """What failed and why; a dry run counts, a replay sends again."""
    made = make(desk, world)
    where = [made["subscription"]["subscription_id"], "--tenant", world.tenant]
    tell(world.fleet, world.tenant, "inv-1")
    with world.fleet.transaction(ALL_TENANTS) as connection:
        ((subscription_id, _),) = lanes.due(connection)
        lane = lanes.take(connection, subscription_id)
        assert lane is not None
        chosen = lanes.choose(connection, lane)
        assert isinstance(chosen, lanes.Next)
        lanes.record(connection, lane, chosen, Sent("delivered", 200, reply="thanks"), 7)
        lanes.release(connection, lane)
    (delivery,) = desk.json("subscriptions", "deliveries", *where)["deliveries"]
    assert (delivery["state"], delivery["status"]) == ("delivered", 200)
    shown = desk.json("subscriptions", "attempts", where[0], delivery["delivery_id"], *where[1:])
    assert [(one["reply"], one["milliseconds"]) for one in shown["log"]] == [("thanks", 7)]
    assert desk.json("subscriptions", "replay", *where, "--since", "1h", "--dry-run")["events"] == 1
    assert desk.json("subscriptions", "deliveries", *where, "--state", "pending")["deliveries"] == []
    assert desk.json("subscriptions", "replay", where[0], delivery["delivery_id"], *where[1:])["events"] == 1
    (pending,) = desk.json("subscriptions", "deliveries", *where, "--state", "pending")["deliveries"]
    assert pending["delivery_id"] == delivery["delivery_id"]


def test_bad_input_changes_nothing(desk: Installed, world: World) -> None:
    """A private address is refused with exit code 2, naming the field and what the operator may do."""
    words = ("subscriptions", "create", "--tenant", world.tenant, "--name", "x", "--url", "https://10.0.0.1/")
    said = desk(*words, exit_code=2, **KEYS)
    assert "ALGASYNC_WEBHOOK_NETWORKS" in said
    assert desk.json("subscriptions", "list", "--tenant", world.tenant) == {"subscriptions": []}
    said = desk(*words, exit_code=2, **KEYS, ALGASYNC_WEBHOOK_NETWORKS="10.0.0.0/99")
    assert said.startswith("ALGASYNC_WEBHOOK_NETWORKS: ")


def test_notices_are_listed(desk: Installed, world: World) -> None:
    """With where they went; a test mail without a server says which setting is missing."""
    with world.fleet.transaction(world.tenant) as connection:
        notices.write(connection, world.tenant, "backlog", "k", "Accounting sync is behind", "Text")
    (notice,) = desk.json("notices", "list", "--tenant", world.tenant)["notices"]
    assert (notice["title"], notice["told"]) == ("Accounting sync is behind", [])
    words = ("notices", "test", "--to", "a@psa.example")
    assert "ALGASYNC_SMTP_HOST" in desk(*words, exit_code=1)
    assert "ALGASYNC_SMTP" in desk(*words, exit_code=2, ALGASYNC_SMTP_HOST="mail.psa.example")
