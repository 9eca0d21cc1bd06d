"""Documents of ours that somebody changed in QuickBooks: one open row a document, with both versions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import desk
from services.inbound.differences import Difference
from services.quickbooks import body

TYPE = "accounting_sync_drift"

Change = Literal["changed", "voided", "deleted"]

_COLUMNS = """company_id, kind, document_id, tenant_id, change, version, digest, differences, agreed::text,
              observed::text, state, exception_id, detected_at, resolution"""
_GET = text(
    f"""SELECT {_COLUMNS} FROM drift
         WHERE company_id = :company AND kind = :kind AND document_id = :document FOR UPDATE"""  # noqa: S608 - constant columns
)
_PAGE = text(
    f"""SELECT {_COLUMNS} FROM drift
         WHERE tenant_id = :tenant AND state = ANY (CAST(:states AS text[]))
           AND (CAST(:company AS uuid) IS NULL OR company_id = :company)
           AND (kind, document_id, company_id) > (:after_kind, :after_id, CAST(:after_company AS uuid))
         ORDER BY kind, document_id, company_id LIMIT :limit"""  # noqa: S608 - constant columns
)
_PUT = text(
    """INSERT INTO drift (company_id, kind, document_id, tenant_id, change, version, digest, differences, agreed,
                          observed, exception_id)
       VALUES (:company, :kind, :document, :tenant, :change, :version, :digest, CAST(:differences AS jsonb),
               CAST(:agreed AS jsonb), CAST(:observed AS jsonb), :exception)
       ON CONFLICT (company_id, kind, document_id) DO UPDATE SET
          change = excluded.change, version = excluded.version, digest = excluded.digest,
          differences = excluded.differences, agreed = excluded.agreed, observed = excluded.observed,
          exception_id = excluded.exception_id, state = 'open', detected_at = clock_timestamp(), closed_at = NULL,
          resolution = NULL"""
)
_OF_FORMER = text(
    """SELECT kind, document_id FROM drift
        WHERE company_id = :company AND kind = :kind AND state = 'open' AND agreed ->> 'Id' = :id"""
)
_SEEN = text(
    """UPDATE drift SET version = :version, observed = CAST(:observed AS jsonb)
        WHERE company_id = :company AND kind = :kind AND document_id = :document"""
)
_CLOSE = text(
    """UPDATE drift SET state = 'closed', closed_at = clock_timestamp(), resolution = :resolution
        WHERE company_id = :company AND kind = :kind AND document_id = :document AND state = 'open'
       RETURNING tenant_id"""
)


@dataclass(frozen=True, slots=True)
class Drift:
    """`agreed` is what both books had, `observed` what QuickBooks has now (None: deleted), at `version`."""

    company_id: UUID
    kind: str
    document_id: str
    tenant_id: str
    change: Change
    version: int
    digest: str
    differences: list[dict[str, Any]]
    agreed: Mapping[str, Any]
    observed: Mapping[str, Any] | None
    state: Literal["open", "closed"]
    exception_id: UUID | None
    detected_at: datetime
    resolution: str | None


def get(connection: Connection, company_id: UUID, kind: str, document_id: str) -> Drift | None:
    """The last drift of a document, open or closed, locked until the transaction ends."""
    values = {"company": company_id, "kind": kind, "document": document_id}
    row = connection.execute(_GET, values).one_or_none()
    return _from_row(row) if row is not None else None


Place = tuple[str, str, UUID]
"""Kind, document id and company: where a page ends."""

START: Place = ("", "", UUID(int=0))


def page(
    connection: Connection,
    tenant: str,
    *,
    states: Sequence[Literal["open", "closed"]] = ("open",),
    company_id: UUID | None = None,
    after: Place = START,
    limit: int = 100,
) -> list[Drift]:
    """Drift of a tenant by kind and document, from behind `after` on."""
    values = {
        "tenant": tenant,
        "states": list(states),
        "company": company_id,
        "after_kind": after[0],
        "after_id": after[1],
        "after_company": after[2],
        "limit": limit,
    }
    return [_from_row(row) for row in connection.execute(_PAGE, values)]


def put(
    connection: Connection,
    *,
    company_id: UUID,
    kind: str,
    document_id: str,
    tenant: str,
    change: Change,
    version: int,
    digest: str,
    differences: Sequence[Difference],
    agreed: Mapping[str, Any],
    observed: Mapping[str, Any] | None,
    exception_id: UUID,
) -> None:
    """Write an open drift down, in the place of what was there."""
    values = {
        "company": company_id,
        "kind": kind,
        "document": document_id,
        "tenant": tenant,
        "change": change,
        "version": version,
        "digest": digest,
        "differences": json.dumps([asdict(one) for one in differences]),
        "agreed": body.dump(agreed),
        "observed": body.dump(observed) if observed is not None else None,
        "exception": exception_id,
    }
    connection.execute(_PUT, values)


def seen_again(
    connection: Connection, drift: Drift, version: int, observed: Mapping[str, Any] | None
) -> None:
    """The same differences in a newer version."""
    values = {
        "company": drift.company_id,
        "kind": drift.kind,
        "document": drift.document_id,
        "version": version,
        "observed": body.dump(observed) if observed is not None else None,
    }
    connection.execute(_SEEN, values)


def close(
    connection: Connection,
    company_id: UUID,
    kind: str,
    document_id: str,
    resolution: str,
    *,
    actor: str = desk.ACTOR,
) -> bool:
    """Close the open drift of a document and its exception; False when none is open."""
    values = {"company": company_id, "kind": kind, "document": document_id, "resolution": resolution}
    row = connection.execute(_CLOSE, values).one_or_none()
    if row is None:
        return False
    desk.resolve(
        connection, subject(row.tenant_id, company_id, kind, document_id), TYPE, resolution, actor=actor
    )
    return True


def close_former(connection: Connection, company_id: UUID, kind: str, external_id: str) -> bool:
    """Close what is open about an object that no document of ours is linked to any more."""
    values = {"company": company_id, "kind": kind, "id": external_id}
    rows = connection.execute(_OF_FORMER, values).all()
    for row in rows:
        close(connection, company_id, row.kind, row.document_id, "the document was made anew in QuickBooks")
    return bool(rows)


def subject(tenant: str, company_id: UUID, kind: str, document_id: str) -> desk.Subject:
    """Whom the exception of a drift is about."""
    return desk.Subject(tenant=tenant, kind=kind, id=document_id, direction="inbound", company_id=company_id)


def _from_row(row: Any) -> Drift:
    columns = list(row)
    columns[8] = body.load(columns[8])
    columns[9] = body.load(columns[9]) if columns[9] is not None else None
    return Drift(*columns)
