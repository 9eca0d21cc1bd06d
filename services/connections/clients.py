"""QuickBooks clients of connected companies: what the ledger's Protocol asks for, made of limiter, tokens, meter.

One per process. All companies share one pool of HTTP connections; a company's realm and environment never change,
so its client is made once.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from services.connections import companies, limiter
from services.connections.companies import Attention
from services.connections.intuit import Intuit
from services.connections.limiter import Limiter
from services.connections.meter import Meter
from services.connections.tokens import Tokens
from services.database import Database
from services.database.engine import ALL_TENANTS
from services.quickbooks.call import Call
from services.quickbooks.client import Client
from services.quickbooks.errors import NotSent
from services.quickbooks.ports import Kind
from services.quickbooks.reply import Reply
from services.quickbooks.transport import pooled_session
from services.refusals import Refusal


@dataclass(frozen=True, slots=True)
class _Reserved:
    """The limiter of a call whose slot was taken together with its intent."""

    inner: Limiter

    def acquire(self, company: str, kind: Kind) -> None:
        """Go: the slot is ours and has come."""

    def pause(self, company: str, seconds: float, reason: str) -> None:
        """Let the company rest, because Intuit answered 429."""
        self.inner.pause(company, seconds, reason)


@dataclass(frozen=True, slots=True)
class _Pair:
    reserved: Client
    waiting: Client


class Clients:
    """`services.ledger.ports.Clients`. Safe to share between threads; `tenant` narrows it to one tenant."""

    def __init__(
        self, database: Database, intuit: Intuit, attention: Attention, tenant: str = ALL_TENANTS
    ) -> None:
        self.tokens = Tokens(database, intuit, attention, tenant)
        self._database = database
        self._intuit = intuit
        self._attention = attention
        self._tenant = tenant
        self._limiter = Limiter(database, tenant)
        self._meter = Meter(database, tenant)
        self._session = pooled_session(intuit.environment)
        self._made: dict[UUID, _Pair] = {}

    def reserve(self, connection: Connection, company_id: UUID, kind: Kind = "call") -> float:
        """Take one limiter slot inside the caller's transaction; seconds from now until it may be used.

        More than `limiter.HORIZON` seconds: no slot was taken, come back then.
        """
        return limiter.reserve(connection, company_id, kind)

    def execute(self, company_id: UUID, call: Call) -> Reply:
        """Make a call whose slot is reserved already. Raises as `quickbooks.Client.execute`."""
        return self._clients(company_id).reserved.execute(call)

    def look(self, company_id: UUID, call: Call) -> Reply:
        """Make a metered read that waits for its own slot. Raises as `quickbooks.Client.execute`."""
        return self._clients(company_id).waiting.execute(call)

    def pause(self, company_id: UUID, seconds: float, reason: str) -> None:
        """Hold all calls of a company, e.g. after a 429."""
        self._limiter.pause(str(company_id), seconds, reason)

    def expired(self, connection: Connection, company_id: UUID, reason: str) -> None:
        """Record that the authorization is gone; the company's work waits for a reconnect."""
        companies.expire(connection, company_id, reason, self._attention)

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _clients(self, company_id: UUID) -> _Pair:
        found = self._made.get(company_id)
        return found if found is not None else self._made.setdefault(company_id, self._make(company_id))

    def _make(self, company_id: UUID) -> _Pair:
        environment = self._intuit.environment
        with self._database.transaction(self._tenant) as connection:
            try:
                company = companies.get(connection, company_id)
            except Refusal as refused:
                raise NotSent(f"{refused.sentence}; nothing was sent") from refused
        if company.environment != environment.name:
            raise NotSent(
                f"{company.label} belongs to Intuit's {company.environment} and this installation talks to"
                f" {environment.name}; nothing was sent"
            )

        def client(gate: Limiter | _Reserved) -> Client:
            return Client(
                company=str(company_id),
                realm=company.realm_id,
                environment=environment,
                tokens=self.tokens,
                limiter=gate,
                meter=self._meter,
                timeouts=self._intuit.timeouts,
                session=self._session,
            )

        return _Pair(client(_Reserved(self._limiter)), client(self._limiter))
