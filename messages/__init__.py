"""What is said on the wire: CloudEvents envelope, billing events, accounting events, commands, money."""

from __future__ import annotations

from messages.catalog import CATALOG, EventType, entry_of, lookup, problems, validate
from messages.envelope import CONTENT_TYPE, Event, encode, parse
from messages.errors import (
    BadJson,
    BadMessage,
    InvalidCommand,
    InvalidData,
    InvalidEnvelope,
    NotCloudEvents,
    Problem,
    TooDeep,
    TooLarge,
    UnknownType,
    UnknownVersion,
)
from messages.money import Money
from messages.shape import DocumentKey, EventData

__all__ = [
    "CATALOG",
    "CONTENT_TYPE",
    "BadJson",
    "BadMessage",
    "DocumentKey",
    "Event",
    "EventData",
    "EventType",
    "InvalidCommand",
    "InvalidData",
    "InvalidEnvelope",
    "Money",
    "NotCloudEvents",
    "Problem",
    "TooDeep",
    "TooLarge",
    "UnknownType",
    "UnknownVersion",
    "encode",
    "entry_of",
    "lookup",
    "parse",
    "problems",
    "validate",
]
