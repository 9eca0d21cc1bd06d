"""What an HTTP request to a company asks for: the resource, the operation, and the parameters that are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qsl

from services.sandbox import faults
from services.sandbox.amounts import decode
from services.sandbox.entities import BY_PATH, UNMODELLED_PATHS, Entity

Resource = Literal["entity", "query", "cdc", "batch", "unknown"]
_FROM = re.compile(r"\bfrom\s+(\w+)", re.IGNORECASE)
_PARAMETERS = frozenset(
    ("minorversion", "requestid", "operation", "include", "query", "entities", "changedSince", "sendTo")
)
_VERBS = {"read": "GET", "pdf": "GET", "cdc": "GET", "send": "POST", "batch": "POST"}  # queries take both
INCLUDES = ("", "void", "allowduplicatedocnum")
_JSON = "application/json"
_QUERY_TYPES = ("application/text", "text/plain")
MAX_REQUEST_ID = 50
MAX_BATCH_REQUEST_ID = 36


@dataclass(slots=True)
class ApiRequest:
    """A request, classified before anything is checked, so that troubles and counters can name it."""

    realm: str
    method: str
    path: str
    headers: dict[bytes, bytes]
    parameters: dict[str, str]
    raw: bytes
    resource: Resource
    entity: Entity | None
    operation: str  # create update delete void read pdf send query cdc batch
    label: str  # entity name for counters
    key: str = ""
    body: Any = None
    unreadable: str = ""
    illegal_bytes: bool = False  # the body is not UTF-8

    @property
    def requestid(self) -> str:
        """The idempotency key, empty without one."""
        return self.parameters.get("requestid", "")

    @property
    def reads(self) -> bool:
        """Whether Intuit meters it (CorePlus): reads of all kinds, and batches."""
        return self.operation in ("read", "pdf", "query", "cdc", "batch")


def classify(method: str, path: str, query: bytes, headers: dict[bytes, bytes], raw: bytes) -> ApiRequest:
    """Read the request line and body; never refuses (see `check`)."""
    parts = path.split("/")  # "", "v3", "company", realm, resource, key, sub
    realm = parts[3] if len(parts) > 3 else ""
    name = parts[4].lower() if len(parts) > 4 else ""
    parameters = dict(parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True))
    request = ApiRequest(realm, method, path, headers, parameters, raw, "unknown", None, "unknown", name)
    if name == "query" and len(parts) == 5:
        request.resource, request.operation = "query", "query"
        text = _text(request) if method == "POST" else parameters.get("query", "")
        request.body = text
        found = _FROM.search(text)
        request.label = found.group(1).capitalize() if found else "query"
        for entity in BY_PATH.values():
            if found and entity.name.lower() == found.group(1).lower():
                request.label = entity.name
    elif name == "cdc" and len(parts) == 5:
        request.resource, request.operation = "cdc", "cdc"
    elif name == "batch" and len(parts) == 5:
        request.resource, request.operation = "batch", "batch"
        _read_json(request)
    elif name in BY_PATH and len(parts) <= 7:
        _entity_request(request, BY_PATH[name], parts)
    return request


def _entity_request(request: ApiRequest, entity: Entity, parts: list[str]) -> None:
    request.resource, request.entity, request.label = "entity", entity, entity.name
    request.key = parts[5] if len(parts) > 5 else ""
    sub = parts[6] if len(parts) > 6 else ""
    if request.method == "GET":
        if entity.kind == "single":
            request.key = request.key or "1"  # GET /preferences
        request.operation = (sub or "read") if request.key else "unknown"
        return
    if sub or request.key:
        request.operation = sub or "unknown"
        return
    _read_json(request)
    asked = request.parameters.get("operation", "")
    if asked == "update" and request.parameters.get("include") == "void":
        request.operation = "void"
    elif asked:
        request.operation = asked
    else:
        has_id = isinstance(request.body, dict) and request.body.get("Id") is not None
        request.operation = "update" if has_id else "create"


def _text(request: ApiRequest) -> str:
    try:
        return request.raw.decode()
    except UnicodeDecodeError:
        request.illegal_bytes = True
        return ""


def _read_json(request: ApiRequest) -> None:
    try:
        request.body = decode(_text(request))
    except (ValueError, RecursionError) as error:
        request.unreadable = str(error)


def check(request: ApiRequest) -> None:
    """Refuse what Intuit refuses in the form of a request, and whatever the sandbox does not model."""
    if request.resource == "unknown":
        if request.label in UNMODELLED_PATHS:
            raise faults.NotModelled(f"{request.method} {request.label}")
        raise faults.Refusal("500", "Unsupported Operation", f"No resource at {request.path}", status=404)
    if request.method not in ("GET", "POST"):
        raise _wrong_verb(request)
    if request.method != _VERBS.get(request.operation, request.method):
        raise _wrong_verb(request)
    unknown = request.parameters.keys() - _PARAMETERS
    if unknown:
        raise faults.NotModelled(f"query parameter {unknown.pop()!r}")
    version = request.parameters.get("minorversion", "75")
    if not version.isdecimal() or int(version) > 75:
        raise faults.NotModelled(f"minorversion {version!r}; below 75 counts as 75")
    _check_types(request)
    if request.illegal_bytes:
        raise faults.illegal_bytes()
    if request.unreadable:
        raise faults.malformed(request.unreadable)
    limit = MAX_BATCH_REQUEST_ID if request.resource == "batch" else MAX_REQUEST_ID
    if len(request.requestid) > limit:
        raise faults.Refusal("2130", "Invalid Request Id", f"A request id has at most {limit} characters.")
    include = request.parameters.get("include", "")
    if include not in INCLUDES:
        raise faults.NotModelled(f"include={include}")
    _check_void(request, include)


def _wrong_verb(request: ApiRequest) -> faults.Refusal:
    return faults.Refusal(
        "500", "Unsupported Operation", f"{request.method} is not supported here.", status=405
    )


def _check_void(request: ApiRequest, include: str) -> None:
    """An invoice is voided by operation=void, a payment by operation=update&include=void."""
    if request.operation == "void" and request.entity is not None:
        included = include == "void"
        if included != (request.entity.name == "Payment"):
            raise faults.unsupported("update with include=void" if included else "void")
    elif include == "void":
        raise faults.NotModelled("include=void without operation=update")


def _check_types(request: ApiRequest) -> None:
    accept = request.headers.get(b"accept", b"").decode("latin-1").lower()
    wanted = "application/pdf" if request.operation == "pdf" else _JSON
    if wanted not in accept:
        raise faults.NotModelled(
            f"replies other than {wanted} (Accept: {accept or 'missing'}); Intuit sends XML"
        )
    if request.method != "POST":
        return
    content, _, options = request.headers.get(b"content-type", b"").decode("latin-1").lower().partition(";")
    content = content.strip()
    if encoding := request.headers.get(b"content-encoding"):
        raise faults.NotModelled(f"a body with Content-Encoding {encoding.decode('latin-1')}")
    if "charset=" in options and "utf-8" not in options:
        raise faults.NotModelled(f"a body in another encoding than UTF-8 ({options.strip()})")
    if request.resource == "query":
        if content not in _QUERY_TYPES:
            raise faults.NotModelled(
                f"a query with Content-Type {content or 'missing'}; send application/text"
            )
    elif request.operation != "send" and content != _JSON:
        raise faults.NotModelled(f"a body with Content-Type {content or 'missing'}; send application/json")
