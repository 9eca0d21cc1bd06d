"""The change feed (change data capture): current state of what changed, deletions as short rows, one cap for all.

https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/change-data-capture
"""

from __future__ import annotations

from bisect import bisect_left

from services.sandbox import books, faults
from services.sandbox.clock import DAY, parse_stamp, stamp
from services.sandbox.entities import BY_PATH, UNMODELLED_PATHS, Entity
from services.sandbox.fields import Obj
from services.sandbox.store import Company, Mark

LOOK_BACK_DAYS = 30
NEVER_IN_FEED = ("journalcode", "taxagency", "timeactivity")  # beside those of our entities that say so


def feed(company: Company, entities: str, changed_since: str) -> list[Obj]:
    """The `CDCResponse`: one QueryResponse per entity in the order asked, `{}` where nothing changed."""
    wanted = _entities(entities)
    since = _since(company, changed_since)
    found: dict[str, list[Mark]] = {entity.name: [] for entity in wanted}
    horizon = company.clock.now() - company.switches.cdc_lag_seconds
    for position in range(bisect_left(company.feed, (since,)), len(company.feed)):
        mark = company.feed[position]
        latest = company.stamps[mark.entity, mark.id] is mark
        after = mark.stamp >= since if company.switches.cdc_boundary_inclusive else mark.stamp > since
        if latest and after and mark.at <= horizon and mark.entity in found:
            found[mark.entity].append(mark)
    left = company.switches.cdc_cap
    responses = []
    for entity in wanted:
        marks = found[entity.name]
        if company.switches.cdc_order == "newest":
            marks.reverse()
        marks = marks[:left]
        left -= len(marks)
        responses.append(_response(company, entity, marks))
    return [{"QueryResponse": responses}]


def _entities(names: str) -> list[Entity]:
    if not names.strip():
        raise faults.required("entities")
    wanted = []
    for name in dict.fromkeys(name.strip().lower() for name in names.split(",")):
        entity = BY_PATH.get(name)
        if entity is None:
            if name in NEVER_IN_FEED:
                raise faults.unsupported(f"cdc for {name}")
            if name in UNMODELLED_PATHS:
                raise faults.NotModelled(f"the change feed of {name}")
            raise faults.malformed(f"entities: {name} is unknown")
        if not entity.in_feed:
            raise faults.unsupported(f"cdc for {entity.name}")
        wanted.append(entity)
    return wanted


def _since(company: Company, text: str) -> float:
    if not text:
        raise faults.required("changedSince")
    try:
        # A plus sign that was not percent-encoded arrives as a blank.
        since = parse_stamp(text.replace(" ", "+"))
    except ValueError:
        raise faults.invalid_date("changedSince", text) from None
    oldest = company.clock.now() - LOOK_BACK_DAYS * DAY
    if since < oldest:
        if company.switches.cdc_beyond_window == "fault":
            raise faults.invalid_date("changedSince (within the last 30 days)", text)
        return oldest
    return since


def _response(company: Company, entity: Entity, marks: list[Mark]) -> Obj:
    if not marks:
        return {}
    rows = []
    live = 0
    for mark in marks:
        body = company.find(entity.name, mark.id)
        if body is None:
            when = {"LastUpdatedTime": stamp(mark.stamp)}
            rows.append({"domain": "QBO", "status": "Deleted", "Id": mark.id, "MetaData": when})
        else:
            rows.append(books.shown(company, entity.name, body))
            live += 1
    response: Obj = {entity.name: rows}
    if live:
        response["startPosition"] = 1
    response["maxResults"] = len(rows)
    return response
