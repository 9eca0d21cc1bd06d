"""Carrying a request out on a company's books: one unit of work, one reply, remembered by its requestid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from services.sandbox import books, changes, faults, papers, query
from services.sandbox.amounts import encode
from services.sandbox.clock import envelope_time
from services.sandbox.entities import ENTITIES, Entity
from services.sandbox.fields import Obj
from services.sandbox.gateway import JSON
from services.sandbox.requests import INCLUDES, ApiRequest
from services.sandbox.store import Company, Reply, Unit
from services.sandbox.world import World

MAX_BID = 10
_WRITES = ("create", "update", "delete", "void")


@dataclass(slots=True)
class Outcome:
    """A reply's status and body; `created` counts new objects by entity."""

    status: int
    body: bytes
    media_type: str = JSON
    replayed: bool = False
    created: tuple[str, ...] = ()


def execute(world: World, company: Company, request: ApiRequest, actor: str) -> Outcome:
    """The reply to a checked request. A refusal becomes its fault; nothing of a refused write is kept."""
    requestid = request.requestid
    writes = request.operation in _WRITES or request.resource == "batch"
    digest = ""
    if requestid and writes and company.switches.requestid_remembered:
        digest = hashlib.sha1(request.raw + request.path.encode(), usedforsecurity=False).hexdigest()
        known = _remembered(company, requestid)
        if known is not None:
            if known.digest != digest and company.switches.requestid_other_body == "600":
                refusal = faults.Refusal(
                    "600", "Duplicate Request ID", f"Request ID {requestid} was used before"
                )
                return Outcome(400, refusal.body(company.clock.now()))
            return Outcome(known.status, known.body, replayed=True)
    created: list[str] = []
    try:
        if request.operation == "pdf" and request.entity is not None:
            paper = papers.pdf(request.entity, books.read(company, request.entity, request.key))
            return Outcome(200, paper, "application/pdf")
        reply = _perform(world, company, request, actor, created)
        reply["time"] = envelope_time(company.clock.now())
        outcome = Outcome(200, encode(reply), created=tuple(created))
    except faults.Refusal as refusal:
        outcome = Outcome(refusal.status, refusal.body(company.clock.now()))
        _count(world, company, refusal)
    if digest and (outcome.status == 200 or company.switches.requestid_remembers_refusals):
        kept = Reply(outcome.status, outcome.body, digest, company.clock.now())
        world.keep_reply(company, requestid, kept)
        if limit := company.switches.requestid_forgets_after:
            while len(company.replies) > limit:
                company.replies.popitem(last=False)
    return outcome


def _count(world: World, company: Company, refusal: faults.Refusal) -> None:
    if isinstance(refusal, faults.NotModelled):
        world.counters.of(company.realm).unmodelled[refusal.what] += 1


def _remembered(company: Company, requestid: str) -> Reply | None:
    known = company.replies.get(requestid)
    lifetime = company.switches.requestid_forgets_after_seconds
    if known is not None and lifetime and company.clock.now() - known.at > lifetime:
        del company.replies[requestid]
        return None
    return known


def _perform(world: World, company: Company, request: ApiRequest, actor: str, created: list[str]) -> Obj:
    if request.resource == "query":
        return {"QueryResponse": query.run(company, request.body)}
    if request.resource == "cdc":
        parameters = request.parameters
        found = changes.feed(company, parameters.get("entities", ""), parameters.get("changedSince", ""))
        return {"CDCResponse": found}
    if request.resource == "batch":
        return {"BatchItemResponse": _batch(world, company, request, actor, created)}
    entity = request.entity
    assert entity is not None
    if request.operation == "read":
        if entity.kind == "single":
            return {entity.name: _single(company, entity, request.key)}
        return {entity.name: books.read(company, entity, request.key)}
    if request.operation == "send":
        unit = Unit(company, actor)
        sent = papers.send(unit, entity, request.key, request.parameters.get("sendTo", ""))
        unit.commit()
        return {entity.name: sent}
    if request.operation not in _WRITES:
        raise faults.unsupported(request.operation)
    if (entity.name, request.operation) == ("JournalEntry", "void"):
        return {"BatchItemResponse": []}  # seen live: 200, and nothing happened
    include = request.parameters.get("include", "")
    return _write(company, entity, request.operation, request.body, include, actor, created)


def _single(company: Company, entity: Entity, key: str) -> Obj:
    if entity.name == "CompanyInfo" and key not in (company.realm, "1"):
        raise faults.not_found(entity.name, key)
    return company.objects[entity.name]["1"]


def _write(
    company: Company, entity: Entity, operation: str, body: Any, include: str, actor: str, created: list[str]
) -> Obj:
    if not isinstance(body, dict):
        raise faults.malformed("the body must be an object")
    if company.us and company.switches.us_latin1_only:
        _guard_charset(body)
    if operation == "create" and body.get("Id") is not None:
        raise faults.NotModelled("a create with an Id")
    if operation == "update" and body.get("Id") is None:
        raise faults.required("Id")
    unit = Unit(company, actor)
    if operation == "delete":
        result = books.delete(unit, entity, body)
    elif operation == "void":
        result = books.void(unit, entity, body)
    else:
        result = books.save(unit, entity, body, allow_duplicate=include == "allowduplicatedocnum")
        if operation == "create":
            created.append(entity.name)
    unit.commit()
    if operation != "delete":
        result = books.shown(company, entity.name, result)
    return {entity.name: result}


def _guard_charset(body: Obj) -> None:
    try:
        encode(body).decode().encode("iso-8859-1")
    except UnicodeEncodeError as error:
        raise faults.Refusal(
            "500",
            "Unsupported Operation",
            f"Characters outside ISO-8859-1: {error.object[error.start]!r}",
            status=500,
        ) from None


def _batch(world: World, company: Company, request: ApiRequest, actor: str, created: list[str]) -> list[Obj]:
    body = request.body
    items = body.get("BatchItemRequest") if isinstance(body, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise faults.required("BatchItemRequest")
    if len(items) > company.switches.batch_size:
        raise faults.Refusal(
            "1040", "Batch size exceeded", f"A batch takes at most {company.switches.batch_size} items."
        )
    for item in items:
        name = item.get("bId")
        if not isinstance(name, str) or not name:
            raise faults.required("bId")
        if request.requestid and len(name) > MAX_BID:
            raise faults.too_long("bId", MAX_BID, len(name))
    answers = []
    for item in items:
        try:
            answers.append({"bId": item["bId"]} | _batch_item(company, item, actor, created))
        except faults.Refusal as refusal:
            _count(world, company, refusal)
            answers.append({"bId": item["bId"], "Fault": refusal.fault()})
    return answers


def _batch_item(company: Company, item: Obj, actor: str, created: list[str]) -> Obj:
    payload = item.keys() - {"bId", "operation", "optionsData"}
    if payload == {"Query"}:
        return {"QueryResponse": query.run(company, str(item["Query"]))}
    if len(payload) != 1 or not payload <= ENTITIES.keys():
        raise faults.NotModelled(f"a batch item with {', '.join(sorted(payload)) or 'nothing to do'}")
    name = payload.pop()
    operation = str(item.get("operation", ""))
    options = str(item.get("optionsData", "")).removeprefix("include=")
    if options not in INCLUDES:
        raise faults.NotModelled(f"optionsData {options}")
    if operation == "update" and options == "void":
        operation = "void"
    if operation not in _WRITES:
        raise faults.unsupported(operation or "(missing)")
    return _write(company, ENTITIES[name], operation, item[name], options, actor, created)
