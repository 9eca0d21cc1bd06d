"""What an answer means: a reply, or the error that says what is known now.

Pure: an answer that was stored can be judged again. HTTP 200 proves nothing here: a body may carry a fault,
or nothing of what was asked for.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, TypeVar

from services.quickbooks import body, entities, faults
from services.quickbooks.call import Call
from services.quickbooks.entities import Entity
from services.quickbooks.errors import AuthFailed, QuickBooksError, Refused, Throttled, UnknownOutcome
from services.quickbooks.faults import Fault

E = TypeVar("E", bound=Entity)

THROTTLE_PAUSE = 60.0
"""Seconds to wait after a 429; Intuit's guidance, used when the answer has no Retry-After."""

_LONGEST_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    @property
    def intuit_tid(self) -> str | None:
        """Intuit's id of the exchange, which its support asks for."""
        return self.headers.get("intuit_tid")

    @property
    def text(self) -> str:
        """The body as text, in the charset the answer names, else UTF-8; never fails."""
        charset = self.headers.get("content-type", "").partition("charset=")[2].split(";")[0].strip(' "')
        try:
            return self.content.decode(charset or "utf-8")
        except (LookupError, UnicodeDecodeError):
            return self.content.decode("latin-1")

    @property
    def date(self) -> datetime.datetime | None:
        """The server's clock in the Date header."""
        return _http_date(self.headers.get("date", ""))

    @property
    def retry_after(self) -> float:
        """Seconds to rest after a throttle: Retry-After (seconds or a date) when sane, else 60."""
        value = self.headers.get("retry-after", "").strip()
        if value.isdecimal():
            seconds = float(value)
        elif (until := _http_date(value)) is not None:
            seconds = (until - (self.date or datetime.datetime.now(datetime.UTC))).total_seconds()
        else:
            return THROTTLE_PAUSE
        return min(max(seconds, 1.0), _LONGEST_PAUSE)


@dataclass(frozen=True)
class Reply:
    """A good answer. `text` is the raw body, `data` the parsed one with Decimals, `content` a PDF's bytes.

    `time` is the server's clock: the envelope's, else the Date header's, None when it told neither.
    """

    call: Call
    status: int
    text: str
    data: Mapping[str, Any]
    intuit_tid: str | None = None
    time: datetime.datetime | None = None
    content: bytes = b""

    @cached_property
    def entity(self) -> Entity:
        """The one object of a create, update, void, delete or read."""
        return entities.parse(self.call.entity, self.data[self.call.entity])

    @cached_property
    def entities(self) -> tuple[Entity, ...]:
        """The rows of a query, or the one object of another call."""
        if self.call.operation == "query":
            rows = self.data["QueryResponse"].get(self.call.entity) or ()
            return tuple(entities.parse(self.call.entity, row) for row in rows)
        return (self.entity,)

    def one(self, type_: type[E]) -> E:
        """Return `entity` as the given type; TypeError when the call was about another."""
        return _typed(self.entity, type_)

    def all(self, type_: type[E]) -> list[E]:
        """Return `entities` as the given type; TypeError when the call was about another."""
        return [_typed(entity, type_) for entity in self.entities]

    @property
    def count(self) -> int:
        """The rows that a count found; 0 when QuickBooks leaves the number out."""
        return int(self.data["QueryResponse"].get("totalCount") or 0)


def judge(call: Call, answer: Answer) -> Reply:
    """Turn an answer into a reply, or raise what it means: see `errors`."""
    if call.operation == "pdf_link" and answer.status == 200 and answer.content.startswith(b"%PDF"):
        return Reply(call, 200, "", {}, answer.intuit_tid, answer.date, answer.content)
    text = answer.text
    data = _parsed(text)
    fault = _fault(data, text, answer.status)
    if fault is None and 200 <= answer.status < 300:
        if isinstance(data, Mapping) and answers(call, data):
            return Reply(
                call, answer.status, text, data, answer.intuit_tid, envelope_time(data) or answer.date
            )
        raise UnknownOutcome(
            f"QuickBooks answered {call.label} with HTTP {answer.status} but without what was asked for",
            status=answer.status,
            intuit_tid=answer.intuit_tid,
        )
    raise error(call, fault or faults.from_status(answer.status), answer)


def error(call: Call, fault: Fault, answer: Answer) -> QuickBooksError:
    """Return the error that a fault amounts to."""
    status, tid = answer.status, answer.intuit_tid
    if fault.kind == "throttle":
        return Throttled(
            f"QuickBooks throttles: {call.label} was not made. {fault.advice}",
            retry_after=answer.retry_after,
            status=status,
            fault=fault,
            intuit_tid=tid,
        )
    if fault.kind == "auth":
        return AuthFailed(
            f"QuickBooks does not accept the connection: {fault.label}. {fault.advice}",
            status=status,
            fault=fault,
            intuit_tid=tid,
        )
    if not fault.settles:
        return UnknownOutcome(
            f"QuickBooks does not say whether {call.label} took effect: {fault.label}. {fault.advice}",
            replayable=fault.code != "600",
            status=status,
            fault=fault,
            intuit_tid=tid,
        )
    return Refused(
        f"QuickBooks refused {call.label}: {fault.label}. {fault.advice}",
        status=status,
        fault=fault,
        intuit_tid=tid,
    )


def envelope_time(data: Mapping[str, Any]) -> datetime.datetime | None:
    """Return the envelope's `time`; None when it is absent or without an offset."""
    try:
        time = datetime.datetime.fromisoformat(data["time"])
    except (KeyError, TypeError, ValueError):
        return None
    return time if time.utcoffset() is not None else None


def _parsed(text: str) -> Any:
    try:
        return body.load(text)
    except ValueError:
        return None


def _fault(data: Any, text: str, status: int) -> Fault | None:
    if data is None:
        return faults.from_xml(text, status) if text.lstrip("\ufeff \r\n\t").startswith("<") else None
    return next((fault for part in _parts(data) if (fault := faults.from_json(part, status))), None)


def _parts(data: Any) -> Iterator[Any]:
    """Yield where an answer may carry the fault of the whole call (a batch's items have their own)."""
    yield data
    if isinstance(data, Mapping):
        yield data.get("QueryResponse")
        for response in _listed(data.get("CDCResponse")):
            yield response
            yield from _listed(response.get("QueryResponse"))


def answers(call: Call, data: Mapping[str, Any]) -> bool:
    """Tell whether a body holds what the call asked for."""
    if call.operation in {"query", "count"}:
        return isinstance(data.get("QueryResponse"), Mapping)
    if call.operation == "changes":
        parts = data.get("CDCResponse")
        return isinstance(parts, list) and all(isinstance(part, Mapping) for part in parts)
    if call.operation == "batch":
        return bool(_listed(data.get("BatchItemResponse")))
    return isinstance(data.get(call.entity), Mapping)


def _listed(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list, nothing for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _typed(entity: Entity, type_: type[E]) -> E:
    if not isinstance(entity, type_):
        raise TypeError(f"the answer holds {type(entity).__name__}, not {type_.__name__}")
    return entity


def _http_date(value: str) -> datetime.datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
