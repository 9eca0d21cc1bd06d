"""Going live: the cutover, what has waited for it, what the first sync would do, and the switch.

The cutover judges invoices and credit notes by the document's own date. Work that waits is exported from then on or
marked as handled; nothing is decided by leaving it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from sqlalchemy import Connection, text

from services.ledger.attempts import finish
from services.ledger.operations import COLUMNS, Operation, State, from_row
from services.ledger.ports import Fail, Handler, Hold, Move, Send, Skip
from services.mapping import settings
from services.mapping.settings import TENANT, of_company
from services.onboarding import runs
from services.onboarding.runs import Run
from services.refusals import invalid

Decision = Literal["export", "handled"]

_HELD = """o.tenant_id = :tenant AND o.company_id = :company AND o.outcome = 'none'
           AND o.kind IN ('export_invoice', 'export_credit_memo') AND o.state IN ('waiting', 'queued', 'scheduled')"""
_WAITING = text(
    f"""SELECT d.currency, d.document_date < CAST(:cutover AS date) AS before, o.kind, count(*) AS documents,
               sum(d.total) AS total, min(d.document_date) AS oldest, max(d.document_date) AS newest
          FROM operation o JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind
               AND d.document_id = o.document_id
         WHERE {_HELD} GROUP BY 1, 2, 3 ORDER BY 2, 3, 1"""  # noqa: S608 - constant fragments
)
_OPERATIONS = text(
    f"""SELECT {COLUMNS}, d.number, d.document_date, d.total, d.currency, d.client_name
          FROM operation o JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind
               AND d.document_id = o.document_id
         WHERE {_HELD} AND (CAST(:after AS uuid) IS NULL OR o.operation_id > :after)
         ORDER BY o.operation_id LIMIT :limit"""  # noqa: S608 - constant fragments
)
_LOCKED = text(
    f"SELECT {COLUMNS} FROM operation o WHERE {_HELD} AND o.created_at <= :until ORDER BY o.operation_id FOR UPDATE"  # noqa: S608 - constant fragments
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Documents that wait: how many, and their sum in minor units of one currency."""

    currency: str
    before_cutover: bool
    kind: str  # of the operation: export_invoice, export_credit_memo
    documents: int
    total: int
    oldest: date
    newest: date


@dataclass(frozen=True, slots=True)
class Step:
    """What the first sync would do with one document: `export`, `skip`, `wait` or `ask` a person, and why."""

    operation_id: UUID
    document_kind: str
    document_id: str
    number: str
    day: date
    total: int
    currency: str
    client: str
    would: Literal["export", "skip", "wait", "ask"]
    code: str
    why: str


def waiting(connection: Connection, run: Run, cutover: date) -> list[Waiting]:
    """What waits for the switch, by side of the cutover, kind and currency: count and sum."""
    values = {"tenant": run.tenant_id, "company": run.company_id, "cutover": cutover}
    return [
        Waiting(r.currency, r.before, r.kind, r.documents, int(r.total), r.oldest, r.newest)
        for r in connection.execute(_WAITING, values)
    ]


def dry_run(
    connection: Connection,
    run: Run,
    handlers: Mapping[str, Handler],
    cutover: date,
    *,
    after: UUID | None = None,
    limit: int = 500,
) -> list[Step]:
    """What the first sync would do with what waits, decided by the code that will do it. Changes nothing.

    Handlers are asked inside a savepoint in which the cutover holds; it is rolled back.
    """
    values = {"tenant": run.tenant_id, "company": run.company_id, "after": after, "limit": limit}
    steps: list[Step] = []
    savepoint = connection.begin_nested()
    try:
        scope = of_company(run.company_id)
        settings.put(connection, run.tenant_id, scope, "cutover_date", cutover.isoformat(), actor="dry run")
        for row in connection.execute(_OPERATIONS, values).all():
            operation = from_row(row)
            would, code, why = _judged(connection, handlers[operation.kind], operation)
            steps.append(
                Step(
                    operation.operation_id,
                    operation.document_kind,
                    operation.document_id,
                    row.number or "",
                    row.document_date,
                    row.total,
                    row.currency,
                    row.client_name or "",
                    would,
                    code,
                    why,
                )
            )
    finally:
        savepoint.rollback()
    return steps


def count(steps: list[Step]) -> dict[str, int]:
    """How many documents would meet which end, reasons of skips and questions by code."""
    found = Counter[str](step.would for step in steps)
    found.update(f"{step.would}: {step.code}" for step in steps if step.code)
    return dict(sorted(found.items()))


def switch_on(
    connection: Connection,
    run: Run,
    *,
    cutover: date,
    decision: Decision,
    actor: str,
    auto_sync: bool = True,
) -> dict[str, int]:
    """Set the cutover, settle what waits as decided, switch automatic sync on, and finish the run.

    One transaction: either all of it holds or nothing. `auto_sync` False leaves the switch off.
    """
    if decision not in ("export", "handled"):
        raise invalid("waiting", f"say what happens to what waits: export or handled, not {decision!r}")
    runs.opened(connection, run.run_id)
    _set(connection, run, "company", "cutover_date", cutover.isoformat(), actor)
    handled = _handle(connection, run, actor) if decision == "handled" else 0
    if auto_sync:
        _set(connection, run, "tenant", "auto_sync", True, actor)
    runs.finish(connection, run.run_id, actor)
    return {"handled": handled}


def _handle(connection: Connection, run: Run, actor: str) -> int:
    now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    values = {"tenant": run.tenant_id, "company": run.company_id, "until": now}
    held = [from_row(row) for row in connection.execute(_LOCKED, values)]
    if held:
        because = "marked as handled at go-live: it was entered in QuickBooks by hand"
        finish(connection, held, State.SKIPPED, "handled", because, actor)
    for operation in held:
        facts = {"operation_id": str(operation.operation_id)}
        kind, id_ = operation.document_kind, operation.document_id
        runs.record(connection, run, "handled", kind, id_, facts=facts, actor=actor)
    return len(held)


def _set(connection: Connection, run: Run, level: str, name: str, value: object, actor: str) -> None:
    scope = TENANT if level == "tenant" else of_company(run.company_id)
    before = {row.name: row.value for row in settings.listed(connection, run.tenant_id, scope)}
    settings.put(connection, run.tenant_id, scope, name, value, actor=actor)
    facts = {"set": name in before, "before": before.get(name), "after": value}
    runs.record(connection, run, "set", "setting", name, variant=level, facts=facts, actor=actor)


def _judged(
    connection: Connection, handler: Handler, operation: Operation
) -> tuple[Literal["export", "skip", "wait", "ask"], str, str]:
    prepared = handler.prepare(connection, operation, "dry-run")
    if isinstance(prepared, Skip):
        return "skip", prepared.code, prepared.reason
    if isinstance(prepared, Fail):
        return "ask", prepared.problem.code, prepared.problem.happened
    if isinstance(prepared, Hold):
        return "wait", prepared.conditions[0].condition, prepared.reason
    if isinstance(prepared, Move):
        return "wait", "other_company", prepared.reason
    if isinstance(prepared, Send):
        return "export", "", prepared.call.label
    return "skip", "nothing_to_send", "QuickBooks has it like that already"
