"""What the backlog would do now: the exact calls, decided by the handlers that will make them. Nothing is changed.

Handlers are asked inside a savepoint that is rolled back. A document whose call would be made counts as there for
what refers to it, under an id that begins with `new:`, so that a payment shows the call it will make once its invoice
is in QuickBooks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from messages.money import to_decimal
from services.ledger import links
from services.ledger.links import Link
from services.ledger.operations import COLUMNS, Operation, State, from_row
from services.ledger.ports import Fail, Handler, Hold, Move, Prepared, Send, Skip
from services.ledger.take import request_id
from services.mapping import settings
from services.mapping.settings import of_company
from services.quickbooks import body
from services.quickbooks.call import Call

Would = Literal["send", "skip", "wait", "ask"]

MOST = 1000
"""Operations of one plan: its savepoint holds what it pretends until the plan is made."""

PLACEHOLDER: Final = "new:"
"""How the id of an object begins that a planned call would make."""

_FORMS = {"invoice": 1, "credit_note": -1, "payment": 1}
"""Documents with a total, and its sign in QuickBooks."""

# Steps of one document in their order, documents in the order in which they would be dispatched. A batch only takes the
# place of its documents' calls, which are planned themselves.
_OPERATIONS = text(
    f"""SELECT {COLUMNS}, d.number, d.document_date, d.total, d.currency, d.client_name,
               EXISTS (SELECT FROM pause p WHERE p.scope = 'fleet' OR (p.tenant_id = o.tenant_id
                         AND (p.scope = 'tenant' OR (p.company_id = o.company_id
                              AND (p.kind IS NULL OR (p.kind = o.kind AND o.attempt = 1)))))) AS paused
          FROM operation o JOIN document d ON d.tenant_id = o.tenant_id AND d.kind = o.document_kind
               AND d.document_id = o.document_id
         WHERE o.tenant_id = :tenant AND (o.company_id = :company OR o.company_id IS NULL AND :default)
           AND o.finished_at IS NULL AND o.kind = ANY (CAST(:kinds AS text[])) AND o.document_kind <> 'batch'
           AND (CAST(:begin AS date) IS NULL OR d.document_date >= :begin)
           AND (CAST(:until AS date) IS NULL OR d.document_date <= :until)
         ORDER BY o.lane, o.created_at, o.operation_id LIMIT :limit"""  # noqa: S608 - constant columns
)
_SURROUNDINGS = text(
    """SELECT c.state, c.is_default, condition_met(c.tenant_id, 'auto_sync', 'tenant') AS auto_sync
         FROM company c WHERE c.tenant_id = :tenant AND c.company_id = :company"""
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps a document back: where (`line 2, item`), what, and how to mend it."""

    code: str
    where: str
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Planned:
    """A call as it would be made. `total` is what QuickBooks would show, in the document's currency; None without one.

    `look_first`: a metered read comes before it, because it may have been made already.
    """

    method: str
    target: str
    operation: str
    entity: str
    body: str  # the exact text
    requestid: str
    total: Decimal | None
    look_first: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one operation: `send`, `skip`, `wait` or `ask` a person, and why.

    `after` names what must happen first although the call is known: auto_sync, pause, company. `total` is billing's.
    """

    operation_id: UUID
    kind: str
    document_kind: str
    document_id: str
    number: str
    day: date | None
    total: int | None
    currency: str
    client: str
    would: Would
    code: str
    why: str
    call: Planned | None = None
    findings: tuple[Finding, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether QuickBooks would show another total than billing."""
        if self.call is None or self.call.total is None or self.total is None or not self.currency:
            return False
        sign = _FORMS.get(self.document_kind)
        return sign is not None and self.call.total != to_decimal(sign * self.total, self.currency)


@dataclass(frozen=True, slots=True)
class Summary:
    """A plan in numbers. `totals` sums what the calls would show in QuickBooks, by call and currency."""

    steps: dict[str, int]
    reasons: dict[str, int]
    calls: dict[str, int]
    totals: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    differing: int = 0
    metered_reads: int = 0


def steps(
    connection: Connection,
    tenant: str,
    company_id: UUID,
    handlers: Mapping[str, Handler],
    *,
    kinds: Collection[str] | None = None,
    begin: date | None = None,
    until: date | None = None,
    cutover: date | None = None,
    limit: int = MOST,
) -> list[Step]:
    """The plan of a company's backlog, or of some kinds, or of documents dated in a period. Changes nothing.

    With `cutover` it is made as if that were set. The handlers write nothing that outlives it.
    """
    place = {"tenant": tenant, "company": company_id}
    around = connection.execute(_SURROUNDINGS, place).one()
    values = {
        **place,
        "default": around.is_default,
        "kinds": sorted(handlers if kinds is None else kinds),
        "begin": begin,
        "until": until,
        "limit": min(limit, MOST),
    }
    savepoint = connection.begin_nested()
    try:
        if cutover is not None:
            scope = of_company(company_id)
            settings.put(connection, tenant, scope, "cutover_date", cutover.isoformat(), actor="plan")
        rows = connection.execute(_OPERATIONS, values).all()
        return _Planning(connection, company_id, handlers, around).of(rows)
    finally:
        savepoint.rollback()


def summary(planned: Sequence[Step]) -> Summary:
    """Count and sum a plan."""
    totals: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    calls_ = Counter[str]()
    for step in planned:
        if step.call is not None:
            label = f"{step.call.operation} {step.call.entity}"
            calls_[label] += 1
            if step.call.total is not None:
                totals[label][step.currency] += step.call.total
    return Summary(
        steps=dict(Counter[str](step.would for step in planned)),
        reasons=dict(Counter(step.code for step in planned if step.code)),
        calls=dict(sorted(calls_.items())),
        totals={label: dict(sums) for label, sums in sorted(totals.items())},
        differing=sum(step.differs for step in planned),
        metered_reads=sum(step.call is not None and step.call.look_first for step in planned),
    )


class _Planning:
    """One plan being made: which documents are done with, so far as it pretends."""

    def __init__(
        self, connection: Connection, company_id: UUID, handlers: Mapping[str, Handler], around: Any
    ) -> None:
        self._connection = connection
        self._company = company_id
        self._handlers = handlers
        self._around = around
        self._stuck: dict[tuple[str, str], UUID] = {}  # document -> its first step that does not go through

    def of(self, rows: Iterable[Any]) -> list[Step]:
        found: dict[UUID, Step] = {}
        left = list(rows)
        while left:
            held = []
            for row in left:
                step = self._step(row)
                found[step.operation_id] = step
                if step.would == "wait" and step.code in {"link", "step"}:
                    held.append(row)
            if len(held) == len(left):
                break
            left = held  # what these wait for may be there by now
            again = {row.operation_id for row in left}
            self._stuck = {document: id_ for document, id_ in self._stuck.items() if id_ not in again}
        return list(found.values())

    def _step(self, row: Any) -> Step:
        operation = from_row(row)
        document = (operation.document_kind, operation.document_id)
        step = Step(
            operation.operation_id,
            operation.kind,
            *document,
            row.number or "",
            row.document_date,
            row.total,
            row.currency or "",
            row.client_name or "",
            "wait",
            "",
            "",
        )
        earlier = self._stuck.get(document)
        if earlier is not None:
            return replace(step, code="step", why=f"operation {earlier}, an earlier step of it, is not done")
        step = self._judged(operation, step, paused=row.paused)
        if step.would in {"wait", "ask"}:
            self._stuck[document] = operation.operation_id
        return step

    def _judged(self, operation: Operation, step: Step, *, paused: bool) -> Step:
        if operation.company_id is None:
            return replace(step, code="no_company", why=operation.reason or "it has no company yet")
        if operation.state == State.FAILED:
            why = operation.reason or "it failed and rests with a person"
            return replace(step, would="ask", code=operation.reason_code or "failed", why=why)
        handler = self._handlers[operation.kind]
        step = replace(step, after=self._after(handler, paused=paused))
        if operation.call is not None and operation.outcome in {"intended", "unknown"}:
            call = Call.from_json(operation.call)
            why = "it may have been made already; the same call is made again, or asked about"
            return self._sent(
                operation, replace(step, code="unknown_outcome", why=why), call, look_first=True
            )
        requestid = request_id(operation, operation.generation)
        prepared = self._prepared(handler, operation, requestid)
        if isinstance(prepared, Send):
            return self._sent(operation, step, prepared.call, look_first=prepared.look_first)
        if isinstance(prepared, Skip):
            return replace(step, would="skip", code=prepared.code, why=prepared.reason)
        if isinstance(prepared, Fail):
            return _asking(step, prepared)
        if isinstance(prepared, Hold):
            return replace(step, code=prepared.conditions[0].condition, why=prepared.reason)
        if isinstance(prepared, Move):
            return replace(step, code="other_company", why=prepared.reason)
        if prepared is None:
            why = "deciding it ended in an unexpected error, as its run would; see the log"
            return replace(step, would="ask", code="internal_error", why=why)
        return replace(step, would="skip", code="nothing_to_send", why="QuickBooks has it like that already")

    def _prepared(self, handler: Handler, operation: Operation, requestid: str) -> Prepared | None:
        savepoint = self._connection.begin_nested()
        try:
            return handler.prepare(self._connection, operation, requestid)
        except Exception:
            log.exception("planning_failed", operation=str(operation.operation_id))
            return None
        finally:
            savepoint.rollback()

    def _after(self, handler: Handler, *, paused: bool) -> tuple[str, ...]:
        """What must come first although the call is known."""
        found = []
        if paused:
            found.append("pause")
        if self._around.state != "active":
            found.append("company")
        if handler.needs_auto_sync and not self._around.auto_sync:
            found.append("auto_sync")
        return tuple(found)

    def _sent(self, operation: Operation, step: Step, call: Call, *, look_first: bool) -> Step:
        wire = body.load(call.body) if call.body else None
        total = _total(wire) if isinstance(wire, dict) else None
        if call.operation == "create" and isinstance(wire, dict):
            self._pretend(operation, step, call.entity, wire, total or Decimal(0))
        planned = Planned(
            call.method,
            call.target,
            call.operation,
            call.entity,
            call.body,
            call.requestid,
            total,
            look_first,
        )
        return replace(step, would="send", why=step.why or call.label, call=planned)

    def _pretend(
        self, operation: Operation, step: Step, entity: str, wire: dict[str, Any], total: Decimal
    ) -> None:
        """Link the document to the object that its call would make."""
        id_ = f"{PLACEHOLDER}{operation.document_kind}/{operation.document_id}"
        assumed: dict[str, Any] = {"Id": id_, "SyncToken": "0", "TotalAmt": total, "Balance": total}
        links.put(
            self._connection,
            Link(
                tenant_id=operation.tenant_id,
                company_id=self._company,
                kind=operation.document_kind,
                document_id=operation.document_id,
                external_type=entity,
                external_id=id_,
                sync_token=assumed["SyncToken"],
                number=wire.get("DocNumber"),
                total=total,
                currency=step.currency or None,
                state="synced",
                snapshot=body.load(body.dump({**wire, **assumed})),
                operation_id=operation.operation_id,
            ),
        )


def _asking(step: Step, failed: Fail) -> Step:
    problem = failed.problem
    listed = problem.details.get("findings") or [
        {"code": problem.code, "where": "", "what": problem.happened, "fix": problem.fix}
    ]
    findings = tuple(Finding(one["code"], one["where"], one["what"], one["fix"]) for one in listed)
    return replace(step, would="ask", code=problem.code, why=problem.happened, findings=findings)


def _total(wire: Mapping[str, Any]) -> Decimal | None:
    """What QuickBooks would show as the total: the lines and the tax of a sales form, or the amount of a payment."""
    if "TotalAmt" in wire:
        return Decimal(wire["TotalAmt"])
    if "Line" not in wire:
        return None
    net = sum((Decimal(line.get("Amount") or 0) for line in wire["Line"]), Decimal(0))
    return net + Decimal((wire.get("TxnTaxDetail") or {}).get("TotalTax") or 0)
