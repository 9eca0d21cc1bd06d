"""Calls of ours whose outcome is not recorded: what they may have made or changed is ours, though no link says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.inbound.sightings import Sighting
from services.quickbooks import body

_UNDERWAY = text(
    """SELECT operation_id, call ->> 'entity' AS entity, call ->> 'operation' AS act, call ->> 'body' AS body
         FROM operation
        WHERE company_id = :company AND outcome IN ('intended', 'unknown') AND finished_at IS NULL
          AND call ->> 'operation' IN ('create', 'update', 'void', 'delete')
        ORDER BY operation_id"""
)


@dataclass(frozen=True, slots=True)
class Underway:
    """A writing call that was made, or was about to be."""

    operation_id: UUID
    entity: str
    wire: Mapping[str, Any]

    def made(self, sighting: Sighting) -> bool:
        """Whether this creation may be what a sighting shows: the private note carries the same marker."""
        return self.entity == sighting.entity and "Id" not in self.wire and self.bears(sighting.note)

    def touches(self, entity: str, external_id: str, note: str) -> bool:
        """Whether it may have changed, or made, this object."""
        if self.entity != entity:
            return False
        return self.wire.get("Id") == external_id if "Id" in self.wire else self.bears(note)

    def bears(self, note: str) -> bool:
        """Whether a private note ends as the one that this call sends: with the marker of its document."""
        ours = str(self.wire.get("PrivateNote") or "").strip().rsplit("\n", 1)[-1]
        return bool(ours) and ours in note


def creations(connection: Connection, company_id: UUID) -> list[Underway]:
    """Creations in a company whose outcome is not recorded."""
    return [one for one in _all(connection, company_id) if "Id" not in one.wire]


def touching(
    connection: Connection, company_id: UUID, entity: str, external_id: str, note: str
) -> list[UUID]:
    """Operations of ours that may have changed or made an object, and do not know yet."""
    found = _all(connection, company_id)
    return [one.operation_id for one in found if one.touches(entity, external_id, note)]


def _all(connection: Connection, company_id: UUID) -> list[Underway]:
    return [
        Underway(row.operation_id, row.entity, body.load(row.body))
        for row in connection.execute(_UNDERWAY, {"company": company_id})
    ]
