"""Statements as they are kept, seven years: totals, every item that is not the same in both books, and acceptances.

Table `reconciliation` is where notices look: the newest finished row of a company with `unexplained` above 0 is a
statement that is not zero. The same opens an exception of type `accounting_reconciliation_unexplained`, one a
company, which the next statement without anything unexplained closes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import uuid_utils
from sqlalchemy import Connection, text

from messages.money import to_decimal
from services.connections.companies import Company
from services.exceptions import desk
from services.inbound.reconcile.cost import Cost
from services.inbound.reconcile.items import CLASSES
from services.inbound.reconcile.period import Period
from services.inbound.reconcile.statement import Statement, item_json
from services.ledger import timeline
from services.ledger.ports import Problem
from services.refusals import conflict, invalid, missing

TYPE: Final = "accounting_reconciliation_unexplained"
"""Type of the exception about a statement that is not zero."""

SUBJECT: Final = "reconciliation"
KEEP: Final = timedelta(days=7 * 366)
SILENT: Final = timedelta(minutes=10)
"""After this long without a word whoever made a statement is gone, and it counts as interrupted."""

_COLUMNS = """r.statement_id, r.company_id,
              CASE WHEN r.state = 'running' AND r.alive_at < clock_timestamp() - CAST(:silent AS interval)
                   THEN 'interrupted' ELSE r.state END AS state,
              r.begins, r.ends, r.started_by, r.started_at, r.finished_at, r.reason, r.estimated_reads, r.reads,
              r.progress, r.unexplained, r.result"""
_START = text(
    """INSERT INTO reconciliation (statement_id, tenant_id, company_id, begins, ends, started_by, estimated_reads)
       VALUES (:id, :tenant, :company, :begins, :ends, :actor, :estimated)"""
)
_ALIVE = text(
    """UPDATE reconciliation SET alive_at = clock_timestamp(), reads = :reads,
              progress = progress || jsonb_build_object(CAST(:entity AS text), CAST(:rows AS integer))
        WHERE statement_id = :id AND state = 'running'"""
)
_FINISH = text(
    """UPDATE reconciliation SET state = 'finished', finished_at = clock_timestamp(), reads = :reads,
              counts = CAST(:counts AS jsonb), unexplained = :unexplained, result = CAST(:result AS jsonb)
        WHERE statement_id = :id AND state = 'running'"""
)
_FAIL = text(
    """UPDATE reconciliation SET state = 'failed', finished_at = clock_timestamp(), reason = :reason
        WHERE statement_id = :id AND state = 'running'"""
)
_ITEMS = text(
    """INSERT INTO reconciliation_item (statement_id, position, tenant_id, class, item_key, digest, item)
       SELECT :id, r.place, :tenant, r.item ->> 'class', r.item ->> 'key', r.item ->> 'digest', r.item
         FROM jsonb_array_elements(CAST(:items AS jsonb)) WITH ORDINALITY AS r (item, place)"""
)
_GET = text(f"SELECT {_COLUMNS} FROM reconciliation r WHERE r.statement_id = :id")  # noqa: S608 - constant columns
_PAGE = text(
    f"""SELECT {_COLUMNS} FROM reconciliation r
         WHERE r.tenant_id = :tenant AND (CAST(:company AS uuid) IS NULL OR r.company_id = :company)
           AND (CAST(:before AS timestamptz) IS NULL OR (r.started_at, r.statement_id) < (:before, CAST(:last AS uuid)))
         ORDER BY r.started_at DESC, r.statement_id DESC LIMIT :limit"""  # noqa: S608 - constant columns
)
_ITEMS_PAGE = text(
    """SELECT position, item FROM reconciliation_item
        WHERE statement_id = :id AND position > :after
          AND (CAST(:classes AS text[]) IS NULL OR class = ANY (CAST(:classes AS text[])))
        ORDER BY position LIMIT :limit"""
)
_ITEM = text(
    """SELECT class AS of_class, digest, item, tenant_id FROM reconciliation_item
        WHERE statement_id = :id AND item_key = :key"""
)
_ACCEPT = text(
    """INSERT INTO reconciliation_acceptance (company_id, item_key, digest, tenant_id, reason, actor)
       VALUES (:company, :key, :digest, :tenant, :reason, :actor) ON CONFLICT DO NOTHING"""
)
_OWNERS = text(
    """SELECT DISTINCT tenant_id FROM company
        WHERE (realm_id = :company OR company_id::text = :company) AND state <> 'disconnected' ORDER BY tenant_id"""
)
_FORGET = text(
    """DELETE FROM reconciliation WHERE statement_id IN (
         SELECT statement_id FROM reconciliation WHERE started_at < statement_timestamp() - CAST(:keep AS interval)
          ORDER BY started_at LIMIT 20)"""
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement as it is kept. `state` is running, finished, failed, or interrupted when nobody works on it any
    more; `result` is None until it is finished.
    """

    statement_id: UUID
    company_id: UUID
    state: str
    begins: date | None
    ends: date
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    reason: str | None
    estimated_reads: int
    reads: int
    progress: Mapping[str, int]
    unexplained: int | None
    result: Mapping[str, Any] | None


def start(connection: Connection, company: Company, period: Period, cost: Cost, actor: str) -> UUID:
    """Write down that a statement is being made; returns its id."""
    statement_id = UUID(str(uuid_utils.uuid7()))
    values = {
        "id": statement_id,
        "tenant": company.tenant_id,
        "company": company.company_id,
        "begins": period.begins,
        "ends": period.ends,
        "actor": actor,
        "estimated": cost.total,
    }
    connection.execute(_START, values)
    return statement_id


def alive(connection: Connection, statement_id: UUID, entity: str, rows: int, reads: int) -> None:
    """Say how far the reading has come."""
    connection.execute(_ALIVE, {"id": statement_id, "entity": entity, "rows": rows, "reads": reads})


def finish(connection: Connection, company: Company, made: Statement, counts: Mapping[str, int]) -> None:
    """Keep a statement, and open or close the exception about it."""
    assert made.statement_id is not None
    values = {
        "id": made.statement_id,
        "tenant": company.tenant_id,
        "reads": made.reads,
        "counts": json.dumps(dict(counts)),
        "unexplained": made.unexplained,
        "result": json.dumps(made.to_json(items=False)),
    }
    connection.execute(_FINISH, values)
    differing = made.listed(*(name for name in CLASSES if name != "matched"))
    connection.execute(_ITEMS, {**values, "items": json.dumps([item_json(one) for one in differing])})
    subject = desk.Subject(
        tenant=company.tenant_id,
        kind=SUBJECT,
        id=str(company.company_id),
        direction="inbound",
        company_id=company.company_id,
    )
    if made.unexplained:
        desk.report(connection, subject, _problem(company, made))
    else:
        desk.resolve(connection, subject, TYPE, f"statement {made.statement_id} has nothing unexplained")


def fail(connection: Connection, statement_id: UUID, reason: str) -> None:
    """Say why a statement could not be made."""
    connection.execute(_FAIL, {"id": statement_id, "reason": reason})


def get(connection: Connection, statement_id: UUID) -> Kept:
    """One statement. Raises `Refusal`."""
    row = connection.execute(_GET, {"id": statement_id, "silent": SILENT}).one_or_none()
    if row is None:
        raise missing(f"there is no statement {statement_id}", code="unknown_statement")
    return Kept(*row)


def page(
    connection: Connection,
    tenant: str,
    *,
    company_id: UUID | None = None,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Kept]:
    """Statements of a tenant, the newest first, from behind `after` on."""
    values = {
        "tenant": tenant,
        "company": company_id,
        "before": after[0] if after else None,
        "last": after[1] if after else None,
        "limit": limit,
        "silent": SILENT,
    }
    return [Kept(*row) for row in connection.execute(_PAGE, values)]


def items(
    connection: Connection,
    statement_id: UUID,
    *,
    classes: list[str] | None = None,
    after: int = 0,
    limit: int = 200,
) -> list[tuple[int, dict[str, Any]]]:
    """Items of a statement that are not the same in both books, by their place in it, from behind `after` on."""
    values = {"id": statement_id, "classes": classes, "after": after, "limit": limit}
    return [(row.position, row.item) for row in connection.execute(_ITEMS_PAGE, values)]


def owners(connection: Connection, company: str) -> list[str]:
    """Whose a company is, by its realm id or our id of it (scope: all tenants)."""
    return list(connection.execute(_OWNERS, {"company": company}).scalars())


def accept(connection: Connection, statement_id: UUID, key: str, *, actor: str, reason: str) -> None:
    """Accept that an item differs as it does in a statement, so that the next one explains it. Raises `Refusal`."""
    if not reason.strip():
        raise invalid("reason", "reason is empty; say in a few words why it may stay as it is")
    kept = get(connection, statement_id)
    row = connection.execute(_ITEM, {"id": statement_id, "key": key}).one_or_none()
    if row is None:
        raise missing(f"statement {statement_id} has no item {key!r} that differs", code="unknown_item")
    if row.of_class != "unexplained":
        raise conflict("explained", f"{key} is not unexplained: {row.item['why']}")
    facts = {"statement_id": str(statement_id), "item": key, "digest": row.digest, "reason": reason}
    connection.execute(
        _ACCEPT,
        {
            "company": kept.company_id,
            "tenant": row.tenant_id,
            "key": key,
            "digest": row.digest,
            "reason": reason.strip(),
            "actor": actor,
        },
    )
    timeline.append(
        connection, row.tenant_id, SUBJECT, str(kept.company_id), actor, "difference_accepted", facts
    )


def _problem(company: Company, made: Statement) -> Problem:
    shown = made.listed("unexplained")[:20]
    return Problem(
        type=TYPE,
        code="books_differ",
        cause=f"{SUBJECT}:{company.company_id}",
        title=f"{made.unexplained} difference{'s' if made.unexplained > 1 else ''} between billing and {company.label} "
        f"{'are' if made.unexplained > 1 else 'is'} unexplained",
        happened=f"Receivables at the end of {made.period.ends} are {to_decimal(made.totals.ours, made.home)} "
        f"{made.home} in billing and {to_decimal(made.totals.quickbooks, made.home)} {made.home} in QuickBooks.",
        why="Somebody changed documents in QuickBooks and nothing told of it, or something of ours was lost.",
        fix="Open the statement (algasync reconcile), settle each item that is unexplained or accept it with a reason, "
        "and make the statement again: this item then closes by itself.",
        details={
            "statement_id": str(made.statement_id),
            "from": str(made.period.begins) if made.period.begins else None,
            "to": str(made.period.ends),
            "unexplained": made.unexplained,
            "difference": made.totals.amounts["unexplained"],
            "items": [{"key": one.key, "why": one.why} for one in shown],
        },
        amount=made.totals.amounts["unexplained"],
        currency=made.home,
    )


def forget(connection: Connection) -> int:
    """Delete a batch of statements older than seven years (scope: all tenants); returns how many."""
    return connection.execute(_FORGET, {"keep": KEEP}).rowcount
