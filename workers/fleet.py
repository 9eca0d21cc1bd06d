"""What the fleet calls: the rooms behind the actors, handed in by whoever starts a process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.exceptions.letters import Letter
from services.ledger.runner import Verdict
from workers.headers import Headers


@dataclass(frozen=True, slots=True)
class Fleet:
    """The work behind the messages. Every function is safe to call from several threads.

    A function returns once its outcome is committed; only then is its message acknowledged. A database that does
    not answer shows as the exception of SQLAlchemy, and the message is tried again when it does.
    """

    intake: Callable[[bytes, Headers], object]
    """Take a billing event over. Raises `messages.BadMessage` for what can never be taken over."""

    run: Callable[[UUID, int], Verdict]
    """Do an attempt of an operation. `Verdict.reject`: it is recorded, and its message is a dead letter."""

    file_letter: Callable[[Letter], object]
    """File a dead letter."""

    ask_database: Callable[[], object]
    """Return when the database can be worked with, raise when it cannot."""

    notify: Callable[[UUID], object]
    """Send somebody to a destination that is owed something; returns when that is under way."""
