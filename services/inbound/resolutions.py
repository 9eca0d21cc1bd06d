"""What a person does about a document that was changed, voided or deleted in QuickBooks.

    changed:           re-export (billing's version goes back), or accept (QuickBooks' version is agreed on)
    voided, deleted:   mark void (billing voids it too), or recreate (it is exported anew)
    any:               ignore (the books stay different, and nobody is asked about this difference again)

Each needs a reason and is refused when it does not fit what QuickBooks has now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.exceptions import lifecycle
from services.inbound import drift
from services.inbound.drift import Drift
from services.ledger import links, operations, timeline
from services.ledger.links import Link
from services.ledger.operations import Plan
from services.refusals import Refusal, conflict, invalid, missing

_EXPORTS: Final[Mapping[str, str]] = {"invoice": "export_invoice", "credit_note": "export_credit_memo"}

_DOCUMENT = text(
    """SELECT d.state, d.applied_sequence, d.data IS NOT NULL AS described,
              coalesce((SELECT max(o.repair) FROM operation o
                         WHERE o.tenant_id = d.tenant_id AND o.document_kind = d.kind
                           AND o.document_id = d.document_id AND o.revision = d.applied_sequence), 0) AS repair
         FROM document d WHERE d.tenant_id = :tenant AND d.kind = :kind AND d.document_id = :id FOR UPDATE"""
)
_NEWEST = text(
    """SELECT o.version FROM quickbooks_object o
        WHERE o.company_id = :company AND o.entity = :entity AND o.external_id = :id"""
)


Resolution = Literal["re_export", "accept", "mark_void", "recreate", "ignore"]


def resolve(
    connection: Connection,
    company_id: UUID,
    kind: str,
    document_id: str,
    resolution: Resolution,
    *,
    actor: str,
    reason: str,
) -> UUID | None:
    """Settle a difference by the resolution of that name; returns the operation that does, if one is needed."""
    place = (connection, company_id, kind, document_id)
    match resolution:
        case "re_export":
            return re_export(*place, actor=actor, reason=reason)
        case "recreate":
            return recreate(*place, actor=actor, reason=reason)
        case "accept":
            accept(*place, actor=actor, reason=reason)
        case "mark_void":
            mark_void(*place, actor=actor, reason=reason)
        case "ignore":
            ignore(*place, actor=actor, reason=reason)
    return None


def re_export(
    connection: Connection, company_id: UUID, kind: str, document_id: str, *, actor: str, reason: str
) -> UUID:
    """Put billing's version back into QuickBooks; returns the operation that does. Raises `Refusal`.

    What a bookkeeper changed is overwritten, under the SyncToken of the version that was looked at: one that is
    newer than that is read and judged by the export itself.
    """
    open_ = _open(connection, company_id, kind, document_id, reason)
    if open_.change != "changed":
        raise conflict(
            "not_there",
            f"{kind} {document_id} was {open_.change} in QuickBooks; there is nothing to put it back into: recreate it",
        )
    assert open_.observed is not None
    if any(one["field"] == "deposit" for one in open_.differences):
        raise conflict(
            "deposit",
            f"{kind} {document_id} has a deposit in QuickBooks, which an export cannot take off: do it there, and "
            "receive the money as a payment; or accept it",
        )
    link = _link(connection, open_)
    links.put(connection, replace(link, sync_token=str(open_.observed["SyncToken"])))
    return _export(connection, open_, actor, reason, "re_export")


def recreate(
    connection: Connection, company_id: UUID, kind: str, document_id: str, *, actor: str, reason: str
) -> UUID:
    """Export a document anew that was voided or deleted; returns the operation that does. Raises `Refusal`."""
    open_ = _open(connection, company_id, kind, document_id, reason)
    if open_.change == "changed":
        raise conflict(
            "still_there",
            f"{kind} {document_id} is in QuickBooks; re-export it instead of making a second one",
        )
    return _export(connection, open_, actor, reason, "recreate")


def accept(
    connection: Connection, company_id: UUID, kind: str, document_id: str, *, actor: str, reason: str
) -> None:
    """Agree on what QuickBooks has; billing's document stays as it is. Raises `Refusal`."""
    open_ = _open(connection, company_id, kind, document_id, reason)
    if open_.change != "changed":
        raise conflict(
            "not_there", f"{kind} {document_id} was {open_.change} in QuickBooks; mark it void or recreate it"
        )
    link = _link(connection, open_)
    _check_newest(connection, open_, link)
    assert open_.observed is not None
    seen = dict(open_.observed)
    agreed = replace(
        link,
        snapshot=seen,
        sync_token=str(seen["SyncToken"]),
        total=seen.get("TotalAmt", link.total),
        number=seen.get("DocNumber"),
        state="synced",
    )
    links.put(connection, agreed)
    _close(connection, open_, actor, f"accepted: {reason}", "drift_accepted")


def mark_void(
    connection: Connection, company_id: UUID, kind: str, document_id: str, *, actor: str, reason: str
) -> None:
    """Agree that the document is void in QuickBooks; billing is to void it too. Raises `Refusal`."""
    open_ = _open(connection, company_id, kind, document_id, reason)
    if open_.change == "changed":
        raise conflict(
            "still_there", f"{kind} {document_id} is alive in QuickBooks; void it there or in billing first"
        )
    link = _link(connection, open_)
    links.put(connection, replace(link, state="voided" if open_.change == "voided" else "deleted"))
    _close(connection, open_, actor, f"marked void: {reason}", "drift_marked_void")


def ignore(
    connection: Connection, company_id: UUID, kind: str, document_id: str, *, actor: str, reason: str
) -> None:
    """Let the books differ here. Another difference asks again, and agreeing again ends it. Raises `Refusal`."""
    open_ = _found(connection, company_id, kind, document_id, reason)
    assert open_.exception_id is not None
    lifecycle.ignore(connection, open_.exception_id, reason, actor)


def _open(connection: Connection, company_id: UUID, kind: str, document_id: str, reason: str) -> Drift:
    found = _found(connection, company_id, kind, document_id, reason)
    if kind not in _EXPORTS:
        raise conflict(
            "not_offered", f"a {kind.replace('_', ' ')} is mended in billing or in QuickBooks, not here"
        )
    return found


def _found(connection: Connection, company_id: UUID, kind: str, document_id: str, reason: str) -> Drift:
    if not reason.strip():
        raise invalid("reason", "reason is empty; say in a few words why, it stays in the document's history")
    found = drift.get(connection, company_id, kind, document_id)
    if found is None:
        raise missing(f"{kind} {document_id} was never seen to differ in this QuickBooks company")
    if found.state != "open":
        raise conflict("settled", f"the difference of {kind} {document_id} is settled: {found.resolution}")
    return found


def _link(connection: Connection, open_: Drift) -> Link:
    link = links.of_document(connection, open_.company_id, open_.kind, open_.document_id)
    if link is None:
        raise _unlinked(open_)
    return link


def _check_newest(connection: Connection, open_: Drift, link: Link) -> None:
    """What a person agrees to must be what they were shown."""
    values = {"company": open_.company_id, "entity": link.external_type, "id": link.external_id}
    if connection.execute(_NEWEST, values).scalar() != open_.version:
        raise conflict(
            "changed_again",
            f"{open_.kind} {open_.document_id} was changed in QuickBooks once more; look at it again",
        )


def _export(connection: Connection, open_: Drift, actor: str, reason: str, act: str) -> UUID:
    """A repair of the document's last revision."""
    values = {"tenant": open_.tenant_id, "kind": open_.kind, "id": open_.document_id}
    document = connection.execute(_DOCUMENT, values).one_or_none()
    if document is None or not document.described:
        raise conflict(
            "not_described",
            f"billing never said what is on {open_.kind} {open_.document_id}: emit it once more, or accept QuickBooks'",
        )
    if document.state != "finalized":
        raise conflict(
            "not_finalized",
            f"{open_.kind} {open_.document_id} is {document.state} in billing; mark it void instead",
        )
    plan = Plan(kind=_EXPORTS[open_.kind], queue="export", company_id=open_.company_id)
    operation_id = operations.insert(
        connection,
        open_.tenant_id,
        open_.kind,
        open_.document_id,
        plan,
        revision=document.applied_sequence,
        repair=document.repair + 1,
    )
    assert operation_id is not None  # the repair number is new under the document's lock
    _note(connection, open_, actor, act, {"reason": reason, "operation_id": str(operation_id)})
    return operation_id


def _close(connection: Connection, open_: Drift, actor: str, resolution: str, action: str) -> None:
    drift.close(connection, open_.company_id, open_.kind, open_.document_id, resolution, actor=actor)
    _note(connection, open_, actor, action, {"resolution": resolution})


def _note(connection: Connection, open_: Drift, actor: str, action: str, facts: dict[str, Any]) -> None:
    timeline.append(connection, open_.tenant_id, open_.kind, open_.document_id, actor, action, facts)


def _unlinked(open_: Drift) -> Refusal:
    return conflict("not_linked", f"{open_.kind} {open_.document_id} is not linked to QuickBooks any more")
