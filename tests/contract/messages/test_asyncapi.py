"""The AsyncAPI document is current, well formed, and true to the samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from messages import CATALOG, samples, schemas
from messages.schemas import asyncapi

DOCUMENT: dict[str, Any] = json.loads(asyncapi.FILE.read_text("utf-8"))

_REFERENCE = {
    "type": "object",
    "properties": {"$ref": {"type": "string"}},
    "required": ["$ref"],
    "maxProperties": 1,
}
_CLOSED = {"type": "object", "additionalProperties": False}

# The parts of AsyncAPI 3.0 that the document uses, closed: a misspelt or misplaced key fails.
STRUCTURE = _CLOSED | {
    "required": ["asyncapi", "info", "channels", "operations", "components"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": _CLOSED
        | {
            "required": ["title", "version"],
            "properties": {
                "title": {"type": "string"},
                "version": {"type": "string"},
                "description": {"type": "string"},
                "license": _CLOSED | {"required": ["name"], "properties": {"name": {"type": "string"}}},
            },
        },
        "defaultContentType": {"const": "application/cloudevents+json"},
        "channels": {
            "additionalProperties": _CLOSED
            | {
                "required": ["address", "messages", "bindings"],
                "properties": {
                    "address": {"type": "string"},
                    "description": {"type": "string"},
                    "messages": {"additionalProperties": _REFERENCE},
                    "bindings": _CLOSED
                    | {
                        "properties": {
                            "amqp": _CLOSED
                            | {
                                "properties": {
                                    "is": {"const": "routingKey"},
                                    "exchange": _CLOSED
                                    | {
                                        "properties": {
                                            "name": {"enum": ["billing", "accounting"]},
                                            "type": {"const": "topic"},
                                            "durable": {"const": True},
                                            "autoDelete": {"const": False},
                                        }
                                    },
                                    "bindingVersion": {"const": "0.3.0"},
                                }
                            }
                        }
                    },
                },
            }
        },
        "operations": {
            "additionalProperties": _CLOSED
            | {
                "required": ["action", "channel", "messages"],
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "channel": _REFERENCE,
                    "messages": {"type": "array", "items": _REFERENCE, "minItems": 1},
                },
            }
        },
        "components": _CLOSED
        | {
            "properties": {
                "schemas": {"additionalProperties": {"$ref": "http://json-schema.org/draft-07/schema#"}},
                "messages": {
                    "additionalProperties": _CLOSED
                    | {
                        "required": ["name", "payload", "examples"],
                        "properties": {
                            "name": {"type": "string"},
                            "summary": {"type": "string"},
                            "contentType": {"const": "application/cloudevents+json"},
                            "payload": {"$ref": "http://json-schema.org/draft-07/schema#"},
                            "examples": {
                                "type": "array",
                                "minItems": 1,
                                "items": _CLOSED
                                | {"properties": {"name": {"type": "string"}, "payload": {"type": "object"}}},
                            },
                        },
                    }
                },
            }
        },
    },
}


def references(node: Any) -> Iterator[str]:
    """Yield every reference in the document, examples aside."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for key, child in node.items():
            if key != "examples":
                yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def resolve(reference: str) -> Any:
    """Follow a reference within the document; KeyError when it leads nowhere."""
    node: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def test_the_document_is_current() -> None:
    """What stands in the repository is what the models say."""
    assert schemas.text(asyncapi.document()) == asyncapi.FILE.read_text("utf-8"), (
        "run `python -m messages.schemas write`"
    )


def test_the_document_is_well_formed() -> None:
    """It keeps to AsyncAPI 3.0, and every schema in it is valid draft-07, the dialect AsyncAPI builds on."""
    jsonschema.Draft7Validator(STRUCTURE).validate(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    """No reference is dangling, and operations point into their own channel."""
    found = set(references(DOCUMENT))
    assert len(found) > 2 * len(CATALOG)
    for reference in found:
        assert reference.startswith("#/")
        assert resolve(reference)
    for operation in DOCUMENT["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(operation["channel"]["$ref"] + "/messages/")


@pytest.mark.parametrize("name", samples.names())
def test_samples_are_valid_payloads(name: str) -> None:
    """Each sample is listed as an example of its message and valid by its payload."""
    event = json.loads(samples.read(name))
    entry = CATALOG[event["type"]]
    message = DOCUMENT["components"]["messages"][f"{entry.room}.{entry.routing_key}"]
    assert event in [example["payload"] for example in message["examples"]]
    schema = {"components": DOCUMENT["components"], **message["payload"]}
    jsonschema.Draft7Validator(schema).validate(event)


def test_directions() -> None:
    """We receive what billing says and send what accounting says, each on its own exchange and routing key."""
    for entry in CATALOG.values():
        key = f"{entry.room}.{entry.routing_key}"
        assert DOCUMENT["operations"][key]["action"] == ("receive" if entry.room == "billing" else "send")
        assert DOCUMENT["channels"][key]["address"] == entry.routing_key
        assert DOCUMENT["channels"][key]["bindings"]["amqp"]["exchange"]["name"] == entry.room
