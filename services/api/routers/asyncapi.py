"""The events for people and programs: the AsyncAPI document, and a page of it that loads nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse

from messages.schemas import asyncapi

router = APIRouter(tags=["System"])

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f5f5f4;padding:1rem;overflow:auto}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;
vertical-align:top}h2{margin-top:3rem;border-top:2px solid #1a1a1a;padding-top:1rem}nav a{display:block}"""


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    return asyncapi.document()


@router.get("/asyncapi.json", include_in_schema=False)
def asyncapi_document() -> JSONResponse:
    """The AsyncAPI 3 document of both exchanges."""
    return JSONResponse(_document())


@router.get("/docs/events", include_in_schema=False)
def events_page() -> HTMLResponse:
    """The same for people."""
    return HTMLResponse(_page(), headers=_HEADERS)


@lru_cache(maxsize=1)
def _page() -> str:
    document = _document()
    info, names = document["info"], list(document["operations"])
    listed = "".join(f'<a href="#{escape(name)}"><code>{escape(name)}</code></a>' for name in names)
    body = "".join(part for name in names for part in _event(document, name))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        f'<p>For programs: <a href="/asyncapi.json">asyncapi.json</a>. The HTTP API: <a href="/docs">/docs</a>.</p>'
        f"<nav>{listed}</nav>{body}</html>"
    )


def _event(document: dict[str, Any], name: str) -> Iterator[str]:
    operation, message = document["operations"][name], document["components"]["messages"][name]
    channel = document["channels"][name]
    says = (
        "The billing system tells us." if operation["action"] == "receive" else "We tell the billing system."
    )
    exchange = channel["bindings"]["amqp"]["exchange"]["name"]
    yield f'<h2 id="{escape(name)}"><code>{escape(message["name"])}</code></h2>'
    yield f"<p>{escape(message['summary'] or '')}</p>"
    yield f"<p>{says} Exchange <code>{exchange}</code>, routing key <code>{escape(channel['address'])}</code>.</p>"
    data = message["payload"]["allOf"][1]["properties"]["data"]["$ref"].rpartition("/")[2]
    yield "<table><tr><th>data</th><th>type</th><th></th></tr>"
    schema = document["components"]["schemas"][data]
    for field, one in schema.get("properties", {}).items():
        needed = "" if field in schema.get("required", ()) else " (optional)"
        told = escape(one.get("description", ""))
        yield f"<tr><td><code>{escape(field)}</code>{needed}</td><td>{escape(_type(one))}</td><td>{told}</td></tr>"
    yield "</table>"
    for example in message["examples"]:
        written = json.dumps(example["payload"], indent=2, ensure_ascii=False)
        yield f"<details><summary>Example: {escape(example['name'])}</summary><pre>{escape(written)}</pre></details>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(str(one) for one in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")
