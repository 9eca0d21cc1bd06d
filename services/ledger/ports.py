"""What the ledger asks of the rooms around it: one Protocol a capability, one registry of handlers.

A *handler* knows one kind of operation (export an invoice, void it). It never talks to QuickBooks and never
commits: `prepare` runs inside the transaction that takes the operation, `settle` inside the one that records
the answer. The runner does the call in between, so every kind shares one path through intent, call and finish.
What needs no call, such as telling billing of a payment, is `Done` in the first of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection

from messages import EventData
from services.ledger.documents import Description
from services.ledger.operations import Operation, Plan
from services.quickbooks.call import Call
from services.quickbooks.errors import QuickBooksError, Refused
from services.quickbooks.ports import Kind
from services.quickbooks.reply import Reply


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that needs a person, in words a person can act on.

    `cause` groups everything that one fix repairs, e.g. `mapping:item:<company>:<service>`.
    """

    type: str  # exception type, e.g. accounting_sync_export_error
    code: str  # stable word for filters, e.g. missing_item_mapping
    cause: str
    title: str
    happened: str
    why: str
    fix: str
    details: dict[str, Any] = field(default_factory=dict)
    client_id: str | None = None
    amount: int | None = None  # minor units
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A named thing that must be true before an operation may go on."""

    condition: str  # step, link, company, auto_sync, pause
    key: str


@dataclass(frozen=True, slots=True)
class Send:
    """Go on: make this call. `look_first`: the effect may stand already, although no link tells; ask `find` before.

    `along` writes what is true only once the call is intended, in the transaction of the intent.
    """

    call: Call
    look_first: bool = False
    along: Callable[[Connection], None] | None = None


@dataclass(frozen=True, slots=True)
class Adopt:
    """QuickBooks is already as `call` would make it: settle with the object `data` as it stands there."""

    call: Call
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait, without spending an attempt, until all conditions are met."""

    conditions: Sequence[Condition]
    reason: str


@dataclass(frozen=True, slots=True)
class Skip:
    """There is nothing to do, and this is why."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """A person must act first."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Move:
    """The documents it refers to turned out to be in another company: it belongs there too."""

    company_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """There was nothing to call: what `prepare` wrote is the effect, and commits with this outcome."""

    code: str
    reason: str


Prepared = Send | Adopt | Done | Hold | Skip | Fail | Move


@dataclass(frozen=True, slots=True)
class Settled:
    """What an answer means: the note for the timeline, and problems to report although the effect is done.

    A look with an empty note leaves no entry.

    `again`: the effect takes a further call; what this one did is kept, and `prepare` decides on the next.
    """

    note: dict[str, Any]
    problems: Sequence[Problem] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Result of asking QuickBooks whether an unknown outcome happened.

    `reply` is the full match to adopt; `problem` says why a person must look (something similar is not ours, or
    ours was changed meanwhile); neither: it is not there, and the stored call may be made again. `altered`: the problem
    is with what the call made, so that it has taken effect all the same, and is asked about again on a retry.

    `seen`: the call has had no effect, and what was read decides anew whether it is to be made; as with `inspect`.
    """

    reply: Reply | None = None
    problem: Problem | None = None
    altered: bool = False
    seen: Mapping[str, Any] | None = None


class Look(Protocol):
    """A metered read, made by the runner's client."""

    def __call__(self, call: Call) -> Reply:
        """Execute a reading call."""


class Handler(Protocol):
    """One kind of operation."""

    kind: str
    queue: str
    needs_auto_sync: bool  # False for what must follow even when automatic sync is off, e.g. voids

    def prepare(self, connection: Connection, operation: Operation, requestid: str) -> Prepared:
        """Decide, inside the taking transaction, what to send.

        What it writes commits together with what it returns. It may be called again for the same operation, and
        before a `Send`, `Hold` or `Move` it writes nothing that a second time would change.
        """

    def settle(self, connection: Connection, operation: Operation, reply: Reply) -> Settled:
        """Record, inside the finishing transaction, what the answer means: link, snapshot, events out."""

    def inspect(self, operation: Operation, refusal: Refused, look: Look) -> Mapping[str, Any] | None:
        """Read what may explain a refusal: an object that was changed, or something that is there already.

        What is returned is kept as `operation.seen` and `prepare` decides anew; None says that nothing is worth
        reading, and the refusal is final. Called once an attempt, and again whenever QuickBooks says that our
        SyncToken is stale. No transaction is open.
        """

    def refused(self, connection: Connection, operation: Operation, refusal: QuickBooksError) -> Problem:
        """Put a definite refusal by QuickBooks into words a person can act on."""

    def find(self, operation: Operation, look: Look) -> Found:
        """Ask QuickBooks whether the stored call of `operation` took effect. No transaction is open."""


class Desk(Protocol):
    """The exception list, as the ledger sees it."""

    def open(self, connection: Connection, operation: Operation, problem: Problem) -> UUID:
        """Open the exception, or count a repeat of the open one; returns its id."""

    def close(self, connection: Connection, operation: Operation, resolution: str) -> None:
        """Close what is open for an operation's document because its cause is gone."""


class Clients(Protocol):
    """Connections to QuickBooks, per company."""

    def reserve(self, connection: Connection, company_id: UUID, kind: Kind = "call") -> float:
        """Take one limiter slot inside the caller's transaction; seconds from now until it may be used."""

    def execute(self, company_id: UUID, call: Call) -> Reply:
        """Make a call whose slot is reserved already."""

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make a metered read that waits for its own slot."""

    def pause(self, company_id: UUID, seconds: float, reason: str) -> None:
        """Hold all calls of a company, e.g. after a 429."""

    def expired(self, connection: Connection, company_id: UUID, reason: str) -> None:
        """Record that the authorization is gone; the company's work waits for a reconnect."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event means: how it describes its document, and the operations it asks for, in order."""

    description: Description
    plans: Sequence[Plan] = ()
    note: dict[str, Any] = field(default_factory=dict)  # for the timeline


class Planner(Protocol):
    """Knows what each billing event asks of QuickBooks."""

    def effect(self, connection: Connection, tenant: str, data: EventData) -> Effect:
        """Decide inside the transaction that takes the event over. Reads the database only."""
