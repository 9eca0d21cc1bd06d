"""What can be wrong with a message: one class a reason, with a stable code and sentences that name the field.

Reasons are stored with dead letters and filtered on, so a code never changes its meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class Problem(NamedTuple):
    """One thing to mend: the path of the field (`data.lines[2].net_amount`) and what is wrong with it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


class BadMessage(Exception):
    """A message that can never be processed as it is; resending the same bytes does not help."""

    reason: ClassVar[str] = "bad_message"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.reason, self.problems)

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


class BadJson(BadMessage):
    """The body is not the JSON that every reader understands alike."""

    reason = "bad_json"


class TooLarge(BadMessage):
    """The body is larger than any document of billing."""

    reason = "too_large"


class TooDeep(BadMessage):
    """The body is nested deeper than any document of billing."""

    reason = "too_deep"


class NotCloudEvents(BadMessage):
    """The body is JSON, but no CloudEvents 1.0 event in structured mode."""

    reason = "not_cloudevents"


class InvalidEnvelope(BadMessage):
    """An attribute of the envelope is missing or wrong."""

    reason = "invalid_envelope"


class UnknownType(BadMessage):
    """No such event."""

    reason = "unknown_type"


class UnknownVersion(BadMessage):
    """The event exists, but not in this version."""

    reason = "unknown_version"


class InvalidData(BadMessage):
    """The data of an event breaks the contract of its type."""

    reason = "invalid_data"


class InvalidCommand(BadMessage):
    """The body is JSON, but no command."""

    reason = "invalid_command"
