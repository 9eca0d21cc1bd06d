"""The client: makes one call for one company, and says exactly what is known afterwards.

Every call waits for the company's limiter, carries its token, is metered and logged with Intuit's id of it.
A 401 refreshes the token once. Asked again by itself is only what cannot do harm: a call that never left, and
a read that got no answer. Anything else is the ledger's to decide, which has the call written down.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TypeVar
from urllib.parse import quote

import structlog

from services.quickbooks.call import Call
from services.quickbooks.environments import Environment
from services.quickbooks.errors import AuthFailed, NotSent, QuickBooksError, Throttled, UnknownOutcome
from services.quickbooks.ports import Limiter, Meter, Tokens
from services.quickbooks.reply import Answer, Reply, judge
from services.quickbooks.transport import Deadline, Session, Timeouts, exchange, pooled_session

T = TypeVar("T")

_log = structlog.get_logger()
_USER_AGENT = f"algasync/{version('algasync')}"


class Client:
    """Calls QuickBooks for one connected company. Cheap to make, safe to share between threads.

    `company` is the opaque id that limiter, tokens and meter know; `realm` is Intuit's id of that company.
    Clients of many companies should share one `session` (`transport.pooled_session`).
    """

    def __init__(
        self,
        *,
        company: str,
        realm: str,
        environment: Environment,
        tokens: Tokens,
        limiter: Limiter,
        meter: Meter,
        timeouts: Timeouts | None = None,
        session: Session | None = None,
    ) -> None:
        self.company = company
        self.realm = realm
        self._base = f"{environment.api.rstrip('/')}/v3/company/{quote(realm, safe='')}/"
        self._tokens = tokens
        self._limiter = limiter
        self._meter = meter
        self._timeouts = timeouts or Timeouts()
        self._session = session or pooled_session(environment)

    def execute(self, call: Call) -> Reply:
        """Make the call and return the reply, or raise a `QuickBooksError` that says what is known.

        NotSent, Throttled, AuthFailed, Refused: nothing has changed. UnknownOutcome: find out first.
        """
        deadline = Deadline(self._timeouts.total)
        try:
            return self._authorized(call, deadline)
        except QuickBooksError as failure:
            if deadline.left <= 1 or not _harmless(call, failure):
                raise
        time.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - spreads load, guards nothing
        return self._authorized(call, deadline)

    def _authorized(self, call: Call, deadline: Deadline) -> Reply:
        token = _before_sending(lambda: self._tokens.access_token(self.company))
        try:
            return self._once(call, token, deadline)
        except AuthFailed as failure:
            if not _token_refused(failure):
                raise
        token = _before_sending(lambda: self._tokens.refresh(self.company, token))
        return self._once(call, token, deadline)

    def _once(self, call: Call, token: str, deadline: Deadline) -> Reply:
        self._limiter.acquire(self.company, "batch" if call.operation == "batch" else "call")
        started = time.perf_counter()
        log = _log.bind(company=self.company, call=call.label, requestid=call.requestid)
        try:
            answer = self._send(call, token, deadline)
            reply = judge(call, answer)
        except QuickBooksError as failure:
            log.warning(
                "quickbooks call failed",
                outcome=type(failure).__name__,
                status=failure.status,
                fault=failure.fault.label if failure.fault else None,
                intuit_tid=failure.intuit_tid,
                milliseconds=_since(started),
            )
            if isinstance(failure, Throttled):
                self._limiter.pause(self.company, failure.retry_after, "QuickBooks answered 429")
            raise
        log.info(
            "quickbooks call", status=reply.status, intuit_tid=reply.intuit_tid, milliseconds=_since(started)
        )
        return reply

    def _send(self, call: Call, token: str, deadline: Deadline) -> Answer:
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/pdf" if call.operation == "pdf_link" else "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": _USER_AGENT,
        }
        if call.body:
            in_body = call.operation in {"query", "count"}
            headers["Content-Type"] = "application/text" if in_body else "application/json"
        try:
            answer = exchange(
                self._session,
                call.method,
                self._base + call.target,
                headers,
                call.body.encode(),
                self._timeouts,
                deadline,
            )
        except UnknownOutcome:
            # Intuit may have answered 200, which it counts.
            self._count(call)
            raise
        if 200 <= answer.status < 300:
            self._count(call)
        return answer

    def _count(self, call: Call) -> None:
        if call.metered:
            self._meter.count(self.company, call.reads, call.operation)


def _before_sending(token: Callable[[], T]) -> T:
    """Fetch a token; an unclear outcome at the token endpoint is no unclear outcome of the call."""
    try:
        return token()
    except UnknownOutcome as failure:
        raise NotSent("the access token could not be renewed; nothing was sent") from failure


def _token_refused(failure: AuthFailed) -> bool:
    return failure.status == 401 or (failure.fault is not None and failure.fault.code == "3200")


def _harmless(call: Call, failure: BaseException) -> bool:
    """Tell whether asking again cannot do harm, whatever became of the first time."""
    if isinstance(failure, NotSent):
        return not isinstance(failure.__cause__, UnknownOutcome)
    return isinstance(failure, UnknownOutcome) and not call.writes


def _since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
