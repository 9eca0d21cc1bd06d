"""Access tokens: kept fresh, renewed by one process at a time per company, stored before they are used.

Intuit changes the refresh token about daily and ends a connection on which two refreshes race. So a refresh
holds an advisory lock of its company; the lock belongs to a database session, which ends with its process.
Before Intuit is asked, `refreshing_since` says so: whoever finds that mark while holding the lock knows that a
refresh was cut off between Intuit's answer and our storing it.
https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/oauth-2.0
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
import tenacity
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from services.connections import companies, token_store
from services.connections.companies import Attention
from services.connections.intuit import Intuit
from services.connections.token_store import Held
from services.database import Database
from services.database.engine import ALL_TENANTS, scope
from services.quickbooks.errors import AuthFailed, NotSent, QuickBooksError, Throttled, UnknownOutcome
from services.quickbooks.oauth import OAuth, TokenSet
from services.refusals import Refusal

EARLY = 300.0  # seconds before its end at which an access token is renewed instead of used
PROACTIVE = 900.0  # seconds before its end at which the scheduler renews it, so that no export waits for that
ENOUGH = 30.0  # seconds an access token must still live to be used when Intuit cannot be reached
REST = 30.0  # seconds after a refresh was cut off before Intuit is asked again: it may still be at the first
STORE_WITHIN = 60.0  # seconds for which storing a new token is tried; losing one may cost a reconnect

_LOCK = text("SELECT pg_advisory_lock(hashtextextended('company_token:' || :company, 0))")
_LOCK_TO_COMMIT = text("SELECT pg_advisory_xact_lock(hashtextextended('company_token:' || :company, 0))")
_UNLOCK = text(
    """SELECT pg_advisory_unlock(hashtextextended('company_token:' || :company, 0)),
              set_config('lock_timeout', '0', false), set_config('idle_session_timeout', '0', false)"""
)
# Others wait a little longer than a refresh can take. A process that is stopped while it holds the lock loses
# its session, and the lock, after a minute and a half; what it stores then counts only if nobody was faster.
_PATIENCE = text(
    "SELECT set_config('lock_timeout', '28s', false), set_config('idle_session_timeout', '90s', false)"
)

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Hot:
    """An access token in this process's memory, good until a moment of its monotonic clock."""

    token: str = field(repr=False)
    version: int
    until: float


def lock(connection: Connection, company_id: UUID) -> None:
    """Keep refreshes of a company away until the running transaction ends; waits for one under way."""
    connection.execute(_LOCK_TO_COMMIT, {"company": str(company_id)})


class Tokens:
    """The wire's tokens. One per process; safe to share between threads."""

    def __init__(
        self,
        database: Database,
        intuit: Intuit,
        attention: Attention,
        tenant: str = ALL_TENANTS,
        *,
        rest: float = REST,
    ) -> None:
        self._database = database
        self._intuit = intuit
        self._attention = attention
        self._tenant = tenant
        self._rest = rest
        self._hot: dict[UUID, _Hot] = {}
        self._flights: dict[str, threading.Lock] = {}

    def access_token(self, company: str) -> str:
        """Return the access token in force, renewed when it is about to end.

        Raises AuthFailed when the company is not connected, NotSent or Throttled when a renewal is needed and
        Intuit cannot be asked, UnknownOutcome when it was asked and gave no clear answer.
        """
        company_id = UUID(company)
        hot = self._hot.get(company_id)
        if hot is not None and time.monotonic() < hot.until:
            return hot.token
        held = self._read(company_id)
        return self._keep(company_id, held) if held.seconds_left > EARLY else self._renewed(company_id, held)

    def refresh(self, company: str, rejected: str) -> str:
        """Return a newer token than `rejected`; asks Intuit only if nobody has since. Raises as above."""
        company_id = UUID(company)
        held = self._read(company_id)
        if held.access_token != rejected and held.seconds_left > 0:
            return self._keep(company_id, held)
        return self._renewed(company_id, held, must=True)

    def keep_fresh(self, company_id: UUID, within: float = PROACTIVE) -> bool:
        """Renew the token if it ends within so many seconds; whether that was needed. Raises as above."""
        held = self._read(company_id)
        if held.seconds_left > within:
            return False
        self._renewed(company_id, held, must=True)
        return True

    def _read(self, company_id: UUID) -> Held:
        with self._database.transaction(self._tenant) as connection:
            return self._connected(company_id, token_store.read(connection, self._intuit.vault, company_id))

    def _connected(self, company_id: UUID, held: Held | None) -> Held:
        if held is None or held.state != "active":
            self._hot.pop(company_id, None)
            raise AuthFailed(
                "the company is not connected to QuickBooks; an accounting admin can reconnect it in one click"
            )
        return held

    def _keep(self, company_id: UUID, held: Held) -> str:
        until = time.monotonic() + held.seconds_left - EARLY
        self._hot[company_id] = _Hot(held.access_token, held.version, until)
        return held.access_token

    def _renewed(self, company_id: UUID, seen: Held, *, must: bool = False) -> str:
        """A token newer than the version that was seen. Unless it `must` be, the seen one serves in need."""
        try:
            # One thread of this process asks; the others wait for it and find its result.
            with self._flights.setdefault(str(company_id), threading.Lock()):
                hot = self._hot.get(company_id)
                if hot is not None and hot.version > seen.version:
                    return hot.token
                with self._alone(company_id) as connection:
                    return self._fly(connection, company_id, seen.version)
        except (NotSent, Throttled, UnknownOutcome) as failure:
            if must or seen.seconds_left < ENOUGH:
                raise
            _log.warning("token_kept", company=str(company_id), because=str(failure))
            return seen.access_token

    @contextmanager
    def _alone(self, company_id: UUID) -> Iterator[Connection]:
        """A session that holds the company's lock; no transaction is open, so none is idle during the call."""
        with self._database.engine.connect() as connection:
            connection.execute(_PATIENCE)
            try:
                connection.execute(_LOCK, {"company": str(company_id)})
                connection.commit()
            except DBAPIError as refused:
                connection.invalidate()
                if isinstance(refused, OperationalError) and not refused.connection_invalidated:
                    raise NotSent("another process is renewing the access token; nothing was sent") from None
                raise
            try:
                yield connection
            finally:
                self._unlock(connection, company_id)

    @staticmethod
    def _unlock(connection: Connection, company_id: UUID) -> None:
        try:
            connection.rollback()
            connection.execute(_UNLOCK, {"company": str(company_id)})
            connection.commit()
        except DBAPIError:
            connection.invalidate()  # ending the session frees the lock too

    def _fly(self, connection: Connection, company_id: UUID, seen: int) -> str:
        with self._transaction(connection):
            stored = token_store.read(connection, self._intuit.vault, company_id)
            held = self._connected(company_id, stored)
            if held.version != seen:
                return self._keep(company_id, held)
            if held.marked_for is not None and held.marked_for < self._rest:
                raise NotSent(
                    f"a refresh was cut off {held.marked_for:.0f} s ago; Intuit is asked again when"
                    f" {self._rest:.0f} s have passed"
                )
            oauth = self._oauth(connection, held.tenant)
            ended = _ended(held)
            if ended is None:
                token_store.mark(connection, company_id, held.version, refreshing=True)
        if ended is not None:
            return self._lost(connection, company_id, held, ended)
        if held.refreshing_since is not None:
            _log.warning("refresh_was_cut_off", company=str(company_id), since=str(held.refreshing_since))
        try:
            fresh = oauth.refresh(held.refresh_token)
        except UnknownOutcome:
            raise  # the mark stays: the old token may be dead already
        except AuthFailed as refused:
            return self._lost(connection, company_id, held, _refused(held, refused))
        except QuickBooksError:
            with self._transaction(connection):
                token_store.mark(connection, company_id, held.version, refreshing=False)
            raise
        return self._store(connection, company_id, held, fresh)

    def _oauth(self, connection: Connection, tenant: str) -> OAuth:
        try:
            return self._intuit.oauth(connection, tenant)
        except Refusal as refused:
            raise NotSent(f"the access token cannot be renewed: {refused.sentence}") from refused

    @contextmanager
    def _transaction(self, connection: Connection, tenant: str | None = None) -> Iterator[None]:
        with connection.begin():
            scope(connection, tenant or self._tenant)
            yield

    def _store(self, connection: Connection, company_id: UUID, held: Held, fresh: TokenSet) -> str:
        """Store, whatever the database does meanwhile: until then nobody else knows the new token."""
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((OperationalError, InterfaceError)),
            stop=tenacity.stop_after_delay(STORE_WITHIN),
            wait=tenacity.wait_random_exponential(0.05, max=2),
            reraise=True,
        ):
            with attempt, self._transaction(connection):
                vault = self._intuit.vault
                stored = token_store.renew(connection, vault, company_id, held.version, fresh)
                newest = self._connected(company_id, token_store.read(connection, vault, company_id))
        if not stored:
            _log.warning("refresh_overtaken", company=str(company_id), version=held.version)
        return self._keep(company_id, newest)

    def _lost(self, connection: Connection, company_id: UUID, held: Held, reason: str) -> str:
        """Intuit ended the connection, unless an admin has reconnected it while we asked."""
        with self._transaction(connection, held.tenant):
            companies.lock(connection, company_id)
            stored = token_store.read(connection, self._intuit.vault, company_id)
            newest = self._connected(company_id, stored)
            if newest.version != held.version:
                return self._keep(company_id, newest)
            companies.expire(connection, company_id, reason, self._attention)
        self._hot.pop(company_id, None)
        raise AuthFailed(reason)


def _ended(held: Held) -> str | None:
    if held.over:
        return "Intuit ends every connection after a fixed time, and this one's has come"
    if held.lapsed:
        return "the connection was not used for so long that Intuit let it lapse"
    return None


def _refused(held: Held, refused: AuthFailed) -> str:
    if held.refreshing_since is None or refused.reason != "invalid_grant":
        return str(refused)
    since = held.refreshing_since.strftime("%Y-%m-%d %H:%M UTC")
    return f"{refused}. A refresh was cut off on {since} before Intuit's newer token could be stored"
