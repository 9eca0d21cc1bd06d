"""What came of each item of a batch: a reply, or the error it would have been alone.

https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/batch
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from services.quickbooks import body, calls, faults, query
from services.quickbooks.call import Call
from services.quickbooks.errors import QuickBooksError, UnknownOutcome
from services.quickbooks.reply import Answer, Reply, answers, error

Objects = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Objects by the `bId` of their item: which entity each is, and the object itself."""

DELETED = "Deleted"
"""The `status` of an object that is not there any more, as Intuit's change feed shows one."""


def outcomes(items: Mapping[str, Call], reply: Reply) -> dict[str, Reply | QuickBooksError]:
    """Return what came of each item, by the `bId` under which it was given to `calls.batch`.

    An item that QuickBooks left out has an unknown outcome. Errors are returned, not raised: each concerns
    its own item only.
    """
    responses = {
        str(response.get("bId")): response
        for response in reply.data["BatchItemResponse"]
        if isinstance(response, Mapping)
    }
    return {name: _outcome(item, responses.get(name), reply) for name, item in items.items()}


def sent(call: Call) -> Objects:
    """Return the objects that a batch of creates carries."""
    items = body.load(call.body)["BatchItemRequest"]
    return {item["bId"]: (entity, item[entity]) for item in items for entity in item if entity[0].isupper()}


def answer(call: Call, objects: Objects) -> Reply:
    """Return the reply that a lost batch would have had, from what was found of it in QuickBooks; it has no time."""
    found = [{"bId": name, entity: raw} for name, (entity, raw) in objects.items()]
    data = {"BatchItemResponse": found}
    return Reply(call, 200, body.dump(data), data)


def as_they_stand(reply: Reply, look: Callable[[Call], Reply]) -> Reply:
    """Return the answer to a repeated batch of creates with its objects as they are now; a read an entity.

    The answer to a repeated request id is the first one, word for word, whatever happened to the objects since. One
    that is gone has the status `DELETED`.
    """
    made: dict[str, list[str]] = defaultdict(list)
    for item in reply.data["BatchItemResponse"]:
        for entity, raw in _objects(item):
            made[entity].append(str(raw["Id"]))
    now: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entity, ids in made.items():
        rows = look(calls.query(query.select(entity).where("Id", "IN", ids))).data["QueryResponse"]
        now |= {(entity, str(row["Id"])): row for row in rows.get(entity) or ()}
    data = dict(reply.data)
    data["BatchItemResponse"] = [
        {
            **item,
            **{
                entity: now.get((entity, str(raw["Id"])), {"Id": raw["Id"], "status": DELETED})
                for entity, raw in _objects(item)
            },
        }
        for item in reply.data["BatchItemResponse"]
    ]
    return replace(reply, data=data)


def _objects(item: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The object in an item's answer, with the name of its entity; none in a refusal or a list of rows."""
    if not isinstance(item, Mapping):
        return []
    return [(name, value) for name, value in item.items() if isinstance(value, Mapping) and "Id" in value]


def _outcome(item: Call, response: Mapping[str, object] | None, reply: Reply) -> Reply | QuickBooksError:
    fault = faults.from_json(response, reply.status)
    if fault is not None:
        headers = {"intuit_tid": reply.intuit_tid} if reply.intuit_tid else {}
        return error(item, fault, Answer(reply.status, headers))
    if response is None or not answers(item, response):
        return UnknownOutcome(
            f"QuickBooks answered the batch, but not what came of {item.label} in it",
            status=reply.status,
            intuit_tid=reply.intuit_tid,
        )
    return Reply(item, reply.status, body.dump(response), response, reply.intuit_tid, reply.time)
