"""What is known around items that differ: steps, exceptions, drift, links, versions seen, what people accepted.

It is asked for the differing items alone, by their subjects, so that a clean book costs nothing here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.connections.companies import Company
from services.inbound.reconcile.items import Item
from services.inbound.reconcile.reading import Target
from services.quickbooks import body

Subject = tuple[str, str]

_SUBJECTS = "unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) AS u (kind, id)"
_STEPS = text(
    f"""SELECT u.kind, u.id, o.operation_id, o.kind AS act, o.state, o.outcome, o.reason_code, o.reason
          FROM {_SUBJECTS}
          JOIN operation o ON o.tenant_id = :tenant AND o.document_kind = u.kind AND o.document_id = u.id
         WHERE o.kind <> 'unsupported' ORDER BY o.created_at DESC, o.operation_id DESC"""  # noqa: S608 - constant
)
_EXCEPTIONS = text(
    f"""SELECT u.kind, u.id, e.exception_id, e.type, e.code, e.state, e.title, e.resolution, e.operation_id
          FROM {_SUBJECTS}
          JOIN exception e ON e.tenant_id = :tenant AND e.entity_kind = u.kind AND e.entity_id = u.id
           AND coalesce(e.company_id, :company) = :company
         WHERE e.state IN ('open', 'in_progress', 'ignored') AND e.code <> 'unsupported_effect'
         ORDER BY e.state = 'ignored', e.created_at DESC"""  # noqa: S608 - constant
)
_DRIFTS = text(
    f"""SELECT d.kind, d.document_id AS id, d.change, d.state, d.observed::text, d.resolution, d.exception_id
          FROM {_SUBJECTS}
          JOIN drift d ON d.company_id = :company AND d.kind = u.kind AND d.document_id = u.id"""  # noqa: S608 - constant
)
_DECIDED = text(
    f"""SELECT DISTINCT ON (u.kind, u.id) u.kind, u.id, t.action, t.details
          FROM {_SUBJECTS}
          JOIN timeline t ON t.tenant_id = :tenant AND t.subject_kind = u.kind AND t.subject_id = u.id
         WHERE t.action IN ('skipped', 'discarded') ORDER BY u.kind, u.id, t.position DESC"""  # noqa: S608 - constant
)
_LINKS = text(
    """SELECT l.external_type, l.external_id, l.kind, l.state, l.sync_token, l.snapshot::text, l.linked_via,
              l.created_at
         FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS u (type, id)
         JOIN link l ON l.company_id = :company AND l.external_type = u.type AND l.external_id = u.id"""
)
_SEEN = text(
    """SELECT o.entity, o.external_id, o.sync_token
         FROM unnest(CAST(:types AS text[]), CAST(:ids AS text[])) AS u (type, id)
         JOIN quickbooks_object o ON o.company_id = :company AND o.entity = u.type AND o.external_id = u.id"""
)
_MAPPED = text(
    """SELECT key, max(updated_at) AS at FROM mapping
        WHERE company_id = :company AND kind IN ('customer', 'billing_profile') AND key = ANY (CAST(:keys AS text[]))
        GROUP BY key"""
)
_ACCEPTED = text(
    """SELECT item_key, digest, actor, reason FROM reconciliation_acceptance
        WHERE company_id = :company AND item_key = ANY (CAST(:keys AS text[]))"""
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a document or a judgement of an object; `outcome` is of the call it may have made."""

    operation_id: UUID
    act: str
    state: str
    outcome: str
    reason_code: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An exception that is open, or that somebody chose to ignore."""

    exception_id: UUID
    type: str
    code: str
    state: str
    title: str
    resolution: str | None
    operation_id: UUID | None

    @property
    def open(self) -> bool:
        """Whether it waits for a person."""
        return self.state != "ignored"


@dataclass(frozen=True, slots=True)
class Drifted:
    """The last drift of a document; `observed` is what QuickBooks had then, None when it was deleted."""

    change: str
    state: str
    observed: Mapping[str, Any] | None
    resolution: str | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """A link, and the object as QuickBooks last returned it to us."""

    kind: str
    state: str
    token: str
    snapshot: Mapping[str, Any]
    via: str
    created_at: datetime


@dataclass(slots=True)
class Circumstances:
    """Everything by subject, or by object."""

    steps: dict[Subject, list[Step]] = field(default_factory=dict)
    troubles: dict[Subject, list[Trouble]] = field(default_factory=dict)
    drifts: dict[Subject, Drifted] = field(default_factory=dict)
    decided: dict[Subject, Mapping[str, Any]] = field(default_factory=dict)
    links: dict[Target, list[Remembered]] = field(default_factory=dict)
    tokens: dict[Target, str | None] = field(default_factory=dict)
    mapped_at: dict[str, datetime] = field(default_factory=dict)
    accepted: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, found: Mapping[Subject, Sequence[Any]], item: Item) -> list[Any]:
        """What belongs to any subject of an item."""
        return [one for subject in item.about for one in found.get(subject, ())]


def load(connection: Connection, company: Company, items: Iterable[Item]) -> Circumstances:
    """Look around the items that differ."""
    differing = list(items)
    found = Circumstances()
    if not differing:
        return found
    subjects = sorted({subject for item in differing for subject in item.about})
    targets = sorted({item.target for item in differing if item.target is not None})
    scope = {"tenant": company.tenant_id, "company": company.company_id}
    named = {**scope, "kinds": [kind for kind, _ in subjects], "ids": [id_ for _, id_ in subjects]}
    objects = {**scope, "types": [type_ for type_, _ in targets], "ids": [id_ for _, id_ in targets]}
    steps, troubles, links = defaultdict(list), defaultdict(list), defaultdict(list)
    for row in connection.execute(_STEPS, named):
        steps[row.kind, row.id].append(Step(*row[2:]))
    for row in connection.execute(_EXCEPTIONS, named):
        troubles[row.kind, row.id].append(Trouble(*row[2:]))
    for row in connection.execute(_DRIFTS, named):
        observed = body.load(row.observed) if row.observed is not None else None
        found.drifts[row.kind, row.id] = Drifted(row.change, row.state, observed, row.resolution)
    for row in connection.execute(_DECIDED, named):
        found.decided[row.kind, row.id] = {"action": row.action, **row.details}
    for row in connection.execute(_LINKS, objects):
        link = Remembered(
            row.kind, row.state, row.sync_token, body.load(row.snapshot), row.linked_via, row.created_at
        )
        links[row.external_type, row.external_id].append(link)
    for row in connection.execute(_SEEN, objects):
        found.tokens[row.entity, row.external_id] = row.sync_token
    keys = sorted({item.client_id for item in differing if item.client_id})
    for row in connection.execute(_MAPPED, {**scope, "keys": keys}):
        found.mapped_at[row.key] = row.at
    for row in connection.execute(_ACCEPTED, {**scope, "keys": [item.key for item in differing]}):
        found.accepted[row.item_key, row.digest] = f"{row.actor}: {row.reason}"
    found.steps, found.troubles, found.links = dict(steps), dict(troubles), dict(links)
    return found
