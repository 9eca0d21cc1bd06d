"""The badge on a document of the PSA: whether QuickBooks has it as the PSA has it, and where to see it there.

    not_synced  it is not in QuickBooks, and nothing is under way
    queued      something is under way, or waits for a named condition
    synced      QuickBooks has it
    drift       QuickBooks has it otherwise, and a person decides which book is right
    error       an exception about it waits for a person
    voided      it is void, or gone, there

A failed step and an open exception come before everything else, because they need somebody; a step under way comes
before what stands there now. An exception that somebody chose to ignore colours nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.psa.pages import page
from services.refusals import invalid

State = Literal["not_synced", "queued", "synced", "drift", "error", "voided"]
Type = Literal["invoice", "credit_note", "payment", "credit_application"]

LIMIT: Final = 500
"""Documents that one question may name."""

DRIFT: Final = "accounting_sync_drift"
"""Type of the exceptions that say what differs between the books."""

# One statement for all of them. Of several companies the one where it lives counts; of several steps the one that
# failed, then the one that is not finished, then the last; of several exceptions one that is no drift.
_OF = text(
    f"""
    SELECT a.kind, a.id, d.number, d.state AS document_state,
           l.state AS link_state, l.number AS there, l.external_type, l.external_id, l.updated_at AS linked_at,
           coalesce(l.company_id, o.company_id) AS company_id, c.environment, c.realm_id, c.name AS company_name,
           o.state AS step, o.ignored, o.reason_code, o.reason, o.updated_at AS stepped_at,
           e.exception_id, e.type AS exception_type, e.code, e.title, e.last_seen_at
      FROM unnest(CAST(:kinds AS text[]), CAST(:ids AS text[])) WITH ORDINALITY AS a (kind, id, place)
      LEFT JOIN document d ON d.tenant_id = :tenant AND d.kind = a.kind AND d.document_id = a.id
      LEFT JOIN LATERAL (
        SELECT * FROM link x WHERE x.tenant_id = :tenant AND x.kind = a.kind AND x.document_id = a.id
         ORDER BY x.state IN ('synced', 'drift') DESC, x.updated_at DESC LIMIT 1) AS l ON true
      LEFT JOIN LATERAL (
        SELECT x.*, i.ignored FROM operation x
          LEFT JOIN LATERAL (
            SELECT y.state = 'ignored' AS ignored FROM exception y
             WHERE x.state = 'failed' AND y.operation_id = x.operation_id
             ORDER BY y.created_at DESC LIMIT 1) AS i ON true
         WHERE x.tenant_id = :tenant AND x.document_kind = a.kind AND x.document_id = a.id
         ORDER BY x.state = 'failed' AND i.ignored IS NOT TRUE DESC,
                  x.finished_at IS NULL AND x.state <> 'failed' DESC, x.created_at DESC, x.operation_id DESC
         LIMIT 1) AS o ON true
      LEFT JOIN LATERAL (
        SELECT * FROM exception x
         WHERE x.tenant_id = :tenant AND x.entity_kind = a.kind AND x.entity_id = a.id
           AND x.state IN ('open', 'in_progress')
         ORDER BY x.type <> '{DRIFT}' DESC, x.created_at DESC LIMIT 1) AS e ON true
      LEFT JOIN company c ON c.company_id = coalesce(l.company_id, o.company_id)
     ORDER BY a.place"""  # noqa: S608 - a constant of this module
)


@dataclass(frozen=True, slots=True)
class SyncState:
    """One document. `number` is QuickBooks' as far as it has one, else the PSA's; `time` is when the state was
    reached, in UTC; `url` opens the object in QuickBooks. `code` and `reason` say why it is not synced.
    """

    type: str
    id: str
    state: State
    number: str | None
    time: datetime | None
    url: str | None
    quickbooks_type: str | None
    quickbooks_id: str | None
    company_id: UUID | None
    realm_id: str | None
    company_name: str | None
    code: str | None
    reason: str | None
    exception_id: UUID | None


def of(connection: Connection, tenant: str, documents: Sequence[tuple[str, str]]) -> list[SyncState]:
    """The states of up to 500 documents `(type, id)`, in their order, by one statement; unknown ones are not synced.

    Raises `Refusal` for more of them.
    """
    if len(documents) > LIMIT:
        raise invalid("documents", f"at most {LIMIT} documents at once, not {len(documents)}; ask in parts")
    values = {
        "tenant": tenant,
        "kinds": [kind for kind, _ in documents],
        "ids": [id_ for _, id_ in documents],
    }
    return [_told(row) for row in connection.execute(_OF, values)]


def _told(row: Any) -> SyncState:
    state = judge(row)
    needs_somebody = state in {"error", "drift"}
    failed = row.step == "failed" and not row.ignored
    if needs_somebody and row.exception_id is not None:
        code, reason, time = row.code, row.title, row.last_seen_at
    elif state == "queued" or (state == "error" and failed) or row.link_state is None:
        code, reason, time = row.reason_code, row.reason, row.stepped_at
    else:
        code, reason, time = None, None, row.linked_at
    linked = row.link_state is not None
    return SyncState(
        type=row.kind,
        id=row.id,
        state=state,
        number=(row.there if linked else None) or row.number,
        time=time,
        url=page(row.environment, row.external_type, row.external_id) if linked else None,
        quickbooks_type=row.external_type,
        quickbooks_id=row.external_id,
        company_id=row.company_id,
        realm_id=row.realm_id,
        company_name=row.company_name,
        code=code,
        reason=reason,
        exception_id=row.exception_id if needs_somebody else None,
    )


def judge(row: Any) -> State:
    """The state that document, link, step and exception make together. Pure."""
    open_ = row.exception_id is not None
    if row.step == "failed" and not row.ignored:
        return "error"
    if row.step in {"queued", "running", "waiting", "scheduled"}:
        return "queued"
    if open_:
        return "drift" if row.exception_type == DRIFT else "error"
    if row.link_state is None:
        return "voided" if row.document_state == "voided" else "not_synced"
    if row.link_state in {"synced", "drift"}:
        return "synced" if row.link_state == "synced" else "drift"
    return "voided"
