"""The envelope: CloudEvents 1.0 in structured JSON mode.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md

`parse` reads bytes from anywhere and either returns an event whose data keeps its contract or raises a
BadMessage that names the field; `encode` writes one, equal events to equal bytes. Attributes nobody knows are
tolerated.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import (
    BeforeValidator,
    InstanceOf,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
)
from uuid_utils.compat import uuid7

from messages import body as bodies
from messages.catalog import EventType, entry_of, lookup, validate
from messages.errors import InvalidEnvelope, NotCloudEvents, Problem
from messages.refusals import problems_in
from messages.shape import Count, DocumentKey, EventData, Identifier, Instant, Shape, Uuid, reject, shown

CONTENT_TYPE: Final = "application/cloudevents+json"

_traceparent = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


def _media_type(value: object) -> str:
    if not isinstance(value, str) or value.partition(";")[0].strip().lower() != "application/json":
        reject(f"is {shown(value)}; data is a JSON object, so send application/json or leave it out")
    return "application/json"


def _usable_traceparent(value: object) -> object:
    """Drop a broken trace context, as W3C asks (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    return value if isinstance(value, str) and _traceparent(value) else None


class Event(Shape):
    """An event in its envelope. Make one with `Event.of`, read one with `parse`."""

    id: Uuid
    source: Identifier
    """Who says so, a URI such as //psa.example.com/billing."""
    type: Identifier
    subject: Identifier
    """Id of the document the event is about."""
    time: Instant
    """When it happened."""
    datacontenttype: Annotated[str, PlainValidator(_media_type), WithJsonSchema({"type": "string"})] = (
        "application/json"
    )
    tenantid: Identifier
    sequence: Count | None = None
    """Count of the events of this document, without gaps; assigned when the event is emitted."""
    traceparent: Annotated[str | None, BeforeValidator(_usable_traceparent)] = None
    """W3C trace context."""
    data: SerializeAsAny[InstanceOf[EventData]]

    @classmethod
    def of(
        cls,
        data: EventData,
        *,
        tenantid: str,
        source: str,
        time: datetime | None = None,
        event_id: UUID | None = None,
        traceparent: str | None = None,
    ) -> Self:
        """Put data into an envelope: a fresh UUIDv7 and the present instant unless given; not yet numbered.

        Raises InvalidEnvelope.
        """
        return cls._checked(
            {
                "id": event_id or uuid7(),
                "source": source,
                "type": entry_of(data).name,
                "subject": data.key.id,
                "time": time or datetime.now(UTC),
                "tenantid": tenantid,
                "traceparent": traceparent,
                "data": data,
            }
        )

    @property
    def entry(self) -> EventType:
        """The event's type in the catalog: room, routing key, model."""
        return entry_of(self.data)

    @property
    def document(self) -> DocumentKey:
        """Kind and id of the document the event is about."""
        return self.data.key

    def numbered(self, sequence: int) -> Self:
        """Return the same event with its sequence."""
        return self._checked(dict(self) | {"sequence": sequence})

    @classmethod
    def _checked(cls, attributes: dict[str, Any]) -> Self:
        try:
            return cls.model_validate(attributes)
        except ValidationError as error:
            raise InvalidEnvelope(problems_in(error, cls)) from None


def parse(body: bytes, *, numbered: bool = True) -> Event:
    """Read an event from bytes.

    `numbered` says whether it was emitted already and so must carry its sequence; one still to be emitted
    may not.
    Raises BadJson, TooLarge, TooDeep, NotCloudEvents, UnknownType, UnknownVersion, InvalidEnvelope,
    InvalidData.
    """
    plain = bodies.read(body)
    if not isinstance(plain, dict):
        raise NotCloudEvents([Problem("body", f"is {shown(plain)}; send one CloudEvents object")])
    if plain.get("specversion") != "1.0":
        raise NotCloudEvents([Problem("specversion", f"is {shown(plain.get('specversion'))}; send 1.0")])
    if "data_base64" in plain:
        raise NotCloudEvents([Problem("data_base64", "is not read here; send the JSON object in data")])
    entry = lookup(plain.get("type"))
    data = validate(entry.name, plain.get("data"))
    event = Event._checked(plain | {"data": data})
    _check_consistency(event, numbered)
    return event


def encode(event: Event) -> bytes:
    """Write an event as bytes, always the same ones for the same event. Raises TooLarge beyond 1 MB."""
    return bodies.write({"specversion": "1.0", **event.plain()})


def _check_consistency(event: Event, numbered: bool) -> None:
    problems = []
    if event.subject != event.document.id:
        problems.append(
            Problem(
                "subject",
                f"is {shown(event.subject)}, but the data is about {event.document.kind} "
                f"{shown(event.document.id)}; send the document's id",
            )
        )
    if numbered and event.sequence is None:
        problems.append(Problem("sequence", "is missing; emit the event through the outbox, which counts"))
    if not numbered and event.sequence is not None:
        problems.append(Problem("sequence", "is given, but emit assigns it; leave it out"))
    if problems:
        raise InvalidEnvelope(problems)
