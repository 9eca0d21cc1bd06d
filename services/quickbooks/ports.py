"""What the wire needs from whoever owns connections: a limiter, tokens and a meter.

A company is named by an opaque id of the caller's choosing; the wire passes it back and never reads it. The
realm id (Intuit's name of the company) is a separate thing that only the client's addresses carry.
"""

from __future__ import annotations

from typing import Literal, Protocol

Kind = Literal["call", "batch"]


class Limiter(Protocol):
    """Keeps a company within Intuit's limits: 500 calls a minute, 10 a second, 40 batches a minute.

    https://developer.intuit.com/app/developer/qbo/docs/learn/rest-api-features#limits-and-throttles
    """

    def acquire(self, company: str, kind: Kind) -> None:
        """Block until the company may make one more call, or raise `errors.Throttled` with the wait."""

    def pause(self, company: str, seconds: float, reason: str) -> None:
        """Let the company rest for so many seconds, because Intuit answered 429."""


class Tokens(Protocol):
    """Hands out access tokens and renews them, one refresh at a time per company in the whole fleet."""

    def access_token(self, company: str) -> str:
        """Return the access token in force; raise `errors.AuthFailed` when the company is not connected."""

    def refresh(self, company: str, rejected: str) -> str:
        """Return a newer token than `rejected`, which Intuit answered with 401.

        Single flight: whoever comes second with the same rejected token gets what the first one fetched.
        Raises `errors.AuthFailed` when the connection is expired or revoked.
        """


class Meter(Protocol):
    """Counts the reads that Intuit's App Partner Program meters (writes are free)."""

    def count(self, company: str, reads: int, operation: str) -> None:
        """Add so many metered reads of a company; `operation` is the call's, like "query" or "changes"."""
