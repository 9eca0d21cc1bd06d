"""Connections on the exception list: one open exception a company, closed by the reconnect."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from sqlalchemy import Connection

from services.exceptions import desk
from services.ledger.ports import Problem

CONNECTION_EXPIRED = "accounting_connection_expired"


class Connected(Protocol):
    """A QuickBooks company, as far as its exception needs to know it."""

    @property
    def company_id(self) -> UUID:
        """Our id of it."""

    @property
    def tenant_id(self) -> str:
        """Whose it is."""


class ConnectionAttention:
    """`services.connections.companies.Attention`: the exception list as the connection sees it."""

    def needed(self, connection: Connection, company: Connected, problem: Problem) -> None:
        """Open the exception of this company, or count a repeat of the open one."""
        desk.report(connection, _about(company), problem)

    def settled(self, connection: Connection, company: Connected, resolution: str) -> None:
        """Close what is open for this company's connection."""
        desk.resolve(connection, _about(company), CONNECTION_EXPIRED, resolution)


def _about(company: Connected) -> desk.Subject:
    return desk.Subject(
        tenant=company.tenant_id,
        kind="connection",
        id=str(company.company_id),
        direction="connection",
        company_id=company.company_id,
    )
