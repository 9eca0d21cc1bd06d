"""A version of an object in QuickBooks on the table: what it is, what we have to do with it, what billing knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections import companies
from services.connections.companies import Company
from services.exceptions import desk
from services.inbound import objects, underway
from services.inbound.objects import Seen
from services.inbound.telling import Teller
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import Operation
from services.ledger.ports import Condition, Hold
from services.mapping import settings
from services.mapping.settings import Settings

# Whoever writes a link at the same time comes before us, and is seen, or after us, and wins.
_LINKS = text(
    """SELECT FROM link WHERE company_id = :company AND external_type = :entity AND external_id = :id
        ORDER BY link_id FOR UPDATE"""
)

LIVE = frozenset({"synced", "drift"})
"""States of a link whose object is in QuickBooks, as far as we know."""


@dataclass(frozen=True)
class Case:
    """One object at its newest version, inside the transaction that judges it."""

    connection: Connection
    operation: Operation
    company: Company
    entity: str
    external_id: str
    seen: Seen
    links: Sequence[Link] = field(default=())

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.operation.tenant_id

    @property
    def company_id(self) -> UUID:
        """The company it is in."""
        return self.company.company_id

    @property
    def note(self) -> str:
        """Its private note."""
        return str((self.seen.raw or {}).get("PrivateNote") or "")

    @property
    def live(self) -> list[Link]:
        """Links of ours to it that are alive."""
        return [link for link in self.links if link.state in LIVE]

    @cached_property
    def tell(self) -> Teller:
        """The voice in which billing hears of it."""
        return Teller(self.connection, self.company, self.operation, self.entity, self.external_id, self.seen)

    @cached_property
    def settings(self) -> Settings:
        """Settings of the company."""
        return settings.resolve(self.connection, self.tenant, company_id=self.company_id)

    @property
    def ours(self) -> bool:
        """Whether this version is what our last write left."""
        return bool(self.live) and all(self.seen.token == link.sync_token for link in self.live)

    @property
    def older(self) -> bool:
        """Whether we have written to it since, be it to void it."""
        return not self.seen.deleted and any(
            objects.compare_tokens(self.seen.token, link.sync_token) < 0 for link in self.links
        )

    @property
    def under_way(self) -> Hold | None:
        """Our own calls on it that have no answer yet: what is seen may be their work."""
        found = underway.touching(self.connection, self.company_id, self.entity, self.external_id, self.note)
        if not found:
            return None
        conditions = [Condition("step", str(operation_id)) for operation_id in found]
        return Hold(conditions, "a call of ours on it has no answer yet")

    def settle(self, operation: Operation, resolution: str) -> None:
        """Close what an operation of ours left open, because what it was to do is done."""
        desk.settle(self.connection, operation, resolution)

    def resolve(self, type_: str, resolution: str) -> None:
        """Close the exception about this object, if one is open."""
        desk.resolve(self.connection, desk.about(self.operation), type_, resolution)


def load(connection: Connection, operation: Operation) -> Case | None:
    """The case of an operation; None when a newer version is judged by another one."""
    assert operation.company_id is not None
    entity, external_id = operation.payload["entity"], operation.payload["id"]
    values = {"company": operation.company_id, "entity": entity, "id": external_id}
    connection.execute(_LINKS, values).all()
    seen = objects.get(connection, operation.company_id, entity, external_id)
    if seen is None or operation.revision < seen.version:
        return None
    return Case(
        connection=connection,
        operation=operation,
        company=companies.get(connection, operation.company_id),
        entity=entity,
        external_id=external_id,
        seen=seen,
        links=links.of_object(connection, operation.company_id, entity, external_id),
    )
