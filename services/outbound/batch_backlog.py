"""Putting a backlog into batches: what is due of a company that wants that, and was never sent, 25 at a time.

The documents of a batch wait for it as for any step (`step:<batch>`), so that its end, whatever it is, lets go whom it
did not settle. A document is put into a batch once in its life; after that it goes by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Connection, text

from services.connections import limiter
from services.ledger import operations
from services.ledger.operations import Lane, Plan
from services.mapping import settings

KIND: Final = "export_batch"
DOCUMENT: Final = "batch"
MEMBERS: Final = ("export_invoice", "export_credit_memo")
"""Kinds of operations that may go together: creating such a document refers to no other of ours."""

FEWEST: Final = 2
"""Documents for which a batch is worth its reads."""

MOST: Final = 1000
"""Documents of a company that are put into batches at a time."""

_WANTED = text(
    """SELECT DISTINCT c.tenant_id, c.company_id FROM setting s
         JOIN company c ON c.tenant_id = s.tenant_id AND c.state = 'active'
          AND s.scope IN ('tenant', 'company:' || c.company_id)
        WHERE s.name = 'export_batch_size' AND s.value <> '0' ORDER BY c.company_id"""
)
_DUE = text(
    """SELECT operation_id, lane, document_kind, document_id FROM operation
        WHERE company_id = :company AND state IN ('queued', 'scheduled') AND lane IN (1, 2)
          AND due_at <= clock_timestamp() AND kind = ANY (CAST(:kinds AS text[])) AND outcome = 'none'
          AND attempt = 1 AND dispatched_at IS NULL AND requestid IS NULL AND payload -> 'batch' IS NULL
        ORDER BY lane, due_at LIMIT :limit FOR UPDATE SKIP LOCKED"""
)
# Each comes due when Intuit's limit of batches leaves room for it, so that it holds up neither a worker nor a call.
_SPACED = text(
    """UPDATE operation SET due_at = greatest(clock_timestamp(), (
              SELECT max(b.due_at) + make_interval(secs => :apart) FROM operation b
               WHERE b.company_id = :company AND b.lane IN (1, 2) AND b.state IN ('queued', 'scheduled')
                 AND b.due_at > clock_timestamp() - make_interval(secs => :apart)
                 AND b.kind = :kind AND b.outcome = 'none' AND b.operation_id <> :batch))
        WHERE operation_id = :batch"""
)
_JOIN = text(
    """WITH joined AS (
         UPDATE operation SET state = 'waiting', reason_code = 'batch', updated_at = clock_timestamp(),
                reason = 'goes to QuickBooks in one call with others',
                payload = payload || jsonb_build_object('batch', CAST(:batch AS text))
          WHERE operation_id = ANY (CAST(:ids AS uuid[])) RETURNING operation_id, tenant_id)
       INSERT INTO wait (operation_id, tenant_id, condition, key)
       SELECT operation_id, tenant_id, 'step', CAST(:batch AS text) FROM joined"""
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Due:
    operation_id: UUID
    lane: int
    document_kind: str
    document_id: str


def gather(connection: Connection) -> int:
    """Make batches for every company that wants them and has enough to do; returns how many.

    `connection` works across tenants, in one transaction. Where nobody wants batches it is one small query.
    """
    made = 0
    for tenant, company_id in connection.execute(_WANTED).all():
        wanted = settings.resolve(connection, tenant, company_id=company_id)
        values = {"company": company_id, "kinds": list(MEMBERS), "limit": MOST}
        due = [_Due(*row) for row in connection.execute(_DUE, values)] if wanted.export_batch_size else []
        if not due or len(due) < wanted.export_batch_size:
            continue
        apart = limiter.interval(limiter.BATCHES) / wanted.limiter_share
        for first in range(0, len(due), wanted.export_batch_size):
            some = due[first : first + wanted.export_batch_size]
            if len(some) >= FEWEST:
                _open(connection, tenant, company_id, some, apart)
                made += 1
        log.info("backlog_batched", tenant=tenant, company=str(company_id), documents=len(due))
    return made


def _open(
    connection: Connection, tenant: str, company_id: UUID, members: Sequence[_Due], apart: float
) -> None:
    ids = [str(one.operation_id) for one in members]
    plan = Plan(
        kind=KIND,
        queue="export",
        company_id=company_id,
        lane=list(Lane)[min(one.lane for one in members)],
        payload={"members": ids, "involves": [[one.document_kind, one.document_id] for one in members]},
    )
    batch = operations.insert(connection, tenant, DOCUMENT, str(uuid4()), plan, revision=1)
    connection.execute(_SPACED, {"batch": batch, "company": company_id, "kind": KIND, "apart": apart})
    connection.execute(_JOIN, {"batch": str(batch), "ids": ids})
