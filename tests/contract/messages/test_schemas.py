"""The published schemas are current, describe what the models take, and only ever widen."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from messages import CATALOG, problems, samples, schemas
from messages.schemas import asyncapi
from messages.schemas.__main__ import main
from messages.schemas.compatibility import breaks

INVOICE = "com.algapsa.billing.invoice.finalized.v1"
RECEIVED = "com.algapsa.accounting.payment.received.v1"

Change = Callable[[dict[str, Any]], object]


def test_the_published_schemas_are_current() -> None:
    """What stands in the repository is what the models say."""
    assert schemas.published() == schemas.generated(), "run `python -m messages.schemas write`"


def test_no_change_breaks_what_was_published() -> None:
    """Messages written by an earlier release stay valid; a change that breaks them is a new version."""
    assert breaks(schemas.published(), schemas.generated()) == []


@pytest.mark.parametrize("name", samples.names())
def test_samples_are_valid_by_their_schema(name: str) -> None:
    """A sender that checks its events against the schema is right, and the schema is well formed itself."""
    event = json.loads(samples.read(name))
    schema = schemas.published()[event["type"]]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(event)


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_schema_and_model_require_the_same_fields(name: str) -> None:
    """Taking any one field out of the data is refused by both or by neither."""
    validator = jsonschema.Draft202012Validator(schemas.published()[name])
    event = json.loads(samples.read(name))
    for field in event["data"]:
        fewer = event | {"data": {key: value for key, value in event["data"].items() if key != field}}
        missing = [
            problem
            for problem in problems(name, fewer["data"])
            if problem.message.startswith("is missing; send it")
        ]
        assert validator.is_valid(fewer) == (not missing), field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("total", 100.5),
        ("total", "100"),
        ("currency", "usd"),
        ("invoice_date", "2026-03-31T00:00:00Z"),
        ("exchange_rate", 1.5),
        ("tax_source", "other"),
        ("lines", {}),
        ("client", None),
        ("number", ""),
    ],
)
def test_the_schema_refuses_what_the_model_refuses(field: str, value: Any) -> None:
    """The common mistakes are caught by the schema alone, before anything is sent."""
    event = json.loads(samples.read(INVOICE))
    event["data"][field] = value
    assert problems(INVOICE, event["data"])
    assert not jsonschema.Draft202012Validator(schemas.published()[INVOICE]).is_valid(event)


def changed(name: str, change: Change) -> list[str]:
    """Return what a change of one event's schema breaks."""
    old = {name: schemas.published()[name]}
    new = copy.deepcopy(old)
    change(new[name])
    return [sentence.removeprefix(f"{name}: ") for sentence in breaks(old, new)]


def data(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an event's data."""
    found: dict[str, Any] = schema["$defs"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]
    return found


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: data(s)["properties"].pop("po_number"), "data.po_number is gone"),
        (
            lambda s: data(s)["properties"].update(purchase_order=data(s)["properties"].pop("po_number")),
            "data.po_number is gone",
        ),
        (lambda s: data(s)["required"].append("po_number"), "data.po_number is now required"),
        (
            lambda s: data(s)["properties"].update(total={"type": "string"}),
            "data.total no longer takes integer",
        ),
        (
            lambda s: data(s)["properties"]["tax_source"]["enum"].remove("external"),
            "data.tax_source no longer takes 'external'",
        ),
        (
            lambda s: data(s)["properties"]["terms"].update(anyOf=[{"type": "string"}]),
            "data.terms no longer takes null",
        ),
        (
            lambda s: s["$defs"]["Line"]["properties"]["net_amount"].update(minimum=0),
            "data.lines[].net_amount has a narrower minimum: -9007199254740991 became 0",
        ),
        (
            lambda s: s["$defs"]["Line"]["properties"]["id"].update(maxLength=36),
            "data.lines[].id has a narrower maxLength: 200 became 36",
        ),
        (
            lambda s: s["$defs"]["Line"]["properties"]["description"].update(pattern="^.+$"),
            r"data.lines[].description has another pattern: ^[^\x00]*$ became ^.+$",
        ),
        (
            lambda s: s["$defs"]["Client"]["required"].append("billing_email"),
            "data.client.billing_email is now",
        ),
        (
            lambda s: data(s)["properties"]["finalized_at"].update(enum=["now"]),
            "data.finalized_at now takes only 'now'",
        ),
        (lambda s: s["required"].append("sequence"), "sequence is now required"),
    ],
)
def test_narrowing_is_found(change: Change, sentence: str) -> None:
    """Whatever makes a formerly valid message invalid is named with its field."""
    (found,) = changed(INVOICE, change)
    assert found.startswith(sentence)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: data(s)["properties"].update(loyalty_points={"type": "integer"}),
        lambda s: data(s)["required"].remove("due_date"),
        lambda s: data(s)["properties"]["tax_source"]["enum"].append("avalara"),
        lambda s: s["$defs"]["Line"]["properties"]["id"].update(maxLength=400),
        lambda s: s["$defs"]["Line"]["properties"]["description"].pop("pattern"),
        lambda s: data(s)["properties"].update(
            total={"anyOf": [data(s)["properties"]["total"], {"type": "null"}]}
        ),
        lambda s: data(s)["properties"]["total"].update(description="another wording"),
    ],
)
def test_widening_is_fine(change: Change) -> None:
    """A new optional field, a new word, a looser bound: earlier messages stay valid."""
    assert changed(INVOICE, change) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda s: s["$defs"]["PaymentState"]["required"].remove("amount"),
            "data.payment.amount may now be missing",
        ),
        (
            lambda s: data(s)["properties"].update(
                payment={"anyOf": [data(s)["properties"]["payment"], {"type": "null"}]}
            ),
            "data.payment may now be null",
        ),
    ],
)
def test_what_we_promise_billing_stays_promised(change: Change, sentence: str) -> None:
    """A reader of our events may rely on a field that was always there."""
    (found,) = changed(RECEIVED, change)
    assert found.startswith(sentence)


def test_an_event_cannot_vanish() -> None:
    """Letters and feeds hold events of every version there ever was."""
    (found,) = breaks(schemas.published(), {n: s for n, s in schemas.generated().items() if n != INVOICE})
    assert found.startswith(f"{INVOICE}: the event is gone")


def test_the_command_writes_checks_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`write` makes all files current and says how many; a change that breaks a message writes nothing."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    assert main(["check"], folder) == 1
    assert f"{INVOICE}.json is not current" in capsys.readouterr().out
    assert main(["write"], folder) == 0
    assert capsys.readouterr().out == "29 files written, 0 were current\n"
    assert main(["check"], folder) == 0
    assert (tmp_path / "asyncapi.json").read_bytes() == asyncapi.FILE.read_bytes()

    earlier = schemas.published(folder)[INVOICE]
    data(earlier)["properties"]["purchase_order"] = {"type": "string"}
    (folder / f"{INVOICE}.json").write_text(schemas.text(earlier), "utf-8")
    (folder / f"{RECEIVED}.json").unlink()
    for command in ("write", "check"):
        assert main([command], folder) == 1
        assert f"{INVOICE}: data.purchase_order is gone" in capsys.readouterr().out
    assert schemas.published(folder)[INVOICE] == earlier
    assert not (folder / f"{RECEIVED}.json").exists()


def test_the_command_runs_from_a_shell() -> None:
    """The repository's own files are current by `python -m messages.schemas check` too."""
    done = subprocess.run(
        [sys.executable, "-m", "messages.schemas", "check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
