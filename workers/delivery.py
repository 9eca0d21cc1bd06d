"""One message in a worker's hands: what arrived, over which session, and what has been decided about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import dramatiq
from dramatiq.broker import MessageProxy

from workers.headers import Headers


class Decision(StrEnum):
    """What becomes of a delivery."""

    ACK = "ack"  # the outcome is recorded
    REJECT = "reject"  # it belongs to the dead letters
    REQUEUE = "requeue"  # something unexpected: again, after a rest, and counted against the delivery limit
    RETURN = "return"  # not begun: somebody else may have it at once
    HOLD = "hold"  # the database is down: keep it, and begin again when it answers


class Reject(Exception):
    """Raised by an actor: this message can never be processed, or its outcome needs a person."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"{code}: {reason}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as a session received it. `tag` means something to that session only."""

    tag: int
    body: bytes = field(repr=False)
    headers: Headers = field(default_factory=dict, repr=False)
    message_id: str | None = None
    type: str | None = None
    routing_key: str = ""
    deliveries: int = 0  # earlier deliveries that did not end with an outcome
    defect: str = ""  # what is wrong with it besides its body


class SessionLost(Exception):
    """The broker went away, or took the queue away; what was not settled is delivered again, here or elsewhere."""


class Session(Protocol):
    """One uninterrupted stay at one queue of a broker: the seam between consumers and what carries messages.

    All methods but `wake` belong to one thread. `SessionLost` ends it.
    """

    closed: bool  # its tags mean nothing any more

    def receive(self, seconds: float) -> Arrival | None:
        """Wait for the next message, at most so long or until `wake`; None when none came."""

    def ack(self, tag: int) -> None:
        """It is done."""

    def reject(self, tag: int, code: str, reason: str) -> None:
        """It goes to the dead letters; `code` and `reason` go along where the broker can carry them."""

    def requeue(self, tag: int, *, counted: bool) -> None:
        """It goes back to its queue; `counted` against its delivery limit where the broker can tell."""

    def cancel(self) -> None:
        """Receive nothing more; what is under way may still be settled."""

    def wake(self) -> None:
        """End a `receive` of another thread. Never raises."""

    def close(self) -> None:
        """Leave; what was not settled goes back to its queue. Never raises."""


class Delivery(MessageProxy):
    """An arrival as Dramatiq's worker passes it around. Its actor gets it as its only argument."""

    decision: Decision | None

    def __init__(self, arrival: Arrival, session: Session, queue: str, actor: str) -> None:
        """`queue` is the queue it was consumed from, whatever the message says about itself."""
        super().__init__(
            dramatiq.Message(
                queue_name=queue,
                actor_name=actor,
                args=(self,),
                kwargs={},
                options={},
                message_id=arrival.message_id or f"{queue}/{arrival.tag}",
            )
        )
        self.arrival = arrival
        self.session = session
        self.decision = None
        self.holds = 0
        self.code = ""
        self.reason = ""

    @property
    def body(self) -> bytes:
        """The message's own bytes."""
        return self.arrival.body

    @property
    def headers(self) -> Headers:
        """AMQP headers."""
        return self.arrival.headers

    def decide(self, decision: Decision, code: str = "", reason: str = "") -> None:
        """Say what shall become of it, and why; the last word counts."""
        self.decision = decision
        self.code = code
        self.reason = reason

    @property
    def settled(self) -> Decision:
        """The decision; without one it goes back to its queue, never away."""
        return self.decision or Decision.REQUEUE

    def __str__(self) -> str:
        return f"{self.message_id} of {self.queue_name}"  # never the body: this is what Dramatiq logs

    def __repr__(self) -> str:
        return f"<Delivery {self}>"
