"""What a destination's sender gets and what it says: the seam between the lanes and webhooks, AlgaPSA, mail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from services.exceptions.desk import Subject
from services.ledger.ports import Problem


@dataclass(frozen=True, slots=True)
class Parcel:
    """One delivery and where it goes. `attempt` is 1 for the first; `body` is the event's JSON, byte for byte.

    `latest` is the newest event about the same subject, for a sender that brings a state over rather than an event.
    """

    delivery_id: UUID
    subscription_id: UUID
    tenant: str
    event_id: UUID
    type: str
    body: str
    attempt: int
    url: str
    secret: bytes | None
    recipient: str
    latest: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """How an attempt ended.

    `delivered`: done. `again`: it may work later; `after` is what the server asked to wait, in seconds.
    `person`: it never will by itself; `problem` says what to do. `settles` names the exception that a success closes,
    and that a problem opens.
    """

    outcome: Literal["delivered", "again", "person"]
    status: int | None = None
    error: str | None = None
    reply: str = ""
    after: float | None = None
    problem: Problem | None = None
    settles: tuple[Subject, str] | None = None


class Sender(Protocol):
    """One kind of destination. Knows nothing of attempts, order or the database."""

    def send(self, parcel: Parcel, still: Callable[[], bool]) -> Sent:
        """Send it. Before an act that must not happen twice, ask `still`: False says that another worker may be at it.

        Raises nothing that is foreseeable; no transaction is open.
        """
