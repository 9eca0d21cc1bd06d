"""What is there when a run has settled: every row of the ledger that matters, and the books of every company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from services.cli.arena import Arena
from services.cli.chaos.history import Receipt

ENTITIES: Final = ("Invoice", "CreditMemo", "Payment")


class TakenEvent(NamedTuple):
    """An event that was taken over, as its document's event of this number."""

    event_id: UUID
    state: str
    tenant: str
    document_kind: str
    document_id: str
    sequence: int


class OutboxRow(NamedTuple):
    """An event that lies in the outbox still."""

    event_id: UUID
    tenant: str
    exchange: str
    published: bool


class OperationRow(NamedTuple):
    """What was owed, and what became of it. `told` is how many facts about it went out to billing."""

    operation_id: UUID
    tenant: str
    kind: str
    document_kind: str
    document_id: str
    revision: int
    event_id: UUID | None
    state: str
    attempt: int
    code: str | None
    reason: str | None
    told: int


class LinkRow(NamedTuple):
    """Which document is which object."""

    tenant: str
    kind: str
    document_id: str
    external_type: str
    external_id: str
    total: Decimal
    state: str


class ExceptionRow(NamedTuple):
    """An exception that is open."""

    tenant: str
    entity_kind: str
    entity_id: str
    operation_id: UUID | None
    code: str
    title: str


class LetterRow(NamedTuple):
    """A dead letter that nobody has settled; `shown` by an open exception."""

    letter_id: UUID
    operation_id: UUID | None
    attempt: int
    event_id: UUID | None
    code: str
    shown: bool


class Step(NamedTuple):
    """An operation that was carried out, at its place in its document's timeline."""

    tenant: str
    document_kind: str
    document_id: str
    position: int
    revision: int


class Violation(NamedTuple):
    """A row that breaks the liveness rule."""

    tenant: str
    operation_id: UUID
    what: str


class ToldMoney(NamedTuple):
    """A fact about a payment in QuickBooks that went out to billing: how much it puts on an invoice now."""

    tenant: str
    quickbooks_id: str
    type: str
    invoice_id: str | None
    amount: int


class CompanyRow(NamedTuple):
    """A company, and whether it is connected."""

    tenant: str
    realm: str
    state: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """Our side."""

    events: list[TakenEvent]
    outbox: list[OutboxRow]
    operations: list[OperationRow]
    links: list[LinkRow]
    exceptions: list[ExceptionRow]
    letters: list[LetterRow]
    steps: list[Step]
    violations: list[Violation]
    broken_timelines: list[tuple[str, str, str]]
    money: list[ToldMoney]  # in the order in which billing was told
    companies: list[CompanyRow]


@dataclass(frozen=True, slots=True)
class Books:
    """One company: its objects by entity, and every version that its invoices and credit memos have had.

    `received` are the payments that its bookkeeper received, by their ids.
    """

    company_id: UUID
    objects: Mapping[str, list[dict[str, Any]]]
    versions: Mapping[tuple[str, str], list[dict[str, Any]]]
    received: Mapping[str, Receipt] = field(default_factory=dict)


def ledger(connection: Connection) -> Ledger:
    """Read our side, of all tenants."""

    def rows(query: str) -> list[Any]:
        return list(connection.execute(text(query)))

    return Ledger(
        [TakenEvent(*row) for row in rows(_EVENTS)],
        [OutboxRow(*row) for row in rows(_OUTBOX)],
        [OperationRow(*row) for row in rows(_OPERATIONS)],
        [LinkRow(*row) for row in rows(_LINKS)],
        [ExceptionRow(*row) for row in rows(_EXCEPTIONS)],
        [LetterRow(*row) for row in rows(_LETTERS)],
        [Step(*row) for row in rows(_STEPS)],
        [Violation(*row) for row in rows(_VIOLATIONS)],
        [(row[0], row[1], row[2]) for row in rows(_BROKEN)],
        [ToldMoney(*row) for row in rows(_MONEY)],
        [CompanyRow(*row) for row in rows("SELECT tenant_id, realm_id, state FROM company")],
    )


def books(arena: Arena, realm: str, company_id: UUID, received: Mapping[str, Receipt]) -> Books:
    """Read a company's side, over the sandbox's control port."""
    versions: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entity in ENTITIES:
        for change in arena.history(realm, entity):
            if change["body"] is not None:
                versions.setdefault((entity, change["id"]), []).append(change["body"])
    objects = {entity: arena.objects(realm, entity) for entity in ENTITIES}
    return Books(company_id, objects, versions, received)


_EVENTS: Final = "SELECT event_id, state, tenant_id, document_kind, document_id, sequence FROM event"
_OUTBOX: Final = "SELECT event_id, tenant_id, exchange, published_at IS NOT NULL FROM outbox_event"
_OPERATIONS: Final = """
    WITH told AS (
      SELECT (body::jsonb #>> '{data,cause,operation_id}')::uuid AS operation_id, count(*) AS facts
        FROM accounting_event WHERE type = 'document.synced.v1' GROUP BY 1)
    SELECT operation_id, tenant_id, kind, document_kind, document_id, revision, event_id, state, attempt,
           reason_code, reason, coalesce(told.facts, 0)
      FROM operation LEFT JOIN told USING (operation_id)
"""
_LINKS: Final = """
    SELECT tenant_id, kind, document_id, external_type, external_id, coalesce(total, 0), state FROM link
"""
_EXCEPTIONS: Final = """
    SELECT tenant_id, entity_kind, entity_id, operation_id, code, title FROM exception
     WHERE state IN ('open', 'in_progress')
"""
_LETTERS: Final = """
    SELECT l.letter_id, l.operation_id, l.attempt, l.event_id, l.code,
           coalesce(e.state IN ('open', 'in_progress'), false)
      FROM letter l LEFT JOIN exception e USING (exception_id) WHERE l.state = 'open'
"""
_STEPS: Final = """
    SELECT t.tenant_id, t.subject_kind, t.subject_id, t.position, o.revision
      FROM timeline t JOIN operation o ON o.operation_id = (t.details ->> 'operation_id')::uuid
     WHERE t.action IN ('succeeded', 'adopted') ORDER BY 1, 2, 3, 4
"""
_MONEY: Final = """
    SELECT tenant_id, data ->> 'quickbooks_id', type, share ->> 'invoice_id', coalesce((share ->> 'amount')::bigint, 0)
      FROM (SELECT tenant_id, type, position, body::jsonb -> 'data' AS data FROM accounting_event) e
      LEFT JOIN LATERAL jsonb_array_elements(data #> '{payment,allocations}') AS share ON true
     WHERE type IN ('payment.received.v1', 'payment.changed.v1', 'payment.withdrawn.v1') ORDER BY position
"""
_VIOLATIONS: Final = "SELECT tenant_id, operation_id, violation FROM liveness_violation"
_BROKEN: Final = """
    SELECT DISTINCT tenant_id, subject_kind, subject_id FROM (
      SELECT tenant_id, subject_kind, subject_id,
             hash = timeline_hash(previous, tenant_id, subject_kind, subject_id, position, at, actor, action, details)
             AND previous = coalesce(lag(hash) OVER one, '\\x')
             AND position = coalesce(lag(position) OVER one, 0) + 1 AS intact
        FROM timeline
      WINDOW one AS (PARTITION BY tenant_id, subject_kind, subject_id ORDER BY position)) AS entry
     WHERE NOT intact
"""
