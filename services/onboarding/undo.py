"""Undoing a run: its links and settings go back to what they were, unless somebody has built on them since.

Nothing is undone in QuickBooks: a customer that was created stays, and the answer names it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger import timeline
from services.mapping import mappings, settings
from services.mapping.mappings import Hook, Kind
from services.mapping.settings import TENANT, of_company
from services.onboarding import runs
from services.onboarding.runs import Action, Run
from services.refusals import conflict

_UNLINK = text(
    """DELETE FROM link l WHERE l.company_id = :company AND l.kind = :kind AND l.document_id = :id
          AND l.external_id = :external_id AND l.linked_via = 'onboarding'
          AND NOT EXISTS (SELECT FROM operation o WHERE o.tenant_id = l.tenant_id AND o.document_kind = l.kind
                             AND o.document_id = l.document_id AND o.company_id = l.company_id
                             AND (o.outcome IN ('intended', 'unknown', 'answered') OR o.state = 'running'))"""
)
_KINDS = {"client": Kind.CUSTOMER, "billing_profile": Kind.BILLING_PROFILE, "service": Kind.ITEM}


@dataclass(frozen=True, slots=True)
class Undone:
    """What went back, counted by what it was, and what stays, each with the reason."""

    undone: dict[str, int]
    kept: list[str]


def undo(connection: Connection, run_id: UUID, *, actor: str, on_mapping_set: Hook) -> Undone:
    """Take back what a run did, last first, in one transaction. Raises `Refusal` when it was undone before."""
    run = runs.get(connection, run_id)
    if run.state == "undone":
        raise conflict("run_undone", f"run {run_id} was undone before", field="run")
    back, undone, kept = Counter[str](), list[int](), list[int]()
    stays: list[str] = []
    for action in reversed(runs.actions(connection, run_id)):
        if action.state not in {"done", "intended"}:
            continue
        why = _undo(connection, run, action, actor, on_mapping_set)
        if why:
            stays.append(why)
            kept.append(action.action_id)
        else:
            back[f"{action.action} {action.kind}"] += 1
            undone.append(action.action_id)
    runs.mark(connection, undone, "undone")
    runs.mark(connection, kept, "kept")
    runs.ended_as_undone(connection, run, actor, {"undone": dict(back), "kept": len(stays)})
    return Undone(dict(back), stays)


def _undo(connection: Connection, run: Run, action: Action, actor: str, on_mapping_set: Hook) -> str:
    """Take one action back; returns why it stays, "" when it is gone."""
    if action.action == "linked":
        return _unlink(connection, run, action, actor)
    if action.action == "mapped":
        return _unmap(connection, run, action, actor, on_mapping_set)
    if action.action == "set":
        return _reset(connection, run, action, actor)
    if action.action == "handled":
        return f"{action.kind} {action.key} stays marked as handled; correct it in the PSA to export it after all"
    if action.action == "payments":
        return (
            "payments that were brought over stay: billing was told of them; void them there or in QuickBooks"
        )
    if action.state == "intended":
        name = action.facts["body"]["DisplayName"]
        return f"whether customer {name} was created in QuickBooks is not known; look there before creating it again"
    return f"customer {action.external_id}, created for {action.key}, stays in QuickBooks; make it inactive there"


def _unlink(connection: Connection, run: Run, action: Action, actor: str) -> str:
    values = {
        "company": run.company_id,
        "kind": action.kind,
        "id": action.key,
        "external_id": action.external_id,
    }
    if not connection.execute(_UNLINK, values).rowcount:
        return f"the link of {action.kind} {action.key} stays: it was used or changed since"
    facts = {"external_id": action.external_id, "run": str(run.run_id)}
    timeline.append(connection, run.tenant_id, action.kind, action.key, actor, "unlinked", facts)
    return ""


def _unmap(connection: Connection, run: Run, action: Action, actor: str, on_mapping_set: Hook) -> str:
    at = (str(_KINDS[action.kind]), action.key, action.variant)
    now = mappings.lookup(connection, run.company_id, [at]).get(at)
    if now is None or now.external_id != action.external_id:
        return f"what {action.kind} {action.key} is in QuickBooks stays: somebody changed it since"
    before: dict[str, Any] | None = action.facts["before"]
    if before is None:
        mappings.delete(connection, run.tenant_id, run.company_id, at, actor=actor)
    else:
        mappings.put(
            connection,
            run.tenant_id,
            run.company_id,
            at,
            external_id=before["external_id"],
            external_name=before["external_name"],
            actor=actor,
            on_mapping_set=on_mapping_set,
        )
    return ""


def _reset(connection: Connection, run: Run, action: Action, actor: str) -> str:
    scope = TENANT if action.variant == "tenant" else of_company(run.company_id)
    now = {row.name: row.value for row in settings.listed(connection, run.tenant_id, scope)}
    if now.get(action.key) != action.facts["after"]:
        return f"the setting {action.key} stays: somebody changed it since"
    if action.facts["set"]:
        settings.put(connection, run.tenant_id, scope, action.key, action.facts["before"], actor=actor)
    else:
        settings.reset(connection, run.tenant_id, scope, action.key, actor=actor)
    return ""
