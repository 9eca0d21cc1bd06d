"""What commands about mappings and settings work with: the company meant, and its lists read live when needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from uuid import UUID

    from sqlalchemy import Connection

    from services.connections.clients import Clients
    from services.database import Database
    from services.onboarding.assigning import Wanted


@dataclass(frozen=True, slots=True)
class Lists:
    """A company's lists at hand."""

    database: Database
    tenant: str
    company_id: UUID

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction of the tenant."""
        return self.database.transaction(self.tenant)

    def clients(self) -> closing[Clients]:
        """Calls to QuickBooks, closed at the end."""
        from services.cli import wiring
        from services.configuration import configuration
        from services.connections import clients
        from services.exceptions.attention import ConnectionAttention

        intuit = wiring.intuit(configuration())
        return closing(clients.Clients(self.database, intuit, ConnectionAttention(), self.tenant))

    def have(self, wanted: Iterable[Wanted], *, refresh: bool = False) -> str:
        """Have what `wanted` choose from at hand; returns "" or why QuickBooks could not be asked."""
        from services.onboarding import assigning

        return assigning.read_lists(
            self.database, self.clients, self.tenant, self.company_id, wanted, refresh=refresh
        )


@contextmanager
def of_company(tenant: str, company: str | None) -> Iterator[Lists]:
    """The lists of the company that an operator means."""
    from services.cli import wiring

    with wiring.fleet_database() as database:
        with database.transaction(tenant) as connection:
            company_id = wiring.chosen_company(connection, tenant, company).company_id
        yield Lists(database, tenant, company_id)
