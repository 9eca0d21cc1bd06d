"""Examples in the OpenAPI document: every body has one, and the tests send each of them.

Those that matter are written here; the others are put together from the examples and defaults of their fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from messages import samples

Json = dict[str, Any]

_SAMPLE: Final = json.loads(samples.read("com.algapsa.billing.invoice.finalized.v1"))
_INVOICE: Final = {name: value for name, value in _SAMPLE.items() if name != "sequence"}  # emit assigns it
_ID: Final = "0190b3c4-7d1e-7a55-9c1d-2f6c1b8a0d11"
_REASON: Final = {"reason": "entered by hand in QuickBooks"}

EXAMPLES: Final[Mapping[tuple[str, str], Any]] = {
    ("put", "/v1/quickbooks/credentials"): {
        "client_id": "ABexampleClientIdOfAnIntuitApp0123456789",
        "client_secret": "example-secret-that-is-not-real-0123456",
    },
    ("post", "/v1/quickbooks/connect"): {},
    ("put", "/v1/mappings"): {
        "kind": "item",
        "key": "svc-backup",
        "external_id": "17",
        "external_name": "Backup",
    },
    ("put", "/v1/settings/{name}"): {"value": 20},
    ("post", "/v1/pause"): {"reason": "month end: the books are being closed"},
    ("post", "/v1/events"): _INVOICE,
    ("post", "/v1/documents/sync-state"): {"documents": [{"type": "invoice", "id": "inv-1042"}]},
    ("post", "/v1/exceptions/bulk"): {
        "action": "assign",
        "exception_ids": [_ID],
        "assignee": "dana@msp.example",
    },
    ("post", "/v1/exceptions/causes/release"): {
        "cause": f"mapping:item:{_ID}:svc-backup",
        "reason": "svc-backup is mapped",
        "dry_run": True,
    },
    ("post", "/v1/exceptions/{exception_id}/assign"): {"assignee": "dana@msp.example"},
    ("post", "/v1/exceptions/{exception_id}/comments"): {"comment": "asked the bookkeeper"},
    ("post", "/v1/exceptions/{exception_id}/ignore"): _REASON,
    ("post", "/v1/exceptions/{exception_id}/reopen"): {"reason": "it was not"},
    ("post", "/v1/exceptions/{exception_id}/retry"): {"reason": "svc-backup is mapped"},
}
"""Bodies by method and path, each of which goes through when what it names exists."""


def complete(document: Json) -> None:
    """Give every JSON body of an OpenAPI document an example."""
    for path, method, operation in _operations(document):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if "example" in content or "examples" in content or "json" not in kind:
                continue
            example = EXAMPLES.get((method, path))
            if example is None:
                example = _made(document, content.get("schema", {}))
            content["example"] = [example] if "batch" in kind else example


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _made(document: Json, schema: Json) -> Any:
    """A value of a schema: its own example, its default, or the plainest there is."""
    if "$ref" in schema:
        return _made(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema and schema["default"] is not None:
        return schema["default"]
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _made(document, schema[several][0])
    return _plainest(document, schema)


def _plainest(document: Json, schema: Json) -> Any:
    kind = schema.get("type")
    if kind == "object":
        required = schema.get("required", ())
        fields = schema.get("properties", {})
        return {
            name: _made(document, one)
            for name, one in fields.items()
            if name in required or one.get("examples")
        }
    if kind == "array":
        return (
            [_made(document, schema["items"])] * max(1, schema.get("minItems", 0))
            if "items" in schema
            else []
        )
    if kind == "string":
        formats = {"uuid": _ID, "date": "2026-11-01", "date-time": "2026-11-01T00:00:00Z"}
        return formats.get(schema.get("format", ""), "example"[: schema.get("maxLength", 7)])
    return {"integer": schema.get("minimum", 1), "number": schema.get("minimum", 1), "boolean": True}.get(
        str(kind)
    )
