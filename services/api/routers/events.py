"""`/v1/events`: billing events in, one or a batch; accounting events out, by cursor."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.responses import Response

import messages
from messages import Event
from messages import body as bodies
from messages.catalog import CATALOG
from messages.errors import BadMessage, Problem
from outbox import emit_event, feed
from services.api.paging import cursor_of, position_of
from services.api.problems import ApiError
from services.api.work import Emitter, Reader

MAX_BATCH = 500
_TYPES = frozenset(entry.routing_key for entry in CATALOG.values() if entry.room == "accounting")

router = APIRouter(prefix="/v1/events", tags=["Events"])


class EmittedTold(BaseModel):
    """One event that was taken."""

    id: UUID
    sequence: int = Field(description="Its number among the events of its document.")


class Accepted(BaseModel):
    """Events that are safe with us now, in the order they were sent."""

    data: list[EmittedTold]


class FeedQuery(BaseModel):
    """Where to read on."""

    model_config = {"extra": "forbid"}

    after: str | None = Field(default=None, max_length=500, description="`next` of the answer before.")
    limit: int = Field(default=100, ge=1, le=500)
    type: list[str] = Field(
        default=[],
        max_length=50,
        description="Only these, such as payment.received.v1; all when none is named.",
    )


class Feed(BaseModel):
    """Accounting events in the order in which they left, each a CloudEvents object."""

    data: list[dict[str, Any]]
    next: str = Field(description="Where to read on, also when there is nothing yet.")
    complete: bool = Field(
        description="False: something after this cursor was dropped unread; compare the documents' states anew."
    )


_BODY = {
    "required": True,
    "content": {
        "application/cloudevents+json": {"schema": {"type": "object"}},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}


def sent(request: Request) -> list[Event]:
    """The events of the body, which was read with the request: a JSON object, or an array of them."""
    plain = getattr(request.state, "json", None)
    if not isinstance(plain, list):
        return [_parsed(plain, "")]
    if not 1 <= len(plain) <= MAX_BATCH:
        raise ApiError(
            422, "bad_batch", f"a batch has 1 to {MAX_BATCH} events, not {len(plain)}", field="body"
        )
    return [_parsed(one, f"[{number}].") for number, one in enumerate(plain)]


@router.post("", status_code=202, response_model=Accepted, openapi_extra={"requestBody": _BODY})
def emit(work: Emitter, events: Annotated[list[Event], Depends(sent)]) -> Response:
    """Hand in billing events: one CloudEvents object, or an array of up to 500.

    All of a batch or none of it; 202 means that they are stored. The same event id again changes nothing.
    """
    for number, event in enumerate(events):
        where = f"[{number}]." if len(events) > 1 else ""
        if event.tenantid != work.tenant:
            raise ApiError(
                403,
                "wrong_tenant",
                f"{where}tenantid is {event.tenantid!r}, and this key belongs to {work.tenant!r}",
                field=f"{where}tenantid",
            )
        if event.entry.room != "billing":
            raise ApiError(
                422,
                "not_a_billing_event",
                f"{where}type {event.type} is one of ours; hand in billing events only",
                field=f"{where}type",
            )

    def act(connection: Connection) -> Accepted:
        emitted = [emit_event(connection, event) for event in events]
        return Accepted(data=[EmittedTold(id=one.event_id, sequence=one.sequence) for one in emitted])

    return work.once(act, 202)


@router.get("", response_model=Feed)
def read_feed(query: Annotated[FeedQuery, Query()], work: Reader) -> Feed:
    """Read what we told billing, from a cursor on, oldest first. It is kept for 30 days."""
    for name in query.type:
        if name not in _TYPES:
            raise ApiError(
                422,
                "unknown_type",
                f"{name!r} is no accounting event; there are {', '.join(sorted(_TYPES))}",
                field="query.type",
            )
    with work.transaction() as connection:
        page = feed.read(connection, work.tenant, position_of(query.after, "after"), query.limit, query.type)
    return Feed(
        data=[json.loads(entry.body) for entry in page.entries],
        next=cursor_of([page.after]) or "",
        complete=page.complete,
    )


def _parsed(plain: Any, where: str) -> Event:
    try:
        return messages.parse(bodies.write(plain), numbered=False)
    except BadMessage as bad:
        # In a batch every field is named with the place of its event.
        raise type(bad)([Problem(where + one.field, one.message) for one in bad.problems]) from None
