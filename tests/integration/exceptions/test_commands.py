"""The operators' commands on a real database, called in this process: what each prints and changes."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.ledger.operations import State
from tests.support.desk import Called, World


def test_every_filter_narrows_the_list(desk: Called, world: World) -> None:
    """Tenant, company, queue, reason, type, since and id choose together."""
    world.die(world.failed("inv-1"))
    world.file(b"not json")
    (ours,) = world.letters(tenant=world.tenant)
    for words, count in (
        (("--tenant", world.tenant), 1),
        (("--company", str(world.company_id)), 1),
        (("--queue", "intake"), 1),
        (("--reason", "rejected"), 2),
        (("--type", "export_invoice"), 1),
        (("--since", "1h"), 2),
        (("--since", "2099-01-01"), 0),
        (("--id", str(ours.letter_id), "--queue", "intake"), 0),
        (("--state", "resolved"), 0),
    ):
        assert len(desk.json("dead-letters", "list", *words)["letters"]) == count, words


def test_plain_lines_carry_what_a_person_and_a_script_need(desk: Called, world: World) -> None:
    """Without a terminal: a heading, a line a letter, counts on standard error."""
    world.die(world.failed("inv-1"))
    printed = desk("dead-letters", "list").splitlines()
    assert printed[0].split("\t")[:3] == ["ID", "AGE", "TENANT"]
    assert printed[1].split("\t")[3:6] == ["export", "export_invoice", "missing_item_mapping"]
    assert printed[-1] == "1 open, 0 replayed, 0 discarded, 0 resolved"
    shown = desk("dead-letters", "show", str(world.letter().letter_id))
    assert "export_invoice of invoice inv-1 starts attempt 2" in shown
    assert '"attempt":1' in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11"), "no dead letter 0190b3c4"),
        (("list", "--id", "0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11"), "no dead letter 0190b3c4"),
        (("list", "--state", "lost"), "--state: 'lost' is none of open"),
        (("list", "--since", "yesterday"), "no age like"),
        (("list", "--company", "Acme"), "--company"),
        (("show", "seven"), "'seven' is no id"),
    ],
)
def test_wrong_input_is_named_and_exits_2(desk: Called, words: tuple[str, ...], said: str) -> None:
    """Bad input anywhere: a sentence that names it, exit code 2."""
    assert said in " ".join(desk("dead-letters", *words, exit_code=2).replace("│", "").split())


def test_an_interrupted_replay_goes_on_where_it_stopped(desk: Called, world: World) -> None:
    """Every letter is a transaction of its own; --limit and a second run show that nothing is done twice."""
    failed = [world.failed() for _ in range(5)]
    for one in failed:
        world.die(one)
    assert desk.json("dead-letters", "replay", "--limit", "2")["replayed"] == 2
    assert desk.json("dead-letters", "replay", "--rate", "0")["replayed"] == 3
    assert {world.read(one).attempt for one in failed} == {2}


def test_a_discard_without_a_choice_does_nothing(desk: Called, world: World) -> None:
    """Discarding everything there is takes saying so."""
    failed = world.failed("inv-1")
    world.die(failed)
    refused = desk.json("dead-letters", "discard", "--because", "entered by hand", exit_code=2)
    assert refused["error"]["field"] == "--id"
    planned = desk.json("dead-letters", "discard", "--queue", "export", "--dry-run")
    assert (planned["chosen"], planned["discarded"], planned["steps"][0]["action"]) == (
        1,
        0,
        "discard_operation",
    )
    assert world.read(failed).state == State.FAILED


def test_without_a_database_url_and_an_embedded_server_the_setting_is_named(desk: Called) -> None:
    """The first thing a newcomer forgets is named, with both ways out."""
    told = desk.json("exceptions", "list", exit_code=3, DATABASE_URL="")
    assert told["error"]["field"] == "DATABASE_URL"
    assert "algasync up" in told["error"]["message"]


def test_exceptions_from_the_list_to_ignore_and_back(desk: Called, world: World) -> None:
    """list, show, assign, start, comment, ignore, reopen: each does what it says and can be read back."""
    world.die(world.failed("inv-1"))
    (listed,) = desk.json("exceptions", "list", "--tenant", world.tenant)["exceptions"]
    one = listed["exception_id"]
    assert (listed["state"], listed["code"], listed["operation_state"]) == (
        "open",
        "missing_item_mapping",
        "failed",
    )
    desk("exceptions", "assign", "lee@msp.example", one)
    desk("exceptions", "start", one)
    desk("exceptions", "comment", one, "asked the bookkeeper")
    refused = desk.json("exceptions", "ignore", one, exit_code=2)
    assert refused["error"]["field"] == "--reason"
    desk("exceptions", "ignore", one, "--reason", "entered by hand")
    assert desk.json("exceptions", "list")["exceptions"] == []
    assert desk.json("exceptions", "list", "--state", "ignored")["counts"]["ignored"] == 1
    again = desk.json("exceptions", "ignore", one, str(uuid4()), "--reason", "twice", exit_code=1)
    assert "only an open one can be ignored" in again["refused"][0]["message"]
    assert "no exception" in again["refused"][1]["message"]
    desk("exceptions", "reopen", one, "--reason", "it matters")
    shown = desk.json("exceptions", "show", one)
    assert (shown["exception"]["state"], shown["exception"]["assignee"]) == ("open", "lee@msp.example")
    assert [entry["action"] for entry in shown["history"]] == [
        "exception_opened",
        "failed",
        "exception_assigned",
        "exception_started",
        "exception_comment",
        "exception_ignored",
        "exception_reopened",
    ]
    assert len(shown["letters"]) == 1
    printed = desk("exceptions", "show", one)
    for words in ("line 1, service: svc is not mapped", "135.00 USD", "asked the bookkeeper", "Dead letters"):
        assert words in printed


def test_one_fix_retries_all_that_rest_on_its_cause(desk: Called, world: World) -> None:
    """causes, retry --cause --dry-run, retry --cause; and setting a mapping does it by itself."""
    cause = f"mapping:item:{world.company_id}:svc-backup"
    failed = [world.failed(f"inv-{number}", cause) for number in range(2)]
    (listed,) = desk.json("exceptions", "causes", "--tenant", world.tenant)["causes"]
    assert (listed["cause"], listed["exceptions"], listed["releasable"]) == (cause, 2, 2)
    chosen = ("exceptions", "retry", "--tenant", world.tenant, "--cause", cause)
    assert len(desk.json(*chosen, "--dry-run")["done"]) == 2
    assert {world.read(one).attempt for one in failed} == {1}
    assert len(desk.json(*chosen)["done"]) == 2
    assert {world.read(one).attempt for one in failed} == {2}
    for one in failed:
        world.fail(one, cause)
    mapped = desk.json(
        "mappings", "set", "item", "svc-backup", "17", "--tenant", world.tenant, "--name", "Backup"
    )
    assert sorted(mapped["released"]) == sorted(str(one.operation_id) for one in failed)
    assert {world.read(one).attempt for one in failed} == {3}


def test_retry_by_id_says_what_it_cannot_do(desk: Called, world: World) -> None:
    """A second retry of the same exception is refused by the state of its operation, in dry run and for real."""
    failed = world.failed("inv-1")
    one = str(world.exception().exception_id)
    assert len(desk.json("exceptions", "retry", one, "--dry-run")["done"]) == 1
    assert len(desk.json("exceptions", "retry", one)["done"]) == 1
    assert world.read(failed).attempt == 2
    for words in (("--dry-run",), ()):
        left = desk.json("exceptions", "retry", one, *words, exit_code=1)
        assert "queued" in left["refused"][0]["message"]
    assert desk.json("exceptions", "retry", exit_code=2)["error"]["field"] == "--cause"


def test_mappings_are_set_listed_and_deleted(desk: Called, world: World) -> None:
    """The default company is meant unless one is named, by id, realm or name."""
    tenant = ("--tenant", world.tenant)
    desk("mappings", "set", "discount_item", "default", "9", *tenant)
    desk("mappings", "set", "customer", "cl-1", "58", *tenant, "--variant", "USD", "--company", "Test Co")
    listed = desk.json("mappings", "list", *tenant)["mappings"]
    assert [(one["kind"], one["key"], one["variant"], one["external_id"]) for one in listed] == [
        ("customer", "cl-1", "USD", "58"),
        ("discount_item", "", "", "9"),
    ]
    assert desk.json("mappings", "delete", "discount_item", "default", *tenant)["deleted"] is True
    assert (
        desk.json("mappings", "delete", "discount_item", "default", *tenant, exit_code=1)["deleted"] is False
    )
    for words, field in (
        (("set", "colour", "red", "1"), "kind"),
        (("set", "item", "svc", ""), "external_id"),
        (("set", "item", "svc", "1", "--company", "Nobody"), "--company"),
    ):
        assert desk.json("mappings", *words, *tenant, exit_code=2)["error"]["field"] == field
    nowhere = desk.json("mappings", "set", "item", "svc", "1", "--tenant", "t-none", exit_code=2)
    assert "has no QuickBooks company" in nowhere["error"]["message"]


def test_operations_are_listed_and_shown(desk: Called, world: World) -> None:
    """By state, kind and document; one with its letters and history."""
    failed = world.failed("inv-1")
    world.die(failed)
    world.queued("inv-2")
    listed = desk.json("operations", "list", "--state", "failed")
    assert [one["document_id"] for one in listed["operations"]] == ["inv-1"]
    assert (listed["counts"]["failed"], listed["counts"]["queued"]) == (1, 1)
    assert len(desk.json("operations", "list", "--document", "invoice/inv-2")["operations"]) == 1
    shown = desk.json("operations", "show", str(failed.operation_id))
    assert (shown["operation"]["state"], len(shown["letters"])) == ("failed", 1)
    assert "missing_item_mapping" in desk("operations", "show", str(failed.operation_id))
    assert desk.json("operations", "list", "--state", "lost", exit_code=2)["error"]["field"] == "--state"
    assert (
        desk.json("operations", "list", "--document", "inv-1", exit_code=2)["error"]["field"] == "--document"
    )
    assert "no operation" in desk.json("operations", "show", str(uuid4()), exit_code=2)["error"]["message"]


def test_pause_and_resume_name_what_they_stop(desk: Called, world: World) -> None:
    """Company, tenant or fleet, with a reason; nothing stops by leaving an option out."""
    assert desk.json("pause")["paused"] == []
    assert desk.json("pause", "--tenant", world.tenant, exit_code=2)["error"]["field"] == "--reason"
    assert desk.json("pause", "--company", str(world.company_id), exit_code=2)["error"]["field"] == "--tenant"
    words = ("--tenant", world.tenant, "--company", str(world.company_id))
    assert desk.json("pause", *words, "--reason", "books are being closed")["scope"] == "company"
    assert desk.json("pause", *words, "--reason", "again")["changed"] is False
    assert desk.json("pause", "--fleet", "--reason", "maintenance")["changed"] is True
    assert [one["scope"] for one in desk.json("pause")["paused"]] == ["company", "fleet"]
    assert desk.json("connections", "list")["connections"][0]["paused"] is True
    assert desk.json("resume", "--fleet")["changed"] is True
    assert desk.json("resume", *words)["operations_woken"] == 0
    assert desk.json("resume", *words)["changed"] is False
    assert desk.json("resume", exit_code=2)["error"]["field"] == "--tenant"


def test_doctor_tells_an_old_database_from_a_healthy_one(desk: Called, world: World) -> None:
    """Healthy: exit 0 and what was not looked at. Silent failures and stuck events: findings with a mend, exit 1."""
    healthy = desk.json("doctor")
    assert (healthy["healthy"], healthy["findings"]) == (True, [])
    assert "RabbitMQ" in healthy["not_checked"][0]
    one = world.queued()
    world.set(one, state="failed", reason_code="odd")
    ill = desk.json("doctor", exit_code=1)
    assert ["recover" in finding["mend"] for finding in ill["findings"]] == [True]
    down = desk.json("doctor", exit_code=3, DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert down["findings"][0]["subject"] == "database"
    assert "the database" in down["not_checked"][0]


def test_migrate_is_safe_to_repeat(desk: Called) -> None:
    """A second run changes nothing and says so."""
    done = desk.json("migrate")
    assert done["before"] == done["revision"]
    assert "already" in desk("migrate")


def test_json_is_one_object_whatever_happens(desk: Called, world: World) -> None:
    """Nothing but the object on standard output, also with hostile text in the data and after errors."""
    world.report(happened='"quotes", {braces}\n [markup] and an é', title="[bold]x[/bold]")
    (one,) = desk.json("exceptions", "list")["exceptions"]
    assert one["title"] == "[bold]x[/bold]"
    assert "[bold]x[/bold]" in desk("exceptions", "list")
    assert json.loads(json.dumps(one)) == one


def test_keys_are_shown_once_rotated_and_revoked(desk: Called, world: World) -> None:
    """A secret appears when it is made and never again; a revoked key stays listed."""
    tenant = ("--tenant", world.tenant)
    made = desk.json(
        "keys", "create", *tenant, "--name", "psa", "--scope", "accounting:manage", "--scope", "events:write"
    )
    assert made["secret"].startswith("algasync_")
    assert made["key"]["scopes"] == ["accounting:manage", "events:write"]
    turned = desk.json("keys", "rotate", made["key"]["key_id"], *tenant, "--grace-hours", "1")
    assert turned["secret"] != made["secret"]
    assert desk.json("keys", "revoke", turned["key"]["key_id"], *tenant)["key"]["revoked_at"]
    listed = desk("keys", "list", *tenant)
    assert made["secret"] not in listed
    assert "revoked" in listed
    plain = desk("keys", "create", *tenant, "--name", "second", "--scope", "accounting:read").splitlines()
    assert plain[0].startswith("algasync_")
    wrong = desk.json("keys", "create", *tenant, "--name", "x", "--scope", "everything", exit_code=2)
    assert wrong["error"]["field"] == "scopes"
    assert (
        desk.json("keys", "revoke", turned["key"]["key_id"], *tenant, exit_code=1)["error"]["code"]
        == "key_revoked"
    )


def test_keys_of_the_psa_are_trusted_and_distrusted(desk: Called, world: World, tmp_path: Path) -> None:
    """A public key is registered by its file, listed, and ended at once or after a while."""
    tenant = ("--tenant", world.tenant)
    public = Ed25519PrivateKey.generate().public_key()
    file = tmp_path / "psa.pem"
    file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    trust = ("keys", "trust", *tenant, "--name", "psa", "--issuer", "https://psa.example")
    made = desk.json(*trust, "--public-key", str(file), "--per-minute", "60")["key"]
    assert (made["algorithm"], made["per_minute"]) == ("EdDSA", 60)
    assert desk(*trust, "--public-key", str(file)).splitlines()[0] != made["signing_key_id"]
    wrong = desk.json(*trust, "--public-key", str(file), "--algorithm", "RS256", exit_code=2)
    assert wrong["error"]["field"] == "public_key"
    later = desk.json("keys", "distrust", made["signing_key_id"], *tenant, "--grace-hours", "1")["key"]
    assert (later["revoked_at"], bool(later["expires_at"])) == (None, True)
    assert desk.json("keys", "distrust", made["signing_key_id"], *tenant)["key"]["revoked_at"]
    assert "revoked" in desk("keys", "trusted", *tenant)


def test_many_are_chosen_by_what_they_are(desk: Called, world: World) -> None:
    """By code, type or client of one tenant, or by id; never by nothing, and never of all tenants."""
    for number in range(3):
        world.failed(f"inv-{number}", client_id=f"cl-{number % 2}")
    world.failed("inv-9", code="other")
    chosen = ("--tenant", world.tenant, "--code", "missing_item_mapping")
    assert len(desk.json("exceptions", "assign", "dana", *chosen, "--client", "cl-0")["done"]) == 2
    assert len(desk.json("exceptions", "retry", *chosen, "--dry-run")["done"]) == 3
    assert len(desk.json("exceptions", "retry", *chosen)["done"]) == 3
    assert len(desk.json("exceptions", "ignore", *chosen, "--reason", "by hand")["done"]) == 3
    assert [one.entity_id for one in world.exceptions() if one.state == "open"] == ["inv-9"]
    for words in (("--code", "x"), (), ("0190b3c4", "--code", "x", "--tenant", "t")):
        refused = desk.json("exceptions", "ignore", *words, "--reason", "x", exit_code=2)
        assert refused["error"]["code"] == "nothing_chosen"


def test_the_list_as_a_sheet_and_in_another_order(desk: Called, world: World) -> None:
    """--csv gives all rows, --sort orders, --after goes on in that order."""
    for number, amount in enumerate((500, 900, 700)):
        world.failed(f"inv-{number}", amount=amount)
    sheet = desk("exceptions", "list", "--tenant", world.tenant, "--csv", "--search", "INV-7")
    assert len(sheet.splitlines()) == 4
    first = desk.json("exceptions", "list", "--sort", "amount", "--limit", "2")
    assert [one["amount"] for one in first["exceptions"]] == [900, 700]
    rest = desk.json("exceptions", "list", "--sort", "amount", "--after", first["next"])
    assert [one["amount"] for one in rest["exceptions"]] == [500]
    assert desk.json("exceptions", "list", "--sort", "size", exit_code=2)["error"]["field"] == "--sort"


def test_the_end_of_an_id_is_enough(desk: Called, world: World) -> None:
    """A table shows the last characters of ids, and commands take them; what is not unique or no id is named."""
    failed = world.failed("inv-1")
    letter = world.die(failed).letter_id
    tail = str(letter)[-12:]
    assert desk.json("dead-letters", "show", tail)["letter"]["letter_id"] == str(letter)
    assert desk.json("dead-letters", "replay", "--id", tail.upper())["replayed"] == 1
    one = str(world.exception().exception_id)
    assert len(desk.json("exceptions", "start", one[-8:])["done"]) == 1
    assert desk.json("operations", "show", str(failed.operation_id)[-10:])["operation"]["attempt"] == 2
    for words in (("show", "12345"), ("show", "g" * 12), ("start", one, "f" * 30)):
        refused = desk.json("exceptions", *words, exit_code=2)
        assert refused["error"]["code"] == "invalid_id"
    assert world.exception().state == "in_progress"
