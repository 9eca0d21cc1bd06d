"""Going live: the cutover, what has waited for it, what the first sync would do, and the switch.

The cutover judges invoices and credit notes by the document's own date. Work that waits is exported from then on or
marked as handled; nothing is decided by leaving it alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from sqlalchemy import Connection, text

from services.database import Database
from services.ledger import documents
from services.ledger.attempts import finish
from services.ledger.operations import COLUMNS, State, from_row
from services.ledger.ports import Handler
from services.mapping import settings
from services.mapping.settings import TENANT, of_company
from services.onboarding import payments, plan, runs
from services.onboarding.plan import Step
from services.onboarding.runs import Run
from services.refusals import conflict, invalid

Decision = Literal["export", "handled"]

BATCH = 200
"""Operations ended in one transaction; each holds a few of PostgreSQL's locks until its end."""

# Voids and whatever else follows its document at once do not wait for the switch, so they are not asked about.
_HELD = """o.tenant_id = :tenant AND o.company_id = :company AND o.outcome = 'none'
           AND o.kind = ANY (CAST(:kinds AS text[])) AND o.state IN ('waiting', 'queued', 'scheduled')"""
_WAITING = text(
    f"""SELECT coalesce(d.currency, '') AS currency, o.document_kind AS kind,
               d.kind IN ('invoice', 'credit_note') AND d.document_date < CAST(:cutover AS date) AS before,
               count(*) AS documents, coalesce(sum(d.total), 0) AS total,
               min(d.document_date) AS oldest, max(d.document_date) AS newest
          FROM operation o JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind
               AND d.document_id = o.document_id
         WHERE {_HELD} GROUP BY 1, 2, 3 ORDER BY 3, 2, 1"""  # noqa: S608 - constant fragments
)
_NEXT = text(
    f"""SELECT o.operation_id, o.document_kind, o.document_id FROM operation o
         WHERE {_HELD} AND o.created_at <= :until ORDER BY o.operation_id LIMIT :limit"""  # noqa: S608 - constant fragments
)
_LOCKED = text(
    f"""SELECT {COLUMNS} FROM operation o WHERE {_HELD} AND o.operation_id = ANY (CAST(:ids AS uuid[]))
         ORDER BY o.operation_id FOR UPDATE"""  # noqa: S608 - constant fragments
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Documents that wait: how many, and their sum in minor units of one currency."""

    currency: str
    kind: str  # invoice, credit_note, payment, credit_application
    before_cutover: bool  # invoices and credit notes only: payments and credits follow what they belong to
    documents: int
    total: int
    oldest: date | None
    newest: date | None


def waiting(
    connection: Connection, run: Run, handlers: Mapping[str, Handler], cutover: date
) -> list[Waiting]:
    """What waits for the switch, by kind, currency and side of the cutover: count and sum."""
    return [
        Waiting(r.currency, r.kind, bool(r.before), r.documents, int(r.total), r.oldest, r.newest)
        for r in connection.execute(_WAITING, {**_place(run, handlers), "cutover": cutover})
    ]


def dry_run(
    connection: Connection,
    run: Run,
    handlers: Mapping[str, Handler],
    cutover: date,
    *,
    limit: int = plan.MOST,
) -> list[Step]:
    """What the first sync would do with what waits, decided by the code that will do it. Changes nothing."""
    return plan.steps(
        connection,
        run.tenant_id,
        run.company_id,
        handlers,
        kinds=_place(run, handlers)["kinds"],
        cutover=cutover,
        limit=limit,
    )


def count(steps: list[Step]) -> dict[str, int]:
    """How many documents would meet which end, reasons of skips and questions by code."""
    found = Counter[str](step.would for step in steps)
    found.update(f"{step.would}: {step.code}" for step in steps if step.code)
    return dict(sorted(found.items()))


def go_live(
    database: Database,
    run: Run,
    handlers: Mapping[str, Handler],
    *,
    cutover: date,
    decision: Decision,
    actor: str,
    auto_sync: bool = True,
) -> int:
    """Settle what waits as decided, set the cutover, switch automatic sync on, finish the run; how many were handled.

    What is marked as handled is marked before anything is switched, so that nothing of it is exported in between, and
    a process that dies there leaves the run open. `auto_sync` False leaves the switch as it is. Raises `Refusal` while
    payments are still being brought over.
    """
    if decision not in ("export", "handled"):
        raise invalid("waiting", f"say what happens to what waits: export or handled, not {decision!r}")
    with database.transaction(run.tenant_id) as connection:
        if payments.pending(connection, run.run_id):
            raise conflict(
                "payments_pending",
                "payments are still being brought over; wait until the run says that it is done",
                field="run",
            )
    handled = mark_handled(database, run, handlers, actor=actor) if decision == "handled" else 0
    with database.transaction(run.tenant_id) as connection:
        runs.opened(connection, run.run_id)
        _set(connection, run, "company", "cutover_date", cutover.isoformat(), actor)
        if auto_sync:
            _set(connection, run, "tenant", "auto_sync", True, actor)
        runs.finish(connection, run.run_id, actor)
    return handled


def mark_handled(database: Database, run: Run, handlers: Mapping[str, Handler], *, actor: str) -> int:
    """End what waits by now as entered by hand, a batch a transaction; returns how many there were."""
    place, handled = _place(run, handlers), 0
    with database.transaction(run.tenant_id) as connection:
        until = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    while True:
        with database.transaction(run.tenant_id) as connection:
            runs.opened(connection, run.run_id)
            chosen = connection.execute(_NEXT, {**place, "until": until, "limit": BATCH}).all()
            if not chosen:
                return handled
            # Documents first, as everywhere, so that nobody waits for us in a ring.
            documents.lock(
                connection, run.tenant_id, [(row.document_kind, row.document_id) for row in chosen]
            )
            locked = connection.execute(_LOCKED, {**place, "ids": [row.operation_id for row in chosen]})
            held = [from_row(row) for row in locked]
            because = "marked as handled at go-live: it was entered in QuickBooks by hand"
            finish(connection, held, State.SKIPPED, "handled", because, actor)
            for operation in held:
                facts = {"operation_id": str(operation.operation_id)}
                kind, id_ = operation.document_kind, operation.document_id
                runs.record(connection, run, "handled", kind, id_, facts=facts, actor=actor)
            handled += len(held)


def _place(run: Run, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    kinds = [kind for kind, handler in handlers.items() if handler.needs_auto_sync]
    return {"tenant": run.tenant_id, "company": run.company_id, "kinds": kinds}


def _set(connection: Connection, run: Run, level: str, name: str, value: object, actor: str) -> None:
    scope = TENANT if level == "tenant" else of_company(run.company_id)
    before = {row.name: row.value for row in settings.listed(connection, run.tenant_id, scope)}
    settings.put(connection, run.tenant_id, scope, name, value, actor=actor)
    facts = {"set": name in before, "before": before.get(name), "after": value}
    runs.record(connection, run, "set", "setting", name, variant=level, facts=facts, actor=actor)
