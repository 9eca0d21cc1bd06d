"""Runs of the wizard: one open at a time a company, resumable, with progress, and an undo.

Nothing but the reading is kept for itself: matches are computed from what was read and what is mapped and linked
by now, so a run can be left and taken up at any point, and run again after it was finished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils
from sqlalchemy import Connection, text

from services.ledger import timeline
from services.refusals import conflict, missing


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the wizard: `open`, `finished` or `undone`."""

    run_id: UUID
    tenant_id: str
    company_id: UUID
    state: str
    started_by: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How far the reading of one entity is: rows taken of those expected, and what it cost in pages."""

    entity: str
    expected: int
    taken: int
    pages: int
    full_pages: int
    done: bool


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a run did."""

    action_id: int
    action: str
    kind: str
    key: str
    variant: str
    external_id: str
    facts: dict[str, Any]
    state: str
    actor: str
    at: datetime


_COLUMNS = "run_id, tenant_id, company_id, state, started_by, started_at, ended_at"
_START = text(
    f"""INSERT INTO onboarding_run (run_id, tenant_id, company_id, state, started_by)
        SELECT :run, :tenant, c.company_id, 'open', :actor FROM company c
         WHERE c.tenant_id = :tenant AND c.company_id = :company
        ON CONFLICT (company_id) WHERE state = 'open' DO NOTHING RETURNING {_COLUMNS}"""  # noqa: S608 - constant columns
)
_OPEN = text(
    f"SELECT {_COLUMNS} FROM onboarding_run WHERE tenant_id = :tenant AND company_id = :company AND state = 'open'"  # noqa: S608 - constant columns
)
_GET = text(f"SELECT {_COLUMNS} FROM onboarding_run WHERE run_id = :run FOR UPDATE")  # noqa: S608 - constant columns
_LIST = text(
    f"""SELECT {_COLUMNS} FROM onboarding_run WHERE tenant_id = :tenant AND company_id = :company
         ORDER BY started_at DESC"""  # noqa: S608 - constant columns
)
_END = text(
    "UPDATE onboarding_run SET state = :state, ended_at = clock_timestamp() WHERE run_id = :run AND state = :was"
)
_FORGET = (
    text("DELETE FROM onboarding_object WHERE run_id = :run"),
    text("DELETE FROM onboarding_reading WHERE run_id = :run"),
)
_READINGS = text(
    """SELECT entity, expected, taken, pages, full_pages, done FROM onboarding_reading
        WHERE run_id = :run ORDER BY entity"""
)
_RECORD = text(
    """INSERT INTO onboarding_action (run_id, tenant_id, action, kind, key, variant, external_id, facts, state, actor)
       VALUES (:run, :tenant, :action, :kind, :key, :variant, :external_id, CAST(:facts AS jsonb), :state, :actor)
       RETURNING action_id"""
)
_ACTIONS = text(
    """SELECT action_id, action, kind, key, variant, external_id, facts, state, actor, at FROM onboarding_action
        WHERE run_id = :run ORDER BY action_id"""
)
_COUNTS = text(
    "SELECT action, kind, state, count(*) FROM onboarding_action WHERE run_id = :run GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
)
_MARK = text("UPDATE onboarding_action SET state = :state WHERE action_id = ANY (CAST(:ids AS bigint[]))")


def start(connection: Connection, tenant: str, company_id: UUID, actor: str) -> Run:
    """Take the company's open run up, or open one. Raises `Refusal` when the tenant has no such company."""
    values = {"run": UUID(str(uuid_utils.uuid7())), "tenant": tenant, "company": company_id, "actor": actor}
    row = connection.execute(_START, values).one_or_none()
    if row is not None:
        _note(connection, Run(*row), actor, "onboarding_started", {})
        return Run(*row)
    found = connection.execute(_OPEN, values).one_or_none()
    if found is None:
        raise missing(f"there is no QuickBooks company {company_id} in this tenant", code="unknown_company")
    return Run(*found)


def get(connection: Connection, run_id: UUID) -> Run:
    """A run, locked against another undo or finish of it. Raises `Refusal` when there is none."""
    row = connection.execute(_GET, {"run": run_id}).one_or_none()
    if row is None:
        raise missing(
            f"there is no run {run_id} of the wizard in this tenant", code="unknown_run", field="run"
        )
    return Run(*row)


def opened(connection: Connection, run_id: UUID) -> Run:
    """A run that is open; a `Refusal` says what else it is."""
    run = get(connection, run_id)
    if run.state != "open":
        raise conflict("run_ended", f"run {run_id} is {run.state}; start another one", field="run")
    return run


def listed(connection: Connection, tenant: str, company_id: UUID) -> list[Run]:
    """The runs of a company, newest first."""
    return [Run(*row) for row in connection.execute(_LIST, {"tenant": tenant, "company": company_id})]


def readings(connection: Connection, run_id: UUID) -> dict[str, Reading]:
    """How far the reading is, by entity."""
    return {row.entity: Reading(*row) for row in connection.execute(_READINGS, {"run": run_id})}


def refresh(connection: Connection, run_id: UUID) -> Run:
    """Forget what was read, so that it is read again: for what was entered in QuickBooks since."""
    run = opened(connection, run_id)
    for forget in _FORGET:
        connection.execute(forget, {"run": run_id})
    return run


def finish(connection: Connection, run_id: UUID, actor: str) -> Run:
    """End a run; what was read for it is forgotten, what it did is kept."""
    run = opened(connection, run_id)
    did = summary(connection, run_id)
    _end(connection, run, "finished", actor, did)
    return get(connection, run_id)


def ended_as_undone(connection: Connection, run: Run, actor: str, facts: dict[str, Any]) -> None:
    """Record that a run was undone."""
    _end(connection, run, "undone", actor, facts)


def record(
    connection: Connection,
    run: Run,
    action: str,
    kind: str,
    key: str,
    *,
    actor: str,
    variant: str = "",
    external_id: str = "",
    facts: dict[str, Any] | None = None,
    state: str = "done",
) -> int:
    """Write down what a run does, in the transaction that does it."""
    action_id: int = connection.execute(
        _RECORD,
        {
            "run": run.run_id,
            "tenant": run.tenant_id,
            "action": action,
            "kind": kind,
            "key": key,
            "variant": variant,
            "external_id": external_id,
            "facts": json.dumps(facts or {}, default=str),
            "state": state,
            "actor": actor,
        },
    ).scalar_one()
    return action_id


def actions(connection: Connection, run_id: UUID) -> list[Action]:
    """What a run did, in order."""
    return [Action(*row) for row in connection.execute(_ACTIONS, {"run": run_id})]


def mark(connection: Connection, action_ids: list[int], state: str) -> None:
    """Move actions on, e.g. from `done` to `undone`."""
    connection.execute(_MARK, {"ids": action_ids, "state": state})


def summary(connection: Connection, run_id: UUID) -> dict[str, int]:
    """How much a run did, e.g. `{"linked invoice": 812}`; what is undone, kept or only intended says so."""
    return {
        f"{row[0]} {row[1]}" + ("" if row[2] == "done" else f" ({row[2]})"): row[3]
        for row in connection.execute(_COUNTS, {"run": run_id})
    }


def _end(connection: Connection, run: Run, state: str, actor: str, facts: dict[str, Any]) -> None:
    connection.execute(_END, {"run": run.run_id, "state": state, "was": run.state})
    for forget in _FORGET:
        connection.execute(forget, {"run": run.run_id})
    _note(connection, run, actor, f"onboarding_{state}", facts)


def _note(connection: Connection, run: Run, actor: str, action: str, facts: dict[str, Any]) -> None:
    details = {"run_id": str(run.run_id), **facts}
    timeline.append(connection, run.tenant_id, "company", str(run.company_id), actor, action, details)
