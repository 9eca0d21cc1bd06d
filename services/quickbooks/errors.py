"""What a failed call to QuickBooks tells: whether it was sent, whether it took effect, and what to do.

Every error names Intuit's transaction id when there is one. The text of an error never carries a token, a
body or a client's name, so it may be logged; Intuit's own detail is on the fault.
"""

from __future__ import annotations

from services.quickbooks.faults import Fault


class QuickBooksError(Exception):
    """Any failure on the wire. `status` is the HTTP status, `intuit_tid` what Intuit's support asks for."""

    def __init__(
        self,
        sentence: str,
        *,
        status: int | None = None,
        fault: Fault | None = None,
        intuit_tid: str | None = None,
    ) -> None:
        super().__init__(f"{sentence} (intuit_tid {intuit_tid})" if intuit_tid else sentence)
        self.status = status
        self.fault = fault
        self.intuit_tid = intuit_tid


class InvalidCall(QuickBooksError, ValueError):
    """The call must not be made as asked for: a mistake of ours, found before anything was sent."""


class NotSent(QuickBooksError):
    """The call never left: no connection, or no token to send it with. Nothing has happened at QuickBooks."""


class UnknownOutcome(QuickBooksError):
    """The call was sent, and nobody can say yet whether it took effect.

    `replayable`: sending the same bytes under the same request id tells. When False, QuickBooks has refused
    just that as a duplicate, and only reading back tells.
    """

    def __init__(
        self,
        sentence: str,
        *,
        status: int | None = None,
        fault: Fault | None = None,
        intuit_tid: str | None = None,
        replayable: bool = True,
    ) -> None:
        super().__init__(sentence, status=status, fault=fault, intuit_tid=intuit_tid)
        self.replayable = replayable


class Throttled(QuickBooksError):
    """Too many calls; nothing has happened. `retry_after` is how many seconds the company should rest."""

    def __init__(
        self,
        sentence: str,
        *,
        retry_after: float,
        status: int | None = None,
        fault: Fault | None = None,
        intuit_tid: str | None = None,
    ) -> None:
        super().__init__(sentence, status=status, fault=fault, intuit_tid=intuit_tid)
        self.retry_after = retry_after


class AuthFailed(QuickBooksError):
    """The connection or the app's keys are not good any more: a person must reconnect. Nothing happened.

    `reason` is OAuth's word when the token endpoint said so: "invalid_grant" (expired, revoked, used) or
    "invalid_client" (the app's keys).
    """

    def __init__(
        self,
        sentence: str,
        *,
        reason: str = "",
        status: int | None = None,
        fault: Fault | None = None,
        intuit_tid: str | None = None,
    ) -> None:
        super().__init__(sentence, status=status, fault=fault, intuit_tid=intuit_tid)
        self.reason = reason


class Refused(QuickBooksError):
    """QuickBooks said no, and nothing has happened. `fault` says why, `fault.kind` what to do."""

    fault: Fault

    def __init__(
        self, sentence: str, *, fault: Fault, status: int | None = None, intuit_tid: str | None = None
    ) -> None:
        super().__init__(sentence, status=status, fault=fault, intuit_tid=intuit_tid)
