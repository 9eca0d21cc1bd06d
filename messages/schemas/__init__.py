"""JSON Schemas of all events, generated from the models; the files beside this module are what was published.

Written by `python -m messages.schemas write`, which refuses a change that breaks a reader or a writer: such a change
is a new version of the event.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from messages.catalog import CATALOG, EventType
from messages.envelope import Event

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOLDER: Final = Path(__file__).parent

Schema = dict[str, Any]


class Style(GenerateJsonSchema):
    """pydantic's schemas without the titles it makes of field names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Names speak for themselves."""
        return False


def event_schema(entry: EventType) -> Schema:
    """Return the schema of a whole event: its envelope and its data."""
    data = entry.model.model_json_schema(by_alias=True, schema_generator=Style)
    definitions = data.pop("$defs", {})
    name = entry.model.__name__
    envelope = envelope_schema()
    envelope["properties"] |= {
        "type": {"const": entry.name, "type": "string"},
        "data": {"$ref": f"#/$defs/{name}"},
    }
    return {
        "$schema": DIALECT,
        "title": entry.name,
        "description": data.get("description", ""),
        **envelope,
        "$defs": dict(sorted((definitions | {name: data}).items())),
    }


def envelope_schema() -> Schema:
    """Return the schema of the envelope, whatever it carries."""
    schema = Event.model_json_schema(by_alias=True, schema_generator=Style)
    properties = {"specversion": {"const": "1.0", "type": "string"}, **schema["properties"]}
    del properties["data"]
    return {"type": "object", "properties": properties, "required": ["specversion", *schema["required"]]}


def generated() -> dict[str, Schema]:
    """Return the schema of every event by its type name."""
    return {name: event_schema(entry) for name, entry in CATALOG.items()}


def published(folder: Path = FOLDER) -> dict[str, Schema]:
    """Return the committed schemas by type name."""
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))}


def text(document: Schema) -> str:
    """Return a document as it stands in its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
