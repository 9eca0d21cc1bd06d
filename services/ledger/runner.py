"""Running one operation: take, call, record. The one path every kind of operation goes through.

No transaction is open during the call. Whatever happens in between, the ledger can tell: an intent without a
recorded answer is an unknown outcome, resolved by asking what is there, and where nothing is by making the same call
under the same `requestid`: the one finds what QuickBooks has done, the other what it is still doing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from services.database import Database
from services.database.engine import ALL_TENANTS
from services.ledger import operations, record, troubles
from services.ledger.operations import Operation
from services.ledger.ports import Clients, Desk, Found, Handler, Look, Problem
from services.ledger.take import Ended, Raced, Taken, fail, take
from services.quickbooks import batch, calls
from services.quickbooks.call import Call
from services.quickbooks.errors import (
    AuthFailed,
    InvalidCall,
    QuickBooksError,
    Refused,
    Throttled,
    UnknownOutcome,
)
from services.quickbooks.fault_codes import NOT_FOUND, STALE
from services.quickbooks.reply import Reply

log = structlog.get_logger()

RACES = 5  # a take that lost its race starts over; losing so often in a row is a mistake worth seeing
COMPANY_REST = 300.0  # seconds a company rests when QuickBooks says that it is locked, upgrading or unpaid


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the message. `reject`: it belongs to the dead letters, `code` and `reason` say why."""

    reject: bool
    code: str
    reason: str


class _Write(Protocol):
    def __call__(self, connection: Connection) -> object: ...


class Runner:
    """Runs operations by their id. One per process; safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        clients: Clients,
        desk: Desk,
        *,
        lease: timedelta,
        call_within: timedelta,
        replay_within: timedelta,
    ) -> None:
        """`call_within` is the longest a call can take; it must be below `lease`."""
        if call_within >= lease:
            raise ValueError(f"a call of {call_within} would outlive the lease of {lease}")
        self._database = database
        self._handlers = handlers
        self._clients = clients
        self._desk = desk
        self._lease = lease
        self._call_within = call_within
        self._replay_within = replay_within

    def run(self, operation_id: UUID, attempt: int) -> Verdict:
        """Do the operation's attempt, if it is still to be done.

        Returns once the outcome is committed. Raises only when the database cannot be reached.
        """
        started = time.monotonic()
        taken = self._take(operation_id, attempt)
        if isinstance(taken, Ended):
            return Verdict(taken.problem, taken.code, taken.reason)
        operation = taken.operation
        bound = {
            "tenant": operation.tenant_id,
            "company": str(operation.company_id),
            "operation": str(operation_id),
            "kind": operation.kind,
            "document": f"{operation.document_kind}/{operation.document_id}",
            "requestid": operation.requestid,
        }
        with structlog.contextvars.bound_contextvars(**bound):
            try:
                return self._call(taken, started)
            except record.LeaseLost:
                log.warning("lease_lost", advice="another worker resolves it by the same requestid")
                return Verdict(False, "lease_lost", "the lease ended before the outcome was recorded")
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise
                # Whether the call was made is not known here: the next attempt finds out.
                log.exception("calling_failed")
                return self._failed(operation, troubles.internal(operation, error), outcome="unknown")

    def _take(self, operation_id: UUID, attempt: int) -> Taken | Ended:
        for _ in range(RACES):
            try:
                with self._database.transaction(ALL_TENANTS) as connection:
                    return take(
                        connection,
                        operation_id,
                        attempt,
                        handlers=self._handlers,
                        clients=self._clients,
                        desk=self._desk,
                        lease=self._lease,
                        replay_within=self._replay_within,
                    )
            except Raced:
                continue
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise
                return self._surprise(operation_id, attempt, error)
        return Ended("raced", "another worker is at this operation")

    def _surprise(self, operation_id: UUID, attempt: int, error: Exception) -> Ended:
        """A mistake of ours must not loop for ever nor be silent: it fails with an exception of its own."""
        with self._database.transaction(ALL_TENANTS) as connection:
            operation = operations.get(connection, operation_id)
            if operation is None or operation.attempt != attempt or operation.finished:
                # A later event took its place while it was prepared, so what was read did not fit together.
                return Ended("already_settled", "the operation was settled meanwhile")
            log.error("preparing_failed", operation=str(operation_id), exc_info=error)
            return fail(connection, operation, troubles.internal(operation, error), self._desk)

    def _call(self, taken: Taken, started: float) -> Verdict:
        operation, handler = taken.operation, self._handlers[taken.operation.kind]
        assert operation.company_id is not None
        if taken.slot > 0:
            time.sleep(taken.slot)
        if time.monotonic() - started > (self._lease - self._call_within).total_seconds() + taken.slot:
            raise record.LeaseLost  # stopped for too long between intent and call: do not send any more
        look = partial(self._clients.look, operation.company_id)
        unsure = taken.unsure
        try:
            adopted = False
            reply: Reply | None = None
            if taken.read_back:
                found = _find(handler, operation, look)
                if found.problem is not None:
                    outcome = "unknown" if unsure and found.altered else "refused"
                    return self._failed(operation, found.problem, outcome=outcome)
                if found.seen is not None:
                    return self._look_again(operation, found.seen, "what is there decides", None)
                reply, adopted = found.reply, found.reply is not None
            if reply is None:
                reply = self._clients.execute(operation.company_id, taken.call)
                if unsure and taken.call.operation == "create":
                    reply = _as_it_stands(reply, look)
                if unsure and taken.call.operation == "batch":
                    reply = batch.as_they_stand(reply, look)
        except _Gone:
            return self._failed(operation, troubles.gone(operation), outcome="refused", gone=True)
        except Refused as refusal:
            if unsure and (not taken.read_back or taken.call.lingers):
                # The first try may have taken effect all the same: ask before believing this answer.
                after = timedelta(seconds=taken.call.lingers)
                return self._again(operation, refusal, "read_back", "unknown", after)
            return self._refused(operation, handler, refusal, look, unsure=unsure)
        except QuickBooksError as error:
            return self._troubled(operation, error, unsure=unsure)
        settled = reply
        try:
            self._commit(
                operation,
                lambda connection: record.succeeded(
                    connection, operation, settled, handler, self._desk, adopted=adopted
                ),
            )
        except (record.LeaseLost, OperationalError, InterfaceError):
            raise
        except Exception as error:
            # The effect stands in QuickBooks; the same requestid brings the answer back once we are mended.
            log.exception("settling_failed", intuit_tid=reply.intuit_tid)
            return self._failed(operation, troubles.internal(operation, error), outcome="unknown")
        log.info("operation_succeeded", intuit_tid=reply.intuit_tid, adopted=adopted)
        return Verdict(False, "succeeded", "")

    def _refused(
        self, operation: Operation, handler: Handler, refusal: Refused, look: Look, *, unsure: bool
    ) -> Verdict:
        """A definite no: passes by itself, is explained by what QuickBooks has now, or needs a person.

        `unsure`: an earlier try may have taken effect, and may be what this one is refused for.
        """
        assert operation.company_id is not None
        unsent = "unknown" if unsure else "unsent"
        kind, stale = refusal.fault.kind, refusal.fault.code == STALE
        log.warning("call_refused", said=str(refusal), intuit_tid=refusal.intuit_tid)
        if kind == "auth":
            return self._disconnected(operation, refusal, outcome=unsent)
        if kind == "blocked":
            self._clients.pause(operation.company_id, COMPANY_REST, refusal.fault.label)
        if kind in {"transient", "throttle", "blocked"} and not stale:
            return self._again(
                operation, refusal, refusal.fault.label, unsent, record.backoff(operation.tries)
            )
        if operation.tries + 1 < record.MAX_TRIES and (stale or unsure or operation.seen is None):
            try:
                seen = handler.inspect(operation, refusal, look)
            except QuickBooksError as error:
                return self._troubled(operation, error, unsure=False)
            if seen is not None:
                return self._look_again(operation, seen, refusal.fault.label, refusal.intuit_tid)
        with self._database.transaction(operation.tenant_id) as connection:
            problem = handler.refused(connection, operation, refusal)
        return self._failed(operation, problem, outcome="refused", tid=refusal.intuit_tid)

    def _look_again(
        self, operation: Operation, seen: Mapping[str, Any], reason: str, tid: str | None
    ) -> Verdict:
        """What was read is kept, and the handler decides anew."""
        self._commit(
            operation, lambda connection: record.look_again(connection, operation, seen, reason, tid)
        )
        return Verdict(False, "look_again", reason)

    def _troubled(self, operation: Operation, error: QuickBooksError, *, unsure: bool) -> Verdict:
        """No answer, or none that says yes or no: due again, or wait for a reconnect.

        `unsure`: an earlier try may have taken effect, so that nothing of what is learned now makes it unsent.
        """
        assert operation.company_id is not None
        unsent = "unknown" if unsure else "unsent"
        log.warning("call_failed", error=type(error).__name__, said=str(error), intuit_tid=error.intuit_tid)
        if isinstance(error, Throttled):
            self._clients.pause(operation.company_id, error.retry_after, "QuickBooks answered 429")
            return self._again(operation, error, "throttled", unsent, timedelta(seconds=error.retry_after))
        if isinstance(error, AuthFailed):
            return self._disconnected(operation, error, outcome=unsent)
        if isinstance(error, UnknownOutcome):
            if not error.replayable:
                assert operation.call is not None
                after = timedelta(seconds=max(1, Call.from_json(operation.call).lingers))
                return self._again(operation, error, "read_back", "unknown", after)
            return self._again(
                operation, error, "unknown_outcome", "unknown", record.backoff(operation.tries)
            )
        if isinstance(error, InvalidCall):
            return self._failed(operation, troubles.internal(operation, error), outcome=unsent)
        return self._again(operation, error, "not_sent", unsent, record.backoff(operation.tries))

    def _again(
        self, operation: Operation, error: QuickBooksError, code: str, outcome: str, after: timedelta
    ) -> Verdict:
        if operation.tries + 1 >= record.MAX_TRIES and code not in {"throttled", "read_back"}:
            problem = troubles.worn_out(operation, error)
            return self._failed(operation, problem, outcome=outcome, tid=error.intuit_tid)
        self._commit(
            operation,
            lambda connection: record.again(
                connection,
                operation,
                outcome=outcome,
                code=code,
                reason=str(error),
                after=after,
                intuit_tid=error.intuit_tid,
            ),
        )
        return Verdict(False, code, str(error))

    def _disconnected(self, operation: Operation, error: QuickBooksError, *, outcome: str) -> Verdict:
        company_id = operation.company_id
        assert company_id is not None

        def write(connection: Connection) -> None:
            self._clients.expired(connection, company_id, str(error))
            record.wait_for_company(connection, operation, str(error), error.intuit_tid, outcome=outcome)

        self._commit(operation, write)
        return Verdict(False, "company", str(error))

    def _failed(
        self,
        operation: Operation,
        problem: Problem,
        *,
        outcome: str,
        tid: str | None = None,
        gone: bool = False,
    ) -> Verdict:
        self._commit(
            operation,
            lambda connection: record.failed(
                connection, operation, problem, self._desk, outcome=outcome, intuit_tid=tid, gone=gone
            ),
        )
        return Verdict(True, problem.code, problem.happened)

    def _commit(self, operation: Operation, write: _Write) -> None:
        with self._database.transaction(operation.tenant_id) as connection:
            write(connection)


class _Gone(Exception):
    """What a call made is not there any more."""


def _find(handler: Handler, operation: Operation, look: Look) -> Found:
    """Ask whether the call took effect. A question that is refused leaves that as unknown as it was."""
    try:
        return handler.find(operation, look)
    except Refused as refusal:
        if refusal.fault.kind in {"auth", "blocked", "throttle", "transient"}:
            raise  # it says nothing of the question, and is no answer to the call either
        raise UnknownOutcome(str(refusal), intuit_tid=refusal.intuit_tid) from refusal


def _as_it_stands(reply: Reply, look: Look) -> Reply:
    """The object of a repeated create as it is now; raises `_Gone` when it was deleted.

    The answer to a repeated request id is the first one, word for word, whatever happened to the object since.
    """
    try:
        present = look(calls.read(reply.call.entity, reply.entity.id))
    except Refused as refusal:
        if refusal.fault.code == NOT_FOUND:
            raise _Gone from refusal
        raise UnknownOutcome(str(refusal), intuit_tid=refusal.intuit_tid) from refusal
    return replace(present, call=reply.call)
