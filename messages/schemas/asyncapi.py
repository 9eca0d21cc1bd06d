"""The AsyncAPI 3 document of both exchanges, generated from the same models as the JSON Schemas.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from messages import samples
from messages.catalog import CATALOG, EventType
from messages.envelope import CONTENT_TYPE
from messages.schemas import FOLDER, Schema, Style, envelope_schema

FILE: Final = FOLDER.parent / "asyncapi.json"

_ROOMS: Final = {
    "billing": "What the billing system tells us. It emits; we receive.",
    "accounting": "What we tell the billing system. Expect new words in fields such as `action` or `code`.",
}


def document() -> Schema:
    """Return the AsyncAPI document."""
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (entry.model, "validation") for entry in CATALOG.values()
    ]
    _, definitions = models_json_schema(
        models, by_alias=True, ref_template="#/components/schemas/{model}", schema_generator=Style
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "algasync events",
            "version": "1",
            "description": (
                "Facts between AlgaPSA's billing and QuickBooks Online, as CloudEvents 1.0 in structured JSON mode, on "
                "two topic exchanges of RabbitMQ. Each event has its own version, the last word of its type."
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {_id(entry): _channel(entry) for entry in CATALOG.values()},
        "operations": {_id(entry): _operation(entry) for entry in CATALOG.values()},
        "components": {
            "messages": {_id(entry): _message(entry) for entry in CATALOG.values()},
            "schemas": {"Envelope": envelope_schema(), **definitions["$defs"]},
        },
    }


def _id(entry: EventType) -> str:
    return f"{entry.room}.{entry.routing_key}"


def _channel(entry: EventType) -> Schema:
    return {
        "address": entry.routing_key,
        "description": _ROOMS[entry.room],
        "messages": {_id(entry): {"$ref": f"#/components/messages/{_id(entry)}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": entry.room, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _operation(entry: EventType) -> Schema:
    return {
        "action": "receive" if entry.room == "billing" else "send",
        "channel": {"$ref": f"#/channels/{_id(entry)}"},
        "messages": [{"$ref": f"#/channels/{_id(entry)}/messages/{_id(entry)}"}],
    }


def _message(entry: EventType) -> Schema:
    return {
        "name": entry.name,
        "summary": entry.model.__doc__,
        "contentType": CONTENT_TYPE,
        "payload": {
            "allOf": [
                {"$ref": "#/components/schemas/Envelope"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": entry.name},
                        "data": {"$ref": f"#/components/schemas/{entry.model.__name__}"},
                    },
                },
            ]
        },
        "examples": [
            {"name": name.removeprefix(entry.name).lstrip(".") or "ordinary", "payload": _sample(name)}
            for name in samples.names()
            if name == entry.name or name.startswith(entry.name + ".")
        ],
    }


def _sample(name: str) -> Any:
    return json.loads(samples.read(name))
