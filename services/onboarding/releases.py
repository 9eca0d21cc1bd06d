"""A mapping or setting is mended: what failed for the lack of it starts its next attempt, in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import causes, replays
from services.mapping.mappings import Kind

# A line's item comes from the discount item, its service or its category, and what fails names the first of them;
# mapping one of the others mends it as well.
_OTHER_WAY = text(
    """SELECT DISTINCT o.operation_id, e.cause FROM exception e JOIN operation o USING (operation_id)
         JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind AND d.document_id = o.document_id
        WHERE e.tenant_id = :tenant AND e.state IN ('open', 'in_progress') AND o.state = 'failed'
          AND o.company_id = :company AND e.cause <> :cause
          AND e.code IN ('missing_service_mapping', 'missing_discount_item_mapping')
          AND d.data -> 'lines' @> jsonb_build_array(jsonb_build_object(CAST(:field AS text), CAST(:key AS text)))
        ORDER BY o.operation_id"""
)
MANY = 100
"""Operations that are started one by one within the transaction of the mapping."""

_FIELDS = {Kind.ITEM: "service_id", Kind.ITEM_CATEGORY: "category_id"}


@dataclass
class Releases:
    """A hook for `mappings.put` that starts again what failed; `operations` are those it started."""

    actor: str
    reason: str = "what it lacked was mapped"
    operations: list[UUID] = field(default_factory=list)

    def __call__(self, connection: Connection, tenant: str, cause: str) -> None:
        """A mapping was set: its cause is `mapping:<kind>:<company>:<key>`."""
        self.operations += causes.release(connection, tenant, cause, self.actor, self.reason)
        _, kind, company, key = cause.split(":", 3)
        if kind not in _FIELDS:
            return
        values = {
            "tenant": tenant,
            "company": company,
            "cause": cause,  # its own are on their way, perhaps by the fleet
            "field": _FIELDS[Kind(kind)],
            "key": key,
        }
        found = connection.execute(_OTHER_WAY, values).all()
        if len(found) > MANY:  # by their causes, which the fleet works off
            for other in sorted({row.cause for row in found}):
                self.operations += causes.release(connection, tenant, other, self.actor, self.reason)
            return
        for row in found:
            again = replays.again(connection, row.operation_id, self.actor, self.reason)
            self.operations.append(again.operation_id)
